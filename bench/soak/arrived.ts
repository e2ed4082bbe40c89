// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Judges what a soak left behind: the sealed chunks must be exactly those that arrived or wait, once each
// and without a hole. It prints a line of figures for each of its two checks.

import { join } from "@std/path/join";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import type { IngestServer, ReceivedChunk } from "../../tests/fixtures/ingest_server.ts";
import { objectionTo } from "../../tests/kill/strict_chunk.ts";

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

/** Every file must be complete, and every sample of a stream must be there once. */
function judgeStreams(chunks: readonly ReceivedChunk[]): string[] {
  const wrong: string[] = [];
  const streams = new Map<string, { from: number; to: number }[]>();
  const times: { startS: number; endS: number }[] = [];
  for (const { key, bytes, fields } of chunks) {
    const objection = objectionTo(bytes);
    if (objection !== null) wrong.push(`${key}: ${objection}`);
    const tags = readChunkHeader(bytes)?.tags ?? {};
    const from = Number(tags["STREAM_SAMPLE"]);
    const id = tags["STREAM_ID"] ?? "";
    const to = from + (cutToLastPage(bytes)?.samples ?? NaN);
    streams.set(id, [...streams.get(id) ?? [], { from, to }]);
    times.push({ startS: Number(fields["start_ts"]), endS: Number(fields["end_ts"]) });
  }
  let [missing, doubled] = [0, 0];
  for (const pieces of streams.values()) {
    pieces.sort((a, b) => a.from - b.from);
    for (const [at, { from }] of pieces.entries()) {
      const before = at === 0 ? from : pieces[at - 1]?.to ?? from;
      missing += Math.max(0, from - before);
      doubled += Math.max(0, before - from);
    }
  }
  times.sort((a, b) => a.startS - b.startS);
  const overlapS = Math.max(0, ...times.slice(1).map((t, i) => (times[i]?.endS ?? 0) - t.startS));
  console.log(
    `${streams.size} streams: ${missing} samples missing inside them, ${doubled} duplicated; ` +
      `chunks overlap by ${(overlapS * 1000).toFixed(1)} ms at most`,
  );
  if (missing > 0) wrong.push(`${missing} samples are missing inside streams`);
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
