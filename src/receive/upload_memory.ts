// The memory that uploads in progress may take, shared out among clients, so that none takes the room of all
// others. A client keeps its own share; what it holds beyond that is borrowed: when others need room, its newest
// upload that still arrives is given up. It holds no bytes itself (held_bytes.ts), and does not know what an
// upload is. Pure.

import { StoreFailure } from "./store.ts";

/** A client keeps one part in this many. */
const OWN_PARTS = 16;
/** A client may hold one part in this many: what waits for the store cannot be given up. */
const MOST_PARTS = 2;

/** What one upload takes. */
export interface MemoryShare {
  /** Takes room for more bytes. @throws {StoreFailure} if there is none, or if the upload was given up. */
  readonly hold: (bytes: number) => void;
  /** From now on it is not given up. @throws {StoreFailure} if it was. */
  readonly settle: () => void;
  /** Gives everything back. */
  readonly release: () => void;
}

interface Entry {
  readonly client: string;
  readonly giveUp: () => void;
  bytes: number;
  isArriving: boolean;
}

export class UploadMemory {
  readonly #limitBytes: number;
  /** In the order in which they began. */
  readonly #entries = new Set<Entry>();
  /** Of each client that holds anything. */
  readonly #heldBytes = new Map<string, number>();
  #allBytes = 0;

  /** @param limitBytes of all uploads together; those of one client may take half of it. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** An upload of a client. @param giveUp forgets its bytes, as others need the room. */
  begin(client: string, giveUp: () => void): MemoryShare {
    const entry: Entry = { client, giveUp, bytes: 0, isArriving: true };
    this.#entries.add(entry);
    const check = () => {
      if (!this.#entries.has(entry)) {
        throw new StoreFailure("the uploads of other clients needed the memory of this one");
      }
    };
    return {
      hold: (bytes) => {
        check();
        this.#makeRoom(client, bytes);
        this.#add(entry, bytes);
      },
      settle: () => {
        check();
        entry.isArriving = false;
      },
      release: () => this.#release(entry),
    };
  }

  /** @throws {StoreFailure} */
  #makeRoom(client: string, bytes: number): void {
    const mb = (part: number) => Math.round(this.#limitBytes / part / 1e6);
    if (this.#heldBy(client) + bytes > this.#limitBytes / MOST_PARTS) {
      throw new StoreFailure(
        `the uploads of one client fill the ${mb(MOST_PARTS)} MB of memory that it may take`,
      );
    }
    while (this.#allBytes + bytes > this.#limitBytes) {
      const borrower = this.#borrower(this.#heldBy(client) + bytes);
      if (borrower === null) {
        throw new StoreFailure(`the uploads in progress fill the ${mb(1)} MB of memory for them`);
      }
      this.#release(borrower);
      borrower.giveUp();
    }
  }

  /** Of the client that holds most beyond its own share and beyond this, the newest upload that arrives. */
  #borrower(heldBytes: number): Entry | null {
    let [found, most]: [Entry | null, number] = [
      null,
      Math.max(heldBytes, this.#limitBytes / OWN_PARTS) + 1,
    ];
    for (const entry of this.#entries) {
      const held = this.#heldBy(entry.client);
      if (entry.isArriving && entry.bytes > 0 && held >= most) [found, most] = [entry, held];
    }
    return found;
  }

  #heldBy(client: string): number {
    return this.#heldBytes.get(client) ?? 0;
  }

  #add(entry: Entry, bytes: number): void {
    entry.bytes += bytes;
    this.#allBytes += bytes;
    const held = this.#heldBy(entry.client) + bytes;
    if (held === 0) this.#heldBytes.delete(entry.client);
    else this.#heldBytes.set(entry.client, held);
  }

  #release(entry: Entry): void {
    this.#add(entry, -entry.bytes);
    this.#entries.delete(entry);
  }
}
