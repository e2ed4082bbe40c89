// Why sound is missing between the chunks of a day: from the tags of the chunks around a hole, which
// chunk/sound_line.ts interprets. It reads the beginning of files through its caller, keeps what it read, and
// looks at the longest holes only.

import { readChunkHeader } from "../chunk/chunk_file.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { type ChunkRecord } from "../chunk/chunk_record.ts";
import { parseChunkTags } from "../chunk/chunk_tags.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import { type Hole as MissingSound, layOut } from "../chunk/sound_line.ts";
import { printable } from "../system/printable.ts";
import type { Coverage, Hole } from "./day_coverage.ts";

/** Holes of a day that are explained. */
export const EXPLAINED_HOLES = 5;
/** The tags of a chunk are within this many bytes. */
export const HEAD_BYTES = 4096;
/** Files whose tags are kept; about half a kilobyte each. */
const MAX_KNOWN = 10_000;
const MAX_CAUSE = 40;

/** A chunk of the day, and where it is. */
export interface DayFile {
  readonly name: ChunkName;
  readonly path: string;
}

export class HoleCauses {
  readonly #readHead: (path: string) => Promise<Uint8Array | null>;
  readonly #known = new Map<string, ChunkRecord | null>();

  /** @param readHead the first HEAD_BYTES of a file; null if it is not there. May reject. */
  constructor(readHead: (path: string) => Promise<Uint8Array | null>) {
    this.#readHead = readHead;
  }

  /** The coverage of these files with the causes of its longest holes, as far as the chunks say them. */
  async explain(coverage: Coverage, files: readonly DayFile[]): Promise<Coverage> {
    const longest = new Set(longestHoles(coverage));
    const holes: Hole[] = [];
    for (const hole of coverage.holes) {
      holes.push(longest.has(hole) ? { ...hole, why: await this.#why(hole, files) } : hole);
    }
    return { ...coverage, holes };
  }

  async #why({ fromUnixUs, toUnixUs }: Hole, files: readonly DayFile[]): Promise<string[]> {
    const next = files.find(({ name }) => name.startUnixUs === toUnixUs);
    const last = files.find(({ name }) => name.startUnixUs + name.durationUs === fromUnixUs);
    // The newest one knows best which chunks do not wait for delivery any more.
    const newest = files.reduce<DayFile | undefined>(
      (a, b) => a === undefined || b.name.startUnixUs > a.name.startUnixUs ? b : a,
      undefined,
    );
    const around = [...new Set([last, next, newest])].filter((file) => file !== undefined);
    const chunks = (await Promise.all(around.map((file) => this.#describe(file))))
      .filter((chunk) => chunk !== null);
    const words: string[] = [];
    for (const item of layOut(chunks).items) {
      if (item.kind === "piece" && item.chunk.file === next?.path) return words;
      if (item.kind === "hole") words.push(inWords(item));
    }
    return [];
  }

  async #describe({ name, path }: DayFile): Promise<ChunkRecord | null> {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const head = await this.#readHead(path).catch(() => null);
    if (head === null) return null;
    const record = recordOf(name, path, head);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(path, record);
    return record;
  }
}

/** The longest holes, in the order of time. */
export function longestHoles({ holes }: Coverage): readonly Hole[] {
  return holes.toSorted((a, b) => lengthOf(b) - lengthOf(a)).slice(0, EXPLAINED_HOLES)
    .toSorted((a, b) => a.fromUnixUs - b.fromUnixUs);
}

function lengthOf({ fromUnixUs, toUnixUs }: Hole): number {
  return toUnixUs - fromUnixUs;
}

/** What a name and the beginning of a file say of a chunk; null if the file says nothing. */
function recordOf(name: ChunkName, path: string, bytes: Uint8Array): ChunkRecord | null {
  const header = readChunkHeader(bytes);
  if (header === null) return null;
  const { streamId, streamSample, ...tags } = parseChunkTags(header.tags);
  if (streamId === null || streamSample === null) return null;
  const isTimeSure = tags.isClockSynchronized ?? true;
  return {
    ...{ file: path, sizeBytes: bytes.length, deviceId: "", streamId, streamSample },
    ...{ chunkId: tags.chunkId, previousChunkId: tags.previousChunkId, damage: null, isTimeSure },
    ...{ gapBeforeMs: tags.gapBeforeMs, gapCause: tags.gapCause, head: header.head },
    waitingFromUs: isTimeSure ? tags.waitingFromUs : null,
    samples: Math.round(name.durationUs * OPUS_RATE / 1e6),
    startUnixUs: name.startUnixUs,
  };
}

function inWords({ why, cause }: MissingSound): string {
  switch (why) {
    case "gap":
      return printable(cause ?? "", MAX_CAUSE);
    case "not_come":
      return "not received yet";
    case "gone":
      return "will not come";
    case "damaged":
    case "unknown":
      return "cause unknown";
  }
}
