// The chunks that fill a spool for tests/releases: copies of one that a release has recorded, each with an id of its
// own, under names that the release itself makes. It writes files; what must become of them, run.ts decides.

import { join } from "@std/path/join";
import {
  cutToLastPage,
  readChunkHeader,
  samplesToUs,
  withTags,
} from "../../src/chunk/chunk_file.ts";
import type { ChunkDir, ChunkName, PartName, Provisional } from "../../src/chunk/chunk_name.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";

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
