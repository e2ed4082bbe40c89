// Scenario of settings that change while the service records, by "systemctl reload": a key of each kind, and a wrong
// file. What the changes cost is measured from what was delivered: from the numbers of the samples that the
// chunks state, and from the phase of a sine.

import { cutToLastPage, readChunkHeader } from "../../../src/chunk/chunk_file.ts";
import type { ReceivedChunk } from "../../fixtures/ingest_server.ts";
import { SLOWEST } from "../guest.ts";
import type { Entry } from "../journal.ts";
import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { CHUNK_SECONDS } from "../service.ts";
import { endS, inOrder, levelOf, partOf, startS, worstShift } from "../sound.ts";

/** Its periods end with a packet of 20 ms only once in a second: what is lost shifts the phase. */
const TONE_HZ = 443;
const SHORTER_S = CHUNK_SECONDS - 2;
const OTHER_ID = "44444444-4444-4444-8444-444444444444";
const GAIN_DB = -6;

type Keys = Readonly<Record<string, string | number>>;

async function reload(rig: Rig, report: Report): Promise<void> {
  const { guest, journal, service } = rig.running;
  const firstS = await listenTo(rig, `-f ${TONE_HZ}`);
  const first = await journal.next("Recording.", { sinceS: firstS, limitS: 60 });
  await rig.settled();
  const change = (keys: Keys, says = "The configuration was read again.") => put(rig, keys, says);

  const good = {
    chunk_seconds: SHORTER_S,
    retry_max_s: 5,
    max_spool_days: 3,
    upload_concurrency: 2,
  };
  const applied = await change({ ...good, schedule: "mon-sun 00:00-24:00" });
  report.measured("a key of each group, at once", String(applied.fields.applied));
  await guest.pass(SHORTER_S);

  const wrong = await change({ ...good, chunk_seconds: 0 }, "The configuration is wrong");
  const { problems } = await rig.healthy("saying what is wrong", has("config_not_applied"));
  report.holds("a wrong file is a problem", true, messageOf("config_not_applied", problems));
  await guest.pass(SHORTER_S);

  await change({ ...good, health_port: 8043 });
  const waits = await rig.healthy("waiting for a restart", has("restart_needed"));
  report.holds(
    "a good one ends it; what waits for a restart is a problem",
    !has("config_not_applied")(waits),
    messageOf("restart_needed", waits.problems),
  );

  const renamed = await change({ ...good, device_id: OTHER_ID });
  await guest.pass(2 * SHORTER_S);

  const reopened = await change({ ...good, device_id: OTHER_ID, gain_db: GAIN_DB });
  await journal.next("Recording.", { sinceS: reopened.atS, limitS: 60 });
  await rig.settled();
  await guest.pass(SHORTER_S);
  const nowS = Number(await guest.run("date +%s.%N"));
  await rig.ingest.waitUntil(
    ({ chunks }) => chunks.some((chunk) => endS(chunk) >= nowS),
    60_000 * SLOWEST,
    "the chunk of now",
  );

  // What was recorded before the replug ended before it.
  const chunks = inOrder(rig.ingest.chunks).filter((chunk) => endS(chunk) > first.unixS);
  const streams = [...new Set(chunks.map((chunk) => tagOf(chunk, "STREAM_ID")))];
  const [one = [], other = []] = streams.map((id) =>
    chunks.filter((chunk) => tagOf(chunk, "STREAM_ID") === id)
  );
  report.holds("they are of two streams", streams.length === 2, streams.length);
  report.holds(
    "samples missing at the seams of the first, by number",
    missing(one) === 0,
    missing(one),
  );
  const shift = worstShift(await Promise.all(one.map(partOf)), TONE_HZ);
  report.holds("and by the phase of a sine, less than half a one", shift < 0.5, shift.toFixed(3));
  const seams = one.filter((chunk) => endS(chunk) >= applied.unixS).length - 1;
  report.measured("seams since the first change", String(seams));

  const isShorter = one.slice(0, -1).some((chunk) =>
    startS(chunk) > wrong.unixS && Math.abs(endS(chunk) - startS(chunk) - SHORTER_S) < 0.1
  );
  report.holds("chunk_seconds is in force, and stays so after a wrong file", isShorter);
  const isNamed = chunks.every((chunk) =>
    (chunk.fields["device_id"] === OTHER_ID) === (startS(chunk) > renamed.unixS)
  );
  report.holds("device_id is that of the chunk's start", isNamed);

  const [earlier, next] = [one.at(-1), other[0]];
  if (earlier === undefined || next === undefined) throw new Error("A stream has no chunk");
  const gapS = startS(next) - endS(earlier);
  const declaredS = Number(tagOf(next, "GAP_BEFORE_MS")) / 1000;
  report.atMost("gain_db: sound missing", gapS, 3);
  report.holds(
    "it is declared with its cause",
    Math.abs(declaredS - gapS) < 0.01 && tagOf(next, "GAP_CAUSE") === "settings_changed",
    `${declaredS} s, ${tagOf(next, "GAP_CAUSE")}`,
  );
  const gaps = journal.entries.filter(({ message, fields }) =>
    message === "Sound is missing." && Date.parse(String(fields.start)) > applied.unixS * 1000
  );
  report.holds("and it is the only one", gaps.length === 1, gaps.length);
  const gain = 20 * Math.log10(await levelOf(other.at(-1) ?? next) / await levelOf(earlier));
  report.holds("gain_db is in force", Math.abs(gain - GAIN_DB) < 0.3, `${gain.toFixed(2)} dB`);
  const { restarts } = await service.state();
  report.holds("the service was not restarted", restarts === rig.expectedRestarts);

  await listenTo(rig, "");
  await service.configure({});
  rig.expectedRestarts = 0;
  await rig.settled();
}

/** Plugs the microphone in again with these options; returns when, seconds since boot. */
async function listenTo({ running: { microphone } }: Rig, options: string): Promise<number> {
  await microphone.unplug();
  await microphone.configure(options);
  return await microphone.plug();
}

/** Has the service read other settings. Returns what it says. */
async function put(rig: Rig, keys: Keys, says: string): Promise<Entry> {
  const { guest, journal, service } = rig.running;
  const sinceS = await guest.uptimeS();
  await service.reload(keys);
  return await journal.next(says, { sinceS, limitS: 30 });
}

type Problems = readonly { readonly code: string; readonly message: string }[];

function has(code: string): (health: { problems: Problems }) => boolean {
  return ({ problems }) => problems.some((problem) => problem.code === code);
}

function messageOf(code: string, problems: Problems): string {
  return problems.find((problem) => problem.code === code)?.message ?? "";
}

function tagOf(chunk: ReceivedChunk, name: string): string {
  return readChunkHeader(chunk.bytes)?.tags[name] ?? "";
}

/** What is missing between the chunks of a stream, or twice there, in samples. */
function missing(chunks: readonly ReceivedChunk[]): number {
  return chunks.slice(1).reduce((sum, chunk, at) => {
    const before = chunks[at];
    if (before === undefined) return NaN;
    const end = Number(tagOf(before, "STREAM_SAMPLE")) +
      (cutToLastPage(before.bytes)?.samples ?? NaN);
    return sum + Math.abs(Number(tagOf(chunk, "STREAM_SAMPLE")) - end);
  }, 0);
}

export const settingsScenarios: readonly Scenario[] = [
  { name: "reload", what: "systemctl reload: a key of each kind, and a wrong file", run: reload },
];
