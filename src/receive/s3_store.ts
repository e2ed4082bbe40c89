// Keeps chunks in a bucket of an object store, under the names that a folder has (folder_store.ts). It
// keeps no state of its own: any number of receivers may work on one bucket. An upload is held in memory
// until the store has confirmed it; all uploads together have a limit (upload_memory.ts). It never lists the
// bucket.
//
//   PREFIX/POINT/REGISTER/DEVICE/2026-11-23/20261123T184500.123456Z_59993500us_KEY.ogg
//   PREFIX/POINT/REGISTER/DEVICE/.unsynchronized/KEY   where a chunk with an unsure time is
//   PREFIX/.receiver                                   with which a receiver tries what the store can do
//
// An object is written with `If-None-Match: *`, so one that is there is never overwritten. A store that does
// not know this is asked first: there, only two uploads of one key at the same time, at two receivers and
// with different bytes, go unnoticed, and the later one stays.

import { HeldBytes } from "./held_bytes.ts";
import { KeyTurns } from "./key_turns.ts";
import { S3Failure } from "./s3_answers.ts";
import type { S3Client } from "./s3_client.ts";
import {
  type ChunkFacts,
  type IncomingFile,
  isPlace,
  type Kept,
  placeOf,
  type Store,
  StoreFailure,
  UNSYNCHRONIZED,
} from "./store.ts";
import { UploadMemory } from "./upload_memory.ts";

const PROBE = ".receiver";
const PROBE_TEXT = "recorder-agent receive\n";
/** A note is not longer. */
const MAX_NOTE_BYTES = 256;

export interface S3StoreOptions {
  readonly client: S3Client;
  /** "" or a text that ends with a slash. */
  readonly prefix: string;
  /** What uploads in progress may hold in memory together. */
  readonly memoryBytes: number;
  /** Called when it is known whether the store refuses to overwrite an object. */
  readonly onReady: (hasConditionalWrites: boolean) => void;
}

export class S3Store implements Store {
  readonly #options: S3StoreOptions;
  readonly #keyTurns = new KeyTurns();
  readonly #memory: UploadMemory;
  #isConditional: Promise<boolean> | null = null;

  constructor(options: S3StoreOptions) {
    this.#options = options;
    this.#memory = new UploadMemory(options.memoryBytes);
  }

  /**
   * Tries to write: whether the store can be used, and refuses to overwrite an object.
   * @throws {S3Failure}; a later call tries again.
   */
  async tryOut(): Promise<boolean> {
    const trying = this.#isConditional ??= this.#probe();
    try {
      return await trying;
    } catch (error) {
      if (this.#isConditional === trying) this.#isConditional = null;
      throw error;
    }
  }

  async begin(client: string): Promise<IncomingFile> {
    await Promise.resolve(); // what is thrown below is a rejection
    const { turns } = this.#options.client;
    turns.admit(client);
    const share = this.#memory.begin(client, () => held.clear());
    const held = new HeldBytes(share.hold);
    let keeping: Promise<unknown> = Promise.resolve();
    return {
      write: async (bytes) => {
        await Promise.resolve(); // what is thrown below is a rejection
        held.push(bytes);
      },
      keep: async (chunk, sha256) => {
        share.settle();
        const upload = { chunk, bytes: held.whole(), sha256: sha256.toHex() };
        const kept = this.#keyTurns.take(
          chunk.key,
          () => turns.take(client, () => this.#keep(upload)),
        );
        keeping = kept.catch(() => {});
        return await kept;
      },
      discard: async () => {
        await keeping; // until then the bytes are in memory, even if nobody waits
        share.release();
        held.clear();
      },
    };
  }

  async #probe(): Promise<boolean> {
    const { client, prefix, onReady } = this.#options;
    const bytes = new TextEncoder().encode(PROBE_TEXT);
    const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
    const put = (onlyNew: boolean) => client.put(`${prefix}${PROBE}`, bytes, { sha256, onlyNew });
    let isConditional: boolean;
    try {
      // The first one may find nothing there: then the second one must find the first.
      isConditional = await put(true) === "exists" || await put(true) === "exists";
    } catch (error) {
      if (!(error instanceof S3Failure) || error.kind !== "unsupported") throw error;
      await put(false);
      isConditional = false;
    }
    onReady(isConditional);
    return isConditional;
  }

  async #keep(upload: Upload): Promise<Kept> {
    const { client, prefix } = this.#options;
    const { chunk } = upload;
    const device = `${prefix}${chunk.pointId}/${chunk.registerId}/${chunk.deviceId}/`;
    const place = placeOf(chunk);
    const marker = `${device}${UNSYNCHRONIZED}/${chunk.key}`;
    const noted = await this.#note(marker, chunk.key);
    const earlier = noted === null || noted === place ? null : `${device}${noted}`;
    const found = earlier === null ? "nothing" : await this.#compare(earlier, upload);
    if (earlier !== null && found === "other") return { outcome: "conflict", place: earlier };
    if (earlier !== null && found === "same") {
      if (chunk.isProvisional) return { outcome: "repeated", place: earlier };
      // It has its true time now. Cut off between two of these, the next attempt does the rest.
      const { outcome, place: target } = await this.#put(`${device}${place}`, upload);
      if (outcome === "conflict") return { outcome, place: target };
      await client.remove(earlier);
      await client.remove(marker);
      return { outcome: "repeated", place: target };
    }
    if (chunk.isProvisional) {
      const bytes = new TextEncoder().encode(place);
      const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      await client.put(marker, bytes, { sha256 });
    }
    const kept = await this.#put(`${device}${place}`, upload);
    const isSettled = kept.outcome !== "conflict" && !chunk.isProvisional;
    if (isSettled && noted !== null) await client.remove(marker);
    return kept;
  }

  /** Where a chunk with an unsure time is; null if no such chunk is known under this key. */
  async #note(marker: string, key: string): Promise<string | null> {
    const bytes = await this.#options.client.read(marker, MAX_NOTE_BYTES);
    const text = bytes === null ? null : new TextDecoder().decode(bytes);
    return text !== null && isPlace(text, key) ? text : null;
  }

  /** Writes an object unless there is one. */
  async #put(place: string, upload: Upload): Promise<Kept> {
    const { client } = this.#options;
    const { bytes, sha256 } = upload;
    const isConditional = await this.tryOut();
    let found = isConditional ? null : await this.#compare(place, upload);
    if (found === null || found === "nothing") {
      let put;
      try {
        put = await client.put(place, bytes, { sha256, onlyNew: isConditional });
      } catch (error) {
        // The store is another one than it was: the next upload tries it out again.
        if (error instanceof S3Failure && error.kind === "unsupported") this.#isConditional = null;
        throw error;
      }
      if (put === "stored") return { outcome: "stored", place };
      found = await this.#compare(place, upload);
    }
    if (found === "nothing") throw new StoreFailure("the object was removed in this moment");
    return { outcome: found === "same" ? "repeated" : "conflict", place };
  }

  /** Whether an object is what was uploaded. Its bytes are read only if the store has no digest of them. */
  async #compare(place: string, { bytes, sha256 }: Upload): Promise<"same" | "other" | "nothing"> {
    const { client } = this.#options;
    const found = await client.look(place);
    if (found === null) return "nothing";
    if (found.sizeBytes !== bytes.length) return "other";
    if (found.sha256 !== null) return found.sha256 === sha256 ? "same" : "other";
    const there = await client.read(place, bytes.length);
    if (there === null) return "nothing";
    return there.length === bytes.length && there.every((byte, at) => byte === bytes[at])
      ? "same"
      : "other";
  }
}

/** An upload that arrived whole. */
interface Upload {
  readonly chunk: ChunkFacts;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Lower-case hex. */
  readonly sha256: string;
}
