// Scenario of what recording costs: processor time of the program and of its ffmpeg, against an ffmpeg
// alone. The guest's time counts instructions, so that the figures are the same on any machine.

import { NS_PER_INSTRUCTION } from "../guest.ts";
import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { UNIT } from "../service.ts";

/** Two chunks of the default length, delivered. */
const WINDOW_S = 120;
const SETTLE_S = 20;

/** Processor time so far, microseconds. */
interface Usage {
  readonly unit: number;
  readonly ffmpeg: number;
}

async function cost(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  await service.configure({ chunk_seconds: 60 });
  await rig.settled();
  await guest.pass(SETTLE_S);
  const before = await usageOf(rig, UNIT);
  await guest.pass(WINDOW_S);
  const after = await usageOf(rig, UNIT);
  const ffmpeg = after.ffmpeg - before.ffmpeg;
  const agent = after.unit - before.unit - ffmpeg;

  await guest.run(`systemctl stop ${UNIT}`);
  await guest.run(
    "systemd-run -q --unit=bare ffmpeg -nostdin -nostats -loglevel error -f alsa -channels 1 " +
      "-sample_rate 48000 -i hw:CARD=Device -c:a libopus -b:a 24k -f ogg /var/tmp/bare.ogg",
  );
  await guest.pass(SETTLE_S);
  const bareBefore = await usageOf(rig, "bare.service");
  await guest.pass(WINDOW_S);
  const bare = (await usageOf(rig, "bare.service")).unit - bareBefore.unit;
  await guest.run(`systemctl stop bare; rm /var/tmp/bare.ogg`);
  await service.configure({});
  await guest.run(`systemctl start ${UNIT}`);
  rig.expectedRestarts = 0;
  await rig.settled();

  report.measured("the program, a second of sound", instructions(agent));
  report.measured("its ffmpeg, a second of sound", instructions(ffmpeg));
  report.measured("ffmpeg alone, a second of sound", instructions(bare));
  report.measured("the program ÷ ffmpeg alone", `${(100 * agent / bare).toFixed(1)} %`);
}

/** Of the unit's cgroup, and of the ffmpeg in it with all its threads. */
async function usageOf({ running: { guest } }: Rig, unit: string): Promise<Usage> {
  const text = await guest.run(
    `cut -d' ' -f1 /proc/$(pgrep -x ffmpeg)/task/*/schedstat; ` +
      `grep usage_usec /sys/fs/cgroup/system.slice/${unit}/cpu.stat`,
  );
  const lines = text.trim().split("\n");
  const threads = lines.slice(0, -1).map(Number);
  return {
    unit: Number(lines.at(-1)?.split(" ")[1]),
    ffmpeg: threads.reduce((sum, ns) => sum + ns, 0) / 1000,
  };
}

function instructions(usageUs: number): string {
  const millions = usageUs * 1000 / NS_PER_INSTRUCTION / WINDOW_S / 1e6;
  return `${millions.toFixed(2)} million instructions`;
}

export const costScenarios: readonly Scenario[] = [
  { name: "cost", what: "instructions a second of sound, against ffmpeg alone", run: cost },
];
