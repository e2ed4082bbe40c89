// What the receiver needs from a place where chunks are kept. Types only; folder_store.ts is the one that
// keeps them in a folder. The receiver itself keeps nothing.

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
  /** @throws {StoreFailure} */
  begin(): Promise<IncomingFile>;
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
  /** @param isFull it has no space. */
  constructor(message: string, readonly isFull = false) {
    super(message);
  }
}
