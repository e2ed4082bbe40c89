// Scenarios of the start: from boot to the first chunk, without a microphone, a planned reboot.

import type { Rig } from "../rig.ts";
import { type Report, type Scenario } from "../scenario.ts";
import { endS, inOrder, startS } from "../sound.ts";

async function boot(rig: Rig, report: Report): Promise<void> {
  await rig.switchOff("poweroff");
  const before = rig.ingest.chunks.length;
  const { journal, guest } = await rig.boot();
  const next = (message: string) => journal.next(message, { sinceS: 0, limitS: 60 });
  const starts = await next("recorder-agent starts.");
  const sound = await next("Recording.");
  const delivered = await next("Delivered.");
  await rig.ingest.waitForChunks(before + 1, 10_000);
  const chunkMs = performance.now() - guest.switchedOnMs;
  report.measured("boot → the program starts", `${starts.atS.toFixed(1)} s`);
  report.atMost("the program starts → first packet", sound.atS - starts.atS, 15);
  report.measured("boot → first chunk delivered", `${delivered.atS.toFixed(1)} s`);
  report.measured("switched on → first chunk at the server", `${(chunkMs / 1000).toFixed(1)} s`);
  await rig.settled();
}

async function withoutMicrophone(rig: Rig, report: Report): Promise<void> {
  await rig.running.microphone.atBoot(false);
  await rig.switchOff("poweroff");
  const { journal, microphone, service } = await rig.boot();
  const health = await rig.healthy(
    "reporting its microphone as missing",
    ({ problems }) => problems.some(({ code }) => code === "microphone_missing"),
  );
  const problem = health.problems.find(({ code }) => code === "microphone_missing");
  report.measured("/health says", problem?.message ?? "");
  await rig.running.guest.pass(12); // the unit counts as started even without sound
  const { active } = await service.state();
  report.holds("the unit is up without a microphone", active === "active", active);
  const pluggedS = await microphone.plug();
  const sound = await journal.next("Recording.", { sinceS: pluggedS, limitS: 90 });
  report.atMost("plugged in → first packet", sound.atS - pluggedS, 5);
  await microphone.atBoot(true);
  await rig.settled();
}

async function reboot(rig: Rig, report: Report): Promise<void> {
  await rig.settled();
  const stoppedUnixS = Number(await rig.running.guest.run("date +%s.%N"));
  await rig.switchOff("reboot");
  const { journal } = await rig.boot();
  const sound = await journal.next("Recording.", { sinceS: 0, limitS: 60 });
  await rig.settled();
  const chunks = inOrder(rig.ingest.chunks);
  const last = chunks.findLast((chunk) => startS(chunk) < stoppedUnixS);
  report.atMost(
    "sound lost before the end",
    Math.max(0, stoppedUnixS - (last ? endS(last) : 0)),
    1,
  );
  report.measured("boot → first packet", `${sound.atS.toFixed(1)} s`);
}

export const startScenarios: readonly Scenario[] = [
  { name: "boot", what: "from power-on to the first chunk at the server", run: boot },
  {
    name: "no-microphone",
    what: "boots without a microphone, which is plugged in later",
    run: withoutMicrophone,
  },
  { name: "reboot", what: "systemctl reboot", run: reboot },
];
