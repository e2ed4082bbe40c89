// Scenarios of the microphone: unplugged and plugged in again, confused with another one, hung, mute,
// broken, in use by another process.

import type { ReceivedChunk } from "../../fixtures/ingest_server.ts";
import { SLOWEST } from "../guest.ts";
import type { Rig } from "../rig.ts";
import { median, type Report, type Scenario } from "../scenario.ts";
import { CHUNK_SECONDS } from "../service.ts";
import { startS, toneOf } from "../sound.ts";

const TONES = { first: 440, second: 880 };

/** Seconds without the microphone: shorter and longer than the delays between attempts. */
const PAUSES_S = [0, 1, 2, 3, 5, 0, 7, 1, 10, 15];

async function replug(rig: Rig, report: Report): Promise<void> {
  const { microphone, journal } = rig.running;
  const delays: number[] = [];
  for (const pauseS of PAUSES_S) {
    await microphone.unplug();
    await rig.running.guest.pass(pauseS);
    const pluggedS = await microphone.plug();
    const sound = await journal.next("Recording.", { sinceS: pluggedS, limitS: 70 });
    delays.push(sound.atS - pluggedS);
    await rig.running.guest.pass(3);
  }
  const list = delays.map((seconds) => seconds.toFixed(1)).join(", ");
  report.measured(`replug → first packet, ${delays.length} times`, `${list} s`);
  report.measured("median of these", `${median(delays).toFixed(2)} s`);
  report.atMost("worst of these", Math.max(...delays), 5);
}

/** A microphone that hung in an earlier scenario is preferred again after a minute of sound: forgets it. */
async function trusted(rig: Rig): Promise<void> {
  await rig.running.service.configure({});
  rig.expectedRestarts = 0;
  await rig.settled();
}

async function order(rig: Rig, report: Report): Promise<void> {
  await trusted(rig);
  const { microphone, second, service, guest } = rig.running;
  await second.configure(`-f ${TONES.second}`);
  await second.plug();
  const swappedS = await swap(rig);
  report.measured("cards", await cards(rig));
  const keeps = "auto-detect keeps the one it had";
  const soundS = await keepsTo(rig, report, keeps, TONES.first, swappedS);
  report.measured("both back → recorded again", `${(soundS - swappedS).toFixed(1)} s`);

  const configuredS = await guest.uptimeS();
  await service.configure({ audio_device: "usb:1-2" });
  await keepsTo(
    rig,
    report,
    "audio_device usb:1-2 selects the other one",
    TONES.second,
    configuredS,
  );
  await microphone.unplug();
  await second.unplug();
  await microphone.plug();
  const backS = await second.plug();
  await keepsTo(rig, report, "and also after a replug in the first order", TONES.second, backS);

  await second.unplug();
  await guest.pass(20); // a stand-in is recorded after 10 s
  const health = await service.health();
  const { message = "" } = health?.problems.find(({ code }) => code.startsWith("microphone")) ?? {};
  report.holds("the other one does not replace it", health?.recording === false, message);
  // From here on the first one is again the one recorded last, without audio_device.
  await guest.run("rm -f /etc/vmic1 /var/lib/recorder-agent/spool/microphone.json");
  await service.configure({});
  await rig.settled();
}

async function standIn(rig: Rig, report: Report): Promise<void> {
  await trusted(rig);
  const { microphone, second, guest } = rig.running;
  await second.configure(`-f ${TONES.second}`);
  await second.plug();
  const pulledS = await microphone.unplug();
  const takenS = await keepsTo(rig, report, "its twin is recorded", TONES.second, pulledS);
  report.atMost("pulled out → its twin is recorded", takenS - pulledS, 15);
  const { problems } = await rig.healthy("stand-in", has("microphone_stand_in"));
  report.measured("/health says", messageOf("microphone_stand_in", problems));
  const backS = await microphone.plug();
  const soundS = await keepsTo(rig, report, "plugged in again, it is recorded", TONES.first, backS);
  report.atMost("back again → first packet", soundS - backS, 5);
  await rig.settled();

  // A brown-out, after which the twin appears first.
  await microphone.unplug();
  await second.unplug();
  await second.plug();
  await guest.pass(2);
  const lastS = await microphone.plug();
  await keepsTo(
    rig,
    report,
    "after a brown-out with the twin back first, it is recorded",
    TONES.first,
    lastS,
  );
  await second.unplug();
  // Its id is now that of the second of two.
  await microphone.unplug();
  await microphone.plug();
  await guest.run("rm -f /etc/vmic1");
  await rig.settled();
}

type Problems = readonly { readonly code: string; readonly message: string }[];

function has(code: string): (health: { problems: Problems }) => boolean {
  return ({ problems }) => problems.some((problem) => problem.code === code);
}

function messageOf(code: string, problems: Problems): string {
  return problems.find((problem) => problem.code === code)?.message ?? "";
}

/**
 * Unplugs both, and plugs them in again in the other order, so that their numbers and ids are swapped.
 * Returns the time of the last plug, seconds since boot.
 */
async function swap({ running: { microphone, second } }: Rig): Promise<number> {
  await microphone.unplug();
  await second.unplug();
  await second.plug();
  return await microphone.plug();
}

async function cards({ running: { guest } }: Rig): Promise<string> {
  return (await guest.run("readlink /sys/class/sound/card[0-9]*")).trim().split("\n")
    .map((link) => link.replace(/.*\/(\d-\d):.*\/(card\d)$/, "$2 at usb:$1")).join(", ");
}

/** Checks the next whole chunk of the recording since `sinceS`. Returns when the recording began. */
async function keepsTo(
  rig: Rig,
  report: Report,
  what: string,
  hz: number,
  sinceS: number,
): Promise<number> {
  const sound = await rig.running.journal.next("Recording.", { sinceS, limitS: 60 });
  const isOfIt = (chunk: ReceivedChunk) => startS(chunk) >= sound.unixS - 1;
  await rig.ingest.waitUntil(({ chunks }) => chunks.some(isOfIt), 60_000 * SLOWEST, "a chunk");
  const chunk = rig.ingest.chunks.find(isOfIt);
  const heard = chunk === undefined ? 0 : await toneOf(chunk, Object.values(TONES));
  report.holds(what, heard === hz, `${heard} Hz`);
  return sound.atS;
}

async function hang(rig: Rig, report: Report): Promise<void> {
  const { microphone, journal } = rig.running;
  const hungS = await microphone.hangUntilOpened();
  const sound = await journal.next("Recording.", { sinceS: hungS, limitS: 90 });
  report.atMost("hung until it is opened again: stall → recovered", sound.atS - hungS, 20);
  await rig.running.guest.pass(5);

  const deadS = await microphone.toggleHang();
  await rig.running.guest.pass(40);
  const { problems } = await rig.healthy("stalled", has("microphone_stalled"));
  const said = messageOf("microphone_stalled", problems);
  report.holds("hung for 40 s: /health says so", true, said);
  const aliveS = await microphone.toggleHang();
  const again = await journal.next("Recording.", { sinceS: aliveS, limitS: 90 });
  report.measured("alive again → first packet", `${(again.atS - aliveS).toFixed(1)} s`);
  report.measured("hung", `${(aliveS - deadS).toFixed(0)} s`);
}

async function mute(rig: Rig, report: Report): Promise<void> {
  const { microphone, guest } = rig.running;
  const mutedS = await microphone.toggleMute();
  const { problems } = await rig.healthy("silent", has("microphone_silent"), 5 * CHUNK_SECONDS);
  report.atMost("mute → reported", await guest.uptimeS() - mutedS, 4 * CHUNK_SECONDS);
  report.measured("/health says", messageOf("microphone_silent", problems));
  const heardS = await microphone.toggleMute();
  await rig.settled();
  report.measured("heard again → no problem", `${(await guest.uptimeS() - heardS).toFixed(0)} s`);
}

async function errors(rig: Rig, report: Report): Promise<void> {
  const { microphone, journal } = rig.running;
  await microphone.toggleErrors();
  await rig.running.guest.pass(25);
  const health = await rig.running.service.health();
  const said = messageOf("microphone_stalled", health?.problems ?? []);
  report.holds("errors on every packet for 25 s: /health says so", said !== "", said);
  const goodS = await microphone.toggleErrors();
  const sound = await journal.next("Recording.", { sinceS: goodS, limitS: 90 });
  report.measured("good again → first packet", `${(sound.atS - goodS).toFixed(1)} s`);
}

async function busy(rig: Rig, report: Report): Promise<void> {
  const { guest, journal } = rig.running;
  await guest.run("systemctl stop recorder-agent");
  await guest.run(
    "systemd-run -q --unit=holder arecord -q -D hw:CARD=Device -f S16_LE -r 48000 -c 1 /dev/null; " +
      "sleep 2; systemctl start recorder-agent",
  );
  rig.expectedRestarts = 0;
  const { problems } = await rig.healthy("busy", has("microphone_busy"));
  const said = messageOf("microphone_busy", problems);
  const pid = (await guest.run("pgrep -x arecord")).trim();
  report.holds(
    "/health names the process that uses it",
    said.includes(`holder.service (process ${pid})`),
    said,
  );
  const freeS = await guest.uptimeS();
  await guest.run("systemctl stop holder");
  const sound = await journal.next("Recording.", { sinceS: freeS, limitS: 90 });
  report.measured("released → first packet", `${(sound.atS - freeS).toFixed(1)} s`);
}

export const microphoneScenarios: readonly Scenario[] = [
  { name: "replug", what: "unplugged and plugged in again ten times", run: replug },
  { name: "order", what: "two equal microphones, plugged in again in the other order", run: order },
  { name: "stand-in", what: "unplugged, while its twin stays plugged in", run: standIn },
  { name: "hang", what: "plugged in, and delivers nothing", run: hang },
  { name: "mute", what: "delivers digital silence", run: mute },
  { name: "errors", what: "an error on every packet", run: errors },
  { name: "busy", what: "in use by arecord when the service starts", run: busy },
];
