// The chunks that fill a spool for tests/releases: copies of one that a release has recorded, each with an id of its
// own, under names that the release itself makes. It writes files, and compares what became of them with what
// was owed; what is owed when, those who run the releases decide.

import { join } from "@std/path/join";
import {
  cutToLastPage,
  readChunkHeader,
  samplesToUs,
  withTags,
} from "../../src/chunk/chunk_file.ts";
import type { ChunkDir, ChunkName, PartName, Provisional } from "../../src/chunk/chunk_name.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import type { ReceivedChunk } from "../fixtures/ingest_server.ts";

/** The boot of chunks that an earlier boot has left. */
const OTHER_BOOT = "00c0ffee";

/** What makes and reads the names of a release. */
export interface Names {
  formatChunkName(name: ChunkName): string;
  formatPartName(name: PartName): string;
  parseChunkName(fileName: string): ChunkName | null;
  parsePartName(fileName: string): PartName | null;
}

/** A chunk that the server must get. */
export interface Owed {
  readonly name: ChunkName;
  readonly bytes: Uint8Array;
  /** Whether its time stays what the name says. */
  readonly isTimeRight: boolean;
}

/** Where the copied chunk comes from, and where copies go. */
export interface Place {
  readonly spool: string;
  readonly names: Names;
  readonly name: ChunkName;
  readonly bytes: Uint8Array;
}

/** The oldest chunk of a spool whose time is known. @throws if none waits. */
export async function sampleOf(spool: string, names: Names): Promise<Place> {
  const outbox = join(spool, "outbox");
  const files = (await Array.fromAsync(Deno.readDir(outbox), ({ name }) => name)).sort();
  for (const file of files) {
    const name = names.parseChunkName(file);
    if (name === null || name.provisional !== undefined) continue;
    return { spool, names, name, bytes: await Deno.readFile(join(outbox, file)) };
  }
  throw new Error(`No chunk waits in ${spool}`);
}

/**
 * Puts chunks into a directory of the spool, the first one `beforeS` before the copied one.
 * @param provisional what is in the name of each, if its time is not known.
 */
export async function putChunks(
  place: Place,
  dir: ChunkDir,
  count: number,
  { beforeS, provisional }: { beforeS: number; provisional?: (index: number) => Provisional },
): Promise<Owed[]> {
  const owed: Owed[] = [];
  for (let index = 0; index < count; index++) {
    const { durationUs } = place.name;
    const suffix = provisional === undefined ? {} : { provisional: provisional(index) };
    const startUnixUs = place.name.startUnixUs - beforeS * 1e6 + index * durationUs;
    const name = { startUnixUs, durationUs, key: crypto.randomUUID(), ...suffix };
    const bytes = withId(place.bytes, name.key);
    await put(join(place.spool, dir, place.names.formatChunkName(name)), bytes);
    owed.push({ name, bytes, isTimeRight: provisional === undefined });
  }
  return owed;
}

/**
 * Puts waiting chunks of a clock that was not set: `count` of this boot, of another one, and of one that a
 * right clock has seen.
 */
export async function putUnsure(
  place: Place,
  count: number,
  { bootId, beforeS }: { bootId: string; beforeS: number },
): Promise<Owed[]> {
  const seenUnixS = Math.floor(Date.now() / 1000) - 3600;
  const kinds: ((index: number) => Provisional)[] = [
    (index) => ({ bootId, startBootUs: (60 + index * 2) * 1e6, seenUnixS: null }),
    (index) => ({ bootId: OTHER_BOOT, startBootUs: index * 2e6, seenUnixS: null }),
    (index) => ({ bootId: OTHER_BOOT, startBootUs: index * 2e6, seenUnixS }),
  ];
  const owed = [];
  for (const provisional of kinds) {
    owed.push(...await putChunks(place, "outbox", count, { beforeS, provisional }));
  }
  return owed;
}

/** Puts refused chunks. Each has the reason that the release has written itself for the chunk with the id `key`. */
export async function putRefused(
  place: Place,
  count: number,
  { beforeS, reason, key }: { beforeS: number; reason: string; key: string },
): Promise<Owed[]> {
  const refused = await putChunks(place, "rejected", count, { beforeS });
  for (const { name } of refused) {
    const path = join(place.spool, "rejected", `${place.names.formatChunkName(name)}.reason.json`);
    await put(path, new TextEncoder().encode(reason.replaceAll(key, name.key)));
  }
  return refused;
}

/** Declared gaps before the copied chunk, as lines of gaps.jsonl. */
export function gapLines({ name }: Place, count: number): string {
  return Array.from({ length: count }, (_, index) => {
    const startMs = name.startUnixUs / 1000 - (count - index) * 100_000;
    const [start, end] = [startMs, startMs + 5000].map((ms) => new Date(ms).toISOString());
    return `${JSON.stringify({ start, end, ms: 5000, cause: "microphone_missing" })}\n`;
  }).join("");
}

/** The key of a chunk in its file name, whatever its state is. */
export function keyIn(file: string): string {
  return /_([0-9a-f]{8}-[0-9a-f-]{27})/.exec(file)?.[1] ?? file;
}

/** What is wrong with the chunk that arrived for this one; null if nothing is. `bootId` is that of its machine. */
export function faultOf(
  { name, bytes, isTimeRight }: Owed,
  chunk: ReceivedChunk | undefined,
  bootId: string,
): string | null {
  if (chunk === undefined) return "did not arrive";
  const { start_ts, end_ts } = chunk.fields;
  const startUs = Math.round(Number(start_ts) * 1e6);
  const lengthUs = Math.round(Number(end_ts) * 1e6) - startUs;
  if (Math.abs(lengthUs - name.durationUs) > 1) return `has a length of ${lengthUs} µs`;
  const isUnsure = chunk.headers["x-clock-synchronized"] === "false";
  if (isUnsure !== (name.provisional !== undefined && name.provisional.bootId !== bootId)) {
    return `arrives ${isUnsure ? "as not synchronized" : "as if its clock had been right"}`;
  }
  if (!isTimeRight) return null;
  if (Math.abs(startUs - name.startUnixUs) > 1) return `starts at ${start_ts}`;
  const isWhole = chunk.bytes.length === bytes.length &&
    bytes.every((byte, at) => byte === chunk.bytes[at]);
  return isWhole ? null : "has other bytes";
}

/** Puts recordings that were cut off in the middle of a page, each elsewhere, behind their first sound. */
export async function putParts(place: Place, count: number, beforeS: number): Promise<Owed[]> {
  const owed: Owed[] = [];
  for (let index = 0; index < count; index++) {
    const startUnixUs = place.name.startUnixUs - (beforeS - index * 10) * 1e6;
    const name = { startUnixUs, key: crypto.randomUUID() };
    const whole = withId(place.bytes, name.key);
    const cut = whole.subarray(0, whole.length - 1 - Math.floor(whole.length / 3 * index / count));
    const kept = cutToLastPage(cut);
    if (kept === null || kept.samples === 0) throw new Error("The cut leaves no sound");
    await put(join(place.spool, "recording", place.names.formatPartName(name)), cut);
    const durationUs = samplesToUs(kept.samples);
    owed.push({ name: { ...name, durationUs }, bytes: kept.bytes, isTimeRight: true });
  }
  return owed;
}

/** Puts a recording of these bytes, of which nothing can be delivered. Returns its name. */
export async function putRest(
  { spool, names, name }: Place,
  bytes: Uint8Array,
): Promise<string> {
  const file = names.formatPartName({
    startUnixUs: name.startUnixUs - 1e6,
    key: crypto.randomUUID(),
  });
  await put(join(spool, "recording", file), bytes);
  return file;
}

/** The same chunk with another id. */
function withId(bytes: Uint8Array, key: string): Uint8Array {
  const tags = readChunkHeader(bytes)?.tags;
  const header = withTags(bytes, { ...tags, CHUNK_ID: key });
  if (header === null) throw new Error("The copied chunk has no id of its own");
  return concatBytes([header, bytes.subarray(header.length)]);
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await Deno.writeFile(path, bytes, { mode: 0o600, createNew: true });
}
