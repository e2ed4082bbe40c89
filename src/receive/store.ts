// What the receiver needs from a place where chunks are kept, and what chunks are called there:
// folder_store.ts keeps them in a folder, s3_store.ts in a bucket. The receiver itself keeps nothing. Pure.

import { formatChunkName } from "../chunk/chunk_name.ts";

/** Where it is written down, per device and key, what a chunk with an unsure time is called. */
export const UNSYNCHRONIZED = ".unsynchronized";

/** What names a chunk. */
export interface ChunkFacts {
  /** Lower-case UUIDs. */
  readonly pointId: string;
  readonly registerId: string;
  readonly deviceId: string;
  /** UTC of the first sample, Unix microseconds. */
  readonly startUnixUs: number;
  readonly durationUs: number;
  /** UUID, the same over all attempts to deliver the chunk. */
  readonly key: string;
  /** The sender says that the time may be wrong. The same chunk may come again with its true time. */
  readonly isProvisional: boolean;
}

/** What became of an upload that arrived whole. */
export interface Kept {
  /** `conflict`: other bytes are kept under this key; nothing was changed. */
  readonly outcome: "stored" | "repeated" | "conflict";
  /** Where it is, for the log. */
  readonly place: string;
}

/** A place where chunks are kept. Uploads may overlap. */
export interface Store {
  /** @param client whose upload it is. @throws {StoreFailure} */
  begin(client: string): Promise<IncomingFile>;
}

/** A file that arrives, which nobody sees yet. */
export interface IncomingFile {
  /** @throws {StoreFailure} */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Keeps the file under its key. When this resolves, the file survives a power cut.
   * @param sha256 of all that was written.
   * @throws {StoreFailure}
   */
  keep(chunk: ChunkFacts, sha256: Uint8Array): Promise<Kept>;
  /** Forgets the file unless it was kept. Never rejects. */
  discard(): Promise<void>;
}

/** The store cannot work now; nothing of the upload is kept. */
export class StoreFailure extends Error {
  /** @param isFull it has no space. @param retryS when the sender may come again, if that is known. */
  constructor(message: string, readonly isFull = false, readonly retryS: number | null = null) {
    super(message);
  }
}

/** What a store may take longer for this many bytes, ms: a second for each megabyte. */
export function transferMs(sizeBytes: number): number {
  return Math.round(sizeBytes / 1000);
}

/** Where a chunk is, below the folder of its device. */
export function placeOf(chunk: Pick<ChunkFacts, "startUnixUs" | "durationUs" | "key">): string {
  const day = new Date(Math.floor(chunk.startUnixUs / 1000)).toISOString().slice(0, 10);
  return `${day}/${formatChunkName(chunk)}`;
}

/** Whether a note names a chunk with this key, and no file elsewhere. */
export function isPlace(noted: string, key: string): boolean {
  return /^\d{4}-\d\d-\d\d\/[\w.-]+\.ogg$/.test(noted) && noted.endsWith(`_${key}.ogg`);
}
