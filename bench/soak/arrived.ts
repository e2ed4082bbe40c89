// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Judges what a soak left behind: the sealed chunks must be exactly those that arrived or wait, once each
// and without a hole inside a stream that they do not declare. It prints a line of figures for each of its two checks.

import { join } from "@std/path/join";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { parseChunkTags } from "../../src/chunk/chunk_tags.ts";
import type { IngestServer, ReceivedChunk } from "../../tests/fixtures/ingest_server.ts";
import { objectionTo } from "../../tests/kill/strict_chunk.ts";

/** Sample numbers count at 48 kHz. */
const SAMPLES_PER_MS = 48;
/** A declared gap is rounded to a millisecond, the sample numbers are not; samples. */
const MOST_ROUNDING = SAMPLES_PER_MS / 2;
/** Chunks of two streams may overlap by the error in the estimated start of a stream, seconds. */
const MOST_OVERLAP_S = 0.1;

/** The keys of all files that ever appeared in the directory, from inotify. */
export class Outbox implements AsyncDisposable {
  readonly keys = new Set<string>();
  readonly #watcher: Deno.FsWatcher;
  readonly #watched: Promise<void>;

  constructor(dir: string) {
    this.#watcher = Deno.watchFs(dir, { recursive: false });
    for (const { name } of Deno.readDirSync(dir)) this.#add(name);
    this.#watched = this.#watch();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    await this.#watched;
  }

  async #watch(): Promise<void> {
    for await (const { paths } of this.#watcher) {
      for (const path of paths) this.#add(path.slice(path.lastIndexOf("/") + 1));
    }
  }

  #add(fileName: string): void {
    const key = parseChunkName(fileName)?.key;
    if (key !== undefined) this.keys.add(key);
  }
}

/** The input of the judgement. */
export interface Left {
  readonly outbox: Outbox;
  readonly server: IngestServer;
  readonly spoolDir: string;
}

/** Everything that is wrong, one line each. */
export function judgeArrived(left: Left): string[] {
  return [...judgeKeys(left), ...judgeStreams(left.server.chunks)];
}

/** Seconds of sound that the server has. */
export function acceptedS(server: IngestServer): number {
  return server.chunks.reduce((sum, { fields }) => sum + secondsOf(fields), 0);
}

function judgeKeys({ outbox, server, spoolDir }: Left): string[] {
  const names = (sub: string) => [...Deno.readDirSync(join(spoolDir, sub))].map((e) => e.name);
  const keys = (files: readonly string[]) => files.map((file) => parseChunkName(file)?.key ?? file);
  const accepted = new Set(server.chunks.map(({ key }) => key));
  const waiting = new Set(keys(names("outbox")));
  const sealed = [...outbox.keys];
  const uploaded = keys(names("uploaded"));
  const wrong: [string, string[]][] = [
    ["sealed but neither accepted nor waiting", sealed.filter((k) => !has(accepted, waiting, k))],
    ["filed as delivered but never accepted", uploaded.filter((k) => !accepted.has(k))],
    ["accepted but never sealed", [...accepted].filter((k) => !outbox.keys.has(k))],
    ["accepted but not filed", [...accepted].filter((k) => !uploaded.includes(k))],
    ["left in recording/", names("recording")],
    ["refused", names("rejected")],
  ];
  const seconds = acceptedS(server).toFixed(1);
  console.log(
    `\nsealed ${sealed.length}, accepted ${accepted.size} (${seconds} s of sound), ` +
      `sent again under the same key ${server.duplicates}, waiting ${waiting.size}`,
  );
  return wrong.filter(([, which]) => which.length > 0)
    .map(([what, which]) => `${which.length} chunks ${what}: ${which[0]}`);
}

/** What the judgement of the streams needs of a chunk. */
type Arrived = Pick<ReceivedChunk, "key" | "bytes" | "fields">;

/** Every file must be complete, and every sample of a stream must be there once, or be declared as missing. */
export function judgeStreams(chunks: readonly Arrived[]): string[] {
  const wrong: string[] = [];
  const streams = new Map<string, { from: number; to: number; declared: number }[]>();
  const times: { startS: number; endS: number }[] = [];
  for (const { key, bytes, fields } of chunks) {
    const objection = objectionTo(bytes);
    if (objection !== null) wrong.push(`${key}: ${objection}`);
    times.push({ startS: Number(fields["start_ts"]), endS: Number(fields["end_ts"]) });
    const place = parseChunkTags(readChunkHeader(bytes)?.tags ?? {});
    const samples = cutToLastPage(bytes)?.samples;
    if (place.streamId === null || place.streamSample === null || samples === undefined) {
      wrong.push(`${key}: its place in its stream cannot be read`);
      continue;
    }
    const from = place.streamSample;
    const declared = place.gapCause === null ? 0 : (place.gapBeforeMs ?? 0) * SAMPLES_PER_MS;
    const pieces = streams.get(place.streamId) ?? [];
    streams.set(place.streamId, [...pieces, { from, to: from + samples, declared }]);
  }
  let [missing, undeclared, invented, doubled] = [0, 0, 0, 0];
  for (const pieces of streams.values()) {
    pieces.sort((a, b) => a.from - b.from);
    for (const [at, { from, declared }] of pieces.entries()) {
      const hole = from - (pieces[at - 1]?.to ?? 0);
      const gap = at === 0 ? 0 : declared; // that of the first one is not inside the stream
      missing += Math.max(0, hole);
      doubled += Math.max(0, -hole);
      if (hole <= 0) invented += gap;
      else if (gap === 0 || Math.abs(hole - gap) > MOST_ROUNDING) undeclared += hole;
    }
  }
  times.sort((a, b) => a.startS - b.startS);
  const overlapS = Math.max(0, ...times.slice(1).map((t, i) => (times[i]?.endS ?? 0) - t.startS));
  console.log(
    `${streams.size} streams: ${missing} samples missing inside them, ${undeclared} of these undeclared, ` +
      `${doubled} duplicated; ` +
      `chunks overlap by ${(overlapS * 1000).toFixed(1)} ms at most`,
  );
  if (undeclared > 0) {
    wrong.push(`${undeclared} samples are missing inside streams and not declared`);
  }
  if (invented > 0) {
    wrong.push(`${invented} samples are declared as missing inside streams, and are not`);
  }
  if (doubled > 0) wrong.push(`${doubled} samples arrived twice`);
  if (overlapS > MOST_OVERLAP_S) wrong.push(`Chunks overlap by ${overlapS} s`);
  return wrong;
}

function has(accepted: Set<string>, waiting: Set<string>, key: string): boolean {
  return accepted.has(key) || waiting.has(key);
}

function secondsOf(fields: Record<string, string>): number {
  return Number(fields["end_ts"]) - Number(fields["start_ts"]);
}
