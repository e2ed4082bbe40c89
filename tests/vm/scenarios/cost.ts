// Scenario of the cost of recording: processor time of the program and of its ffmpeg, compared with
// ffmpeg alone. Guest time counts instructions, so that the figures are the same on any machine.

import { NS_PER_INSTRUCTION } from "../guest.ts";
import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { UNIT } from "../service.ts";

/** Two chunks of the default length, delivered. */
const WINDOW_S = 120;
const SETTLE_S = 20;

interface Usage {
  /** Seconds since boot. */
  readonly atS: number;
  readonly ffmpegPid: string;
  /** Processor time of the whole unit so far, seconds. */
  readonly unitS: number;
  /** Processor time of its ffmpeg so far, seconds. */
  readonly ffmpegS: number;
}

async function cost(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  await service.configure({ chunk_seconds: 60 });
  await rig.settled();
  const { unit, ffmpeg } = await measure(rig, UNIT);

  await guest.run(`systemctl stop ${UNIT}`);
  await guest.run(
    "systemd-run -q --unit=bare ffmpeg -nostdin -nostats -loglevel error -f alsa -channels 1 " +
      "-sample_rate 48000 -i hw:CARD=Device -c:a libopus -b:a 24k -f ogg /var/tmp/bare.ogg",
  );
  const { unit: bare } = await measure(rig, "bare.service");
  await guest.run("systemctl stop bare; systemctl -q reset-failed bare; rm /var/tmp/bare.ogg");
  await service.configure({});
  rig.expectedRestarts = 0;
  await rig.settled();

  report.measured("the program, per second of sound", instructions(unit - ffmpeg));
  report.measured("its ffmpeg, per second of sound", instructions(ffmpeg));
  report.measured("ffmpeg alone, per second of sound", instructions(bare));
  report.measured("the program ÷ ffmpeg alone", `${(100 * (unit - ffmpeg) / bare).toFixed(1)} %`);
}

/** Processor time per second of guest time. @throws if ffmpeg restarted meanwhile. */
async function measure(rig: Rig, unit: string): Promise<{ unit: number; ffmpeg: number }> {
  await rig.running.guest.pass(SETTLE_S);
  const before = await usageOf(rig, unit);
  await rig.running.guest.pass(WINDOW_S);
  const after = await usageOf(rig, unit);
  if (after.ffmpegPid !== before.ffmpegPid) {
    throw new Error(`${unit} restarted during the measurement`);
  }
  const seconds = after.atS - before.atS;
  return {
    unit: (after.unitS - before.unitS) / seconds,
    ffmpeg: (after.ffmpegS - before.ffmpegS) / seconds,
  };
}

async function usageOf({ running: { guest } }: Rig, unit: string): Promise<Usage> {
  const text = await guest.run(
    "cut -d' ' -f1 /proc/uptime; pgrep -x ffmpeg; " +
      `grep usage_usec /sys/fs/cgroup/system.slice/${unit}/cpu.stat; ` +
      "cut -d' ' -f1 /proc/$(pgrep -x ffmpeg)/task/*/schedstat", // nanoseconds of each of its threads
  );
  const [atS, ffmpegPid = "", usage, ...threads] = text.trim().split("\n");
  return {
    atS: Number(atS),
    ffmpegPid,
    unitS: Number(usage?.split(" ")[1]) / 1e6,
    ffmpegS: threads.reduce((sum, ns) => sum + Number(ns), 0) / 1e9,
  };
}

/** `share`: processor time per second of sound. */
function instructions(share: number): string {
  return `${(share * 1000 / NS_PER_INSTRUCTION).toFixed(1)} million instructions`;
}

export const costScenarios: readonly Scenario[] = [
  { name: "cost", what: "instructions per second of sound, compared with ffmpeg alone", run: cost },
];
