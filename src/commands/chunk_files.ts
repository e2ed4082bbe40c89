// Finds received chunks in files and folders, reads and describes them, one after the other, and puts what is
// missing between them into words. For the commands of those who receive the sound; it writes nothing.

import { ifThere, readUpTo, TooLargeError } from "../system/disk.ts";
import { join as joinPath } from "@std/path/join";
import { MAX_CHUNK_BYTES } from "../chunk/chunk_file.ts";
import {
  type ChunkRecord,
  describeChunk,
  isChunk,
  type NoChunk,
  soundAfterDamage,
} from "../chunk/chunk_record.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import type { Hole } from "../chunk/sound_line.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";
import { linesOf } from "../system/byte_stream.ts";
import { messageOf } from "../system/error_text.ts";

/** Names of files that are read when they are found in a folder. */
const CHUNK_FILES = /\.(ogg|opus|part)$/i;
/** A folder in use is listed again until it holds what has been read, and at most so often. */
const MAX_LISTINGS = 5;
/** A longer line is not one of SUMS. */
const MAX_SUM_LINE = 8192;
/** Sums of files, as `sha256sum` prints them. */
const SUMS = "SHA256SUMS";

/** What a person gave in place of a chunk cannot be used; the message says what would be right. */
export class ChunksError extends Error {}

export interface FoundChunks {
  readonly chunks: readonly ChunkRecord[];
  /** Files that are not chunks, or whose digest is wrong. */
  readonly others: readonly NoChunk[];
}

/**
 * Reads and describes all chunks in these files and folders. The folders may be those of a receiver or a till that
 * is working: what was renamed while they were read is found under its new name, and what was deleted is left out.
 * @param onRead is told how many files of how many have been read.
 * @throws {ChunksError} if a path does not exist or cannot be read, or if no chunk was found.
 */
export async function readChunks(
  paths: readonly string[],
  onRead: (files: number, of: number) => void = () => {},
): Promise<FoundChunks> {
  let described = new Map<string, (ChunkRecord | NoChunk)[]>();
  for (let listing = 0; listing < MAX_LISTINGS; listing++) {
    const found: Found = { files: [], sumFiles: [] };
    for (const path of paths) await find(path, found, listing === 0);
    const files = [...new Set(found.files)].sort();
    const listed = new Set(files);
    described = new Map([...described].filter(([file]) => listed.has(file)));
    if (listing > 0 && described.size === files.length) break;
    const sums = await readSums(found);
    for (const [index, file] of files.entries()) {
      onRead(index, files.length);
      if (described.has(file)) continue;
      described.set(file, await describeFile(file, sums.get(file) ?? null));
    }
  }
  const all = [...described].sort(([a], [b]) => a < b ? -1 : 1).flatMap(([, found]) => found);
  const chunks = withDevice(all.filter(isChunk));
  const others = all.filter((found): found is NoChunk => !isChunk(found));
  if (chunks.length === 0) {
    const what = others.length === 0 ? "" : `: ${others.map(inWords).slice(0, 5).join("; ")}`;
    throw new ChunksError(`No chunk was found in ${paths.map(shown).join(", ")}${what}`);
  }
  return { chunks, others };
}

/** A chunk that names no device is one of the device in whose folder it is, or of the only one there is. */
function withDevice(chunks: readonly ChunkRecord[]): ChunkRecord[] {
  const ids = [...new Set(chunks.map(({ deviceId }) => deviceId))].filter((id) => id !== "");
  return chunks.map((chunk) => {
    if (chunk.deviceId !== "") return chunk;
    const folders = chunk.file.split("/");
    const deviceId = ids.find((id) => folders.includes(id)) ?? (ids.length === 1 ? ids[0] : "");
    return { ...chunk, deviceId: deviceId ?? "" };
  });
}

interface Found {
  readonly files: string[];
  /** Files with sums of them. */
  readonly sumFiles: { readonly dir: string; readonly path: string }[];
}

async function find(path: string, found: Found, isFirst: boolean): Promise<void> {
  try {
    const { isFile, isDirectory } = await Deno.stat(path);
    if (isFile) found.files.push(path);
    if (isDirectory) await walk(path, found);
  } catch (error) {
    if (!isFirst && error instanceof Deno.errors.NotFound) return;
    throw new ChunksError(`Cannot read ${shown(path)}: ${messageOf(error)}`);
  }
}

/** The bytes of a file that may be a chunk. @throws {TooLargeError} if it cannot be one. */
export async function readChunkBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  using file = await Deno.open(path, { read: true });
  const { isFile, size } = await file.stat();
  if (!isFile || size > MAX_CHUNK_BYTES) throw new TooLargeError("is too large to be a chunk");
  return await readUpTo(file, size);
}

/** Hidden files and folders are passed over: a receiver keeps there what is still arriving, as rsync does. */
async function walk(dir: string, found: Found): Promise<void> {
  for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
    if (name.startsWith(".")) continue;
    const path = joinPath(dir, name);
    if (isDirectory) await ifThere(walk(path, found));
    if (isFile && CHUNK_FILES.test(name)) found.files.push(path);
    if (isFile && name === SUMS) found.sumFiles.push({ dir, path });
  }
}

/**
 * The sums of the files that were found, by their paths. They are read line by line: a file of sums may be of any
 * size.
 */
async function readSums({ files, sumFiles }: Found): Promise<Map<string, string>> {
  const wanted = new Set(files);
  const sums = new Map<string, string>();
  for (const { dir, path } of sumFiles) {
    using file = await ifThere(Deno.open(path, { read: true }));
    if (file === null) continue;
    for await (const line of linesOf(file.readable, MAX_SUM_LINE)) {
      const [, digest = "", name = ""] = /^([0-9a-fA-F]{64}) [ *](.+)$/.exec(line) ?? [];
      const summed = joinPath(dir, name);
      if (wanted.has(summed)) sums.set(summed, digest.toLowerCase());
    }
  }
  return sums;
}

/** Lower-case hex SHA-256. */
export async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Several descriptions if the file is damaged in the middle. */
async function describeFile(file: string, sum: string | null): Promise<(ChunkRecord | NoChunk)[]> {
  try {
    const bytes = await readChunkBytes(file);
    const digest = await digestOf(bytes);
    if (sum !== null && sum !== digest) return [{ file, reason: `has not the digest in ${SUMS}` }];
    const found = describeChunk(file, bytes);
    if (!isChunk(found)) return [found];
    const parts = found.damage === null ? [] : soundAfterDamage(found, bytes);
    return [found, ...parts].map((part) => ({ ...part, digest }));
  } catch (error) {
    if (error instanceof TooLargeError) return [{ file, reason: error.message }];
    return [{ file, reason: `cannot be read: ${messageOf(error)}` }];
  }
}

/** The chunks of each device, by its id, in the order of ids. */
export function byDevice(chunks: readonly ChunkRecord[]): Map<string, ChunkRecord[]> {
  const devices = [...Map.groupBy(chunks, ({ deviceId }) => deviceId)];
  return new Map(devices.sort(([a], [b]) => a < b ? -1 : 1));
}

/** How many files these are: one that is damaged in the middle has several descriptions. */
export function filesOf(chunks: readonly ChunkRecord[]): number {
  return new Set(chunks.map(({ file }) => file)).size;
}

/** A sentence about a file that is not used. */
export function inWords({ file, reason }: NoChunk): string {
  return `${shown(file)} ${shown(reason)}`;
}

/** Why sound is missing, in words. */
export function whyMissing({ why, cause }: Pick<Hole, "why" | "cause">): string {
  switch (why) {
    case "gap":
      return `nothing was recorded: ${shown(cause ?? "")}`;
    case "not_come":
      return "recorded, and has not come yet";
    case "gone":
      return "recorded, but it will not come: delivered before, refused, or deleted on the till";
    case "damaged":
      return "the file before it is damaged";
    case "unknown":
      return "the chunks do not say why";
  }
}

/** Whether a hole is nothing to look into: outside the schedule, or the start and end of a recording. */
export function isDeclared({ why }: Pick<Hole, "why">): boolean {
  return why === "gap";
}

/** Seconds with milliseconds. */
export function seconds(samples: number): string {
  return (samples / OPUS_RATE).toFixed(3);
}

/** Said if a time is used that was not right. */
export const UNSURE_TIMES = "some times are those of a clock that was not synchronized";

/** That the time is another one from here on: a clock was set, or drifted. */
export function timeDiffers(us: number): string {
  const direction = us > 0 ? "later" : "earlier";
  const by = (Math.abs(us) / 1e6).toFixed(3);
  return `from here on the time is ${by} s ${direction} than the sound before it says`;
}

/** How long a hole is, in seconds; "?" if nobody knows. */
export function secondsOf({ samples }: Pick<Hole, "samples">): string {
  return samples === 0 ? "?" : seconds(samples);
}

/** Foreign text for a terminal: without control and format characters, and bounded. */
export function shown(text: string): string {
  return printable(text, MAX_TEXT);
}

/**
 * Converts between UTC and the wall clock of a zone.
 * @throws {ChunksError} if the zone is unknown.
 */
export class WallClock {
  readonly #zone: string;

  constructor(zone: string = Temporal.Now.timeZoneId()) {
    this.#zone = zone;
    try {
      Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone);
    } catch {
      throw new ChunksError(
        `Cannot use --zone as it must be a time zone such as Europe/Berlin: current value is ${
          shown(zone)
        }`,
      );
    }
  }

  /** "2026-11-23 18:45:00.123 +01:00" */
  format(unixUs: number): string {
    const at = Temporal.Instant.fromEpochMilliseconds(Math.round(unixUs / 1000))
      .toZonedDateTimeISO(this.#zone);
    const clock = at.toPlainDateTime().toString({ smallestUnit: "millisecond" });
    return `${clock.replace("T", " ")} ${at.offset}`;
  }

  /**
   * Unix microseconds of an ISO 8601 date and time; without an offset it is one of the zone.
   * @throws {ChunksError}
   */
  parse(option: string, text: string): number {
    const iso = text.trim().replace(" ", "T");
    try {
      if (/(Z|[+-]\d\d:?\d\d)$/.test(iso)) {
        return Number(Temporal.Instant.from(iso).epochNanoseconds / 1000n);
      }
      if (!iso.includes("T")) throw new RangeError("no time");
      const local = Temporal.PlainDateTime.from(iso).toZonedDateTime(this.#zone);
      return Number(local.epochNanoseconds / 1000n);
    } catch {
      throw new ChunksError(
        `Cannot use ${option} as it must be a date and time such as "2026-11-23 14:00": ` +
          `current value is ${shown(text)}`,
      );
    }
  }
}
