// Scenarios of the machine: its power, its clock, its disk, its network.

import type { HealthReport } from "../../../src/status/status.ts";
import { SLOWEST } from "../guest.ts";
import type { Entry } from "../journal.ts";
import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { CHUNK_SECONDS } from "../service.ts";
import { endS, inOrder, silenceIn, startS, worstOverlapS } from "../sound.ts";

const TWO_WEEKS_S = 14 * 24 * 3600;
/** How long the network cable is unplugged, seconds. */
const AWAY_S = 60;

async function powerCut(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  rig.ingest.goOffline(); // so that chunks are waiting when the power fails
  await rig.running.guest.pass(2.5 * CHUNK_SECONDS);
  const waiting = await service.list("outbox");
  const finished = [...waiting, ...await service.list("uploaded")];
  const cutUnixS = Number(await guest.run("date +%s.%N"));
  await rig.switchOff("cut");
  rig.ingest.goOnline();
  await rig.boot();
  await rig.settled();
  const arrived = inOrder(rig.ingest.chunks);
  const missing = finished.filter((name) => !arrived.some(({ key }) => name.includes(key)));
  const verdict = missing.length === 0 ? `all ${finished.length}` : `lost: ${missing.join(", ")}`;
  const isKept = waiting.length > 0 && missing.length === 0;
  report.holds("every finished chunk reaches the server", isKept, verdict);
  const last = arrived.findLast((chunk) => startS(chunk) < cutUnixS);
  const lostS = Math.max(0, cutUnixS - (last ? endS(last) : 0));
  report.atMost("power cut in mid-chunk: sound lost", lostS, 5);
}

async function clock(rig: Rig, report: Report): Promise<void> {
  await rig.switchOff("poweroff");
  const seen = rig.ingest.chunks.length;
  const unixMs = Date.now() - TWO_WEEKS_S * 1000;
  const { guest, microphone, journal } = await rig.boot({ unixMs, synced: false });
  await journal.next("Recording.", { sinceS: 0, limitS: 60 });
  await rig.running.guest.pass(1.5 * CHUNK_SECONDS);
  const muteUnixS = Number(await guest.run("date +%s.%N; systemctl kill -s USR2 vmic@0"));
  await rig.running.guest.pass(2);
  await microphone.toggleMute();
  await rig.running.guest.pass(CHUNK_SECONDS);
  report.holds(
    "chunks wait for clock sync",
    rig.ingest.chunks.length === seen,
    `${rig.ingest.chunks.length - seen} sent`,
  );
  await guest.run(`guest_clock step ${TWO_WEEKS_S}; guest_clock synced`);
  const correctedS = await guest.uptimeS();
  await rig.settled();
  await rig.ingest.waitForChunks(seen + 4, 60_000 * SLOWEST);
  report.measured("corrected → all sent", `${(await guest.uptimeS() - correctedS).toFixed(0)} s`);
  const chunks = rig.ingest.chunks.slice(seen);
  const silences = await Promise.all(chunks.map(silenceIn));
  const heardUnixS = silences.find((atS) => atS !== null) ?? 0;
  const errorS = Math.abs(heardUnixS - (muteUnixS + TWO_WEEKS_S));
  report.atMost("error in the time of a sound before the correction", errorS, 0.5);
  report.atMost("overlap of two chunks", worstOverlapS(chunks), 0.1);
  report.holds(
    "all of them are dated after the boot",
    chunks.every((chunk) => startS(chunk) > unixMs / 1000 + TWO_WEEKS_S),
  );
}

/** The first chunk declares the time of the start of the service as a gap. */
async function recordsChunks(rig: Rig): Promise<HealthReport> {
  await rig.healthy("recording chunks", ({ chunks_recorded_total: chunks }) => chunks > 0);
  return await rig.settled();
}

async function diskFull(rig: Rig, report: Report): Promise<void> {
  const { guest, journal } = rig.running;
  const before = await recordsChunks(rig);
  const fullS = await guest.uptimeS();
  // Fills the space of the service's user, and the reserve of ext4 for root.
  await guest.run(
    "fallocate -l 20G /filling 2>/dev/null; dd if=/dev/zero of=/filling bs=1M " +
      "oflag=append conv=notrunc 2>/dev/null; df --output=avail / | tail -n 1",
  );
  const said = await journal.find(
    ({ fields }) => typeof fields.code === "string" && fields.code.startsWith("disk"),
    { sinceS: fullS, limitS: 2 * CHUNK_SECONDS },
  );
  report.measured("the log says", said?.message ?? "nothing");
  await rig.running.guest.pass(3 * CHUNK_SECONDS);
  const freedS = await guest.uptimeS();
  await guest.run("rm /filling");
  const health = await rig.settled();
  report.measured("full for", `${(freedS - fullS).toFixed(0)} s`);
  report.measured(
    "freed → all written and sent",
    `${(await guest.uptimeS() - freedS).toFixed(0)} s`,
  );
  const [gaps, lost] = [
    health.gap_seconds_total - before.gap_seconds_total,
    health.seconds_lost_total - before.seconds_lost_total,
  ];
  report.atMost("sound not recorded", gaps, 0);
  report.atMost("sound recorded and lost", lost, 0);
}

async function networkAway(rig: Rig, report: Report): Promise<void> {
  const { guest, journal } = rig.running;
  const before = await recordsChunks(rig);
  const seen = rig.ingest.chunks.length;
  const backS = await guest.passWithoutNetwork(AWAY_S);
  report.holds(
    "no chunk arrives while the cable is unplugged",
    rig.ingest.chunks.length <= seen + 1,
  );
  // Uses the times of the service: a command may reach the guest much later than a chunk leaves it.
  const delivered = ({ message }: Entry) => message === "Delivered.";
  const first = await journal.next(delivered, { sinceS: backS, limitS: 90 });
  const last = await journal.next(
    (entry) => delivered(entry) && entry.fields.waiting === 0,
    { sinceS: backS, limitS: 90 },
  );
  report.measured("waiting when it is back", `${Number(first.fields.waiting) + 1} chunks`);
  report.atMost("cable back → all sent", last.atS - backS, 45);
  const health = await rig.settled();
  report.atMost("sound not recorded", health.gap_seconds_total - before.gap_seconds_total, 0);
  report.measured("chunks sent twice", String(rig.ingest.duplicates));
}

export const hostScenarios: readonly Scenario[] = [
  { name: "power-cut", what: "the guest loses power in mid-chunk, and boots again", run: powerCut },
  { name: "clock", what: "the clock is two weeks slow at boot, and corrected later", run: clock },
  { name: "disk-full", what: "the disk is full for half a minute", run: diskFull },
  { name: "network", what: "the network cable is unplugged for a minute", run: networkAway },
];
