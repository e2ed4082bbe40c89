// Receives one chunk: POST /api/v1/chunks (docs/reference/protocol.md). It reads the form while it arrives,
// checks it, has the store keep the file, and answers when the file is durable. It knows neither
// connections nor where a chunk is kept.

import { createHash } from "node:crypto";
import type { Clock } from "../system/clock.ts";
import { printable } from "../system/printable.ts";
import { repeating } from "../system/held_lines.ts";
import { within } from "../system/within.ts";
import type { Logger } from "../system/log.ts";
import { HEADER_READ_BYTES } from "../chunk/chunk_file.ts";
import { announcedSha256, checkTags, readChunkForm, uuidOf } from "./chunk_form.ts";
import { BodyFault } from "../system/http_body.ts";
import type { HttpAnswer } from "../system/http_answer.ts";
import { ClientGone, type Incoming } from "../system/http_connection.ts";
import { boundaryOf, type FormEvent, FormFault, MultipartReader } from "./multipart_reader.ts";
import { ownerOf } from "./shares.ts";
import {
  type ChunkFacts,
  type IncomingFile,
  type Kept,
  type Store,
  StoreFailure,
  transferMs,
} from "./store.ts";
import type { Grant } from "./token_file.ts";

/** A text field may be this long. */
const MAX_FIELD_BYTES = 1024;
/** The store is not waited for any longer, beside what it takes of a large chunk (`transferMs`). */
const STORE_MS = 60_000;
/** While this many operations of the store hang, no others begin. */
const MAX_HANGING = 16;
/**
 * The points and registers for which the token of one device delivers: a till has one, and may be moved. Each is
 * folders in the store and a till on the page, which shows a limited number.
 */
export const MAX_PLACES = 16;
/** When a client may try again, unless the store knows better. */
const RETRY_S = 30;
const OGG = [0x4f, 0x67, 0x67, 0x53];

/** A chunk that was accepted. */
export interface Received extends ChunkFacts {
  readonly outcome: "stored" | "repeated";
  readonly sizeBytes: number;
  readonly place: string;
}

export interface ChunkIntakeOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called for each answer: what it was, and of an accepted chunk, which. */
  readonly onAnswer: (status: number, received: Received | null) => void;
}

/** Everything but the store is in order, and the request is not. */
class Refusal extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** An operation of the store has not ended, and may never end. */
class StoreStuck extends StoreFailure {}

export class ChunkIntake {
  readonly #options: ChunkIntakeOptions;
  /** Operations of the store that took longer than they may, and have not ended. */
  #hanging = 0;
  /** Points and registers by device, of tokens that are bound to one. */
  readonly #places = new Map<string, Set<string>>();

  constructor(options: ChunkIntakeOptions) {
    this.#options = options;
  }

  /** Answers a request with a token that permits `grant`. @throws {ClientGone}; what should never happen. */
  async receive(incoming: Incoming, grant: Grant): Promise<HttpAnswer<string>> {
    const { log, onAnswer } = this.#options;
    const { peer } = incoming;
    try {
      const received = await this.#receive(incoming, grant);
      const { outcome, place, sizeBytes, deviceId, key } = received;
      const fields = { outcome, place, bytes: sizeBytes, device_id: deviceId, key, peer };
      log.info("Received a chunk.", fields);
      onAnswer(200, received);
      return json(200, { status: "ok", chunk_id: key });
    } catch (error) {
      const [status, reason] = error instanceof FormFault
        ? [400, error.message]
        : error instanceof Refusal || error instanceof BodyFault
        ? [error.status, error.message]
        : error instanceof StoreFailure
        ? [error.isFull ? 507 : 503, "the store cannot keep the chunk now"]
        : [null, ""];
      if (status === null) {
        if (!(error instanceof ClientGone)) onAnswer(500, null);
        throw error;
      }
      onAnswer(status, null);
      if (error instanceof StoreFailure) {
        const failure = repeating("store", { error: error.message, status, peer });
        log.error("A chunk cannot be kept.", failure);
        const retry = { "retry-after": String(error.retryS ?? RETRY_S) };
        return json(status, { status: "error", error: reason }, retry);
      }
      log.warning(
        "Refused an upload: {reason}",
        repeating(`refused ${reason}`, { reason, status, peer }),
      );
      return json(status, { status: "error", error: reason });
    }
  }

  async #receive({ request, body, peer }: Incoming, grant: Grant): Promise<Received> {
    const { headers } = request;
    const boundary = boundaryOf(headers.get("content-type") ?? "");
    if (boundary === null) {
      throw new Refusal(415, "Content-Type must be multipart/form-data with a boundary");
    }
    const sha256 = announcedSha256(headers);
    const form = new FormInput((fields) =>
      this.#begin(ownerOf(grant, fields.get("device_id"), peer))
    );
    let isStuck = false;
    try {
      const reader = new MultipartReader(boundary);
      for await (const bytes of body) {
        for (const event of reader.push(bytes)) await this.#within(form.take(event));
      }
      reader.end();
      const chunk = readChunkForm(form.fields);
      const { file } = form;
      if (file === null) throw new FormFault("the field chunk_file is missing");
      if (form.sizeBytes === 0) throw new FormFault("chunk_file is empty");
      if (!form.isOgg) throw new Refusal(415, "chunk_file is not an Ogg file");
      const digest: Uint8Array<ArrayBuffer> = new Uint8Array(form.hash.digest());
      if (sha256 !== null && digest.toBase64() !== sha256) {
        throw new Refusal(400, "chunk_file is not what Repr-Digest or Digest announces");
      }
      if (grant.kind === "device" && grant.deviceId !== chunk.deviceId) {
        throw new Refusal(403, "the token is that of another device_id");
      }
      if (grant.kind === "device" && !this.#isPlace(chunk)) {
        const reason = `the token of one device_id delivers for at most ${MAX_PLACES} registers`;
        throw new Refusal(403, `${reason} until this server starts again`);
      }
      checkTags(form.head, chunk);
      const key = keyOf(headers.get("idempotency-key"), digest);
      const isProvisional = headers.get("x-clock-synchronized")?.toLowerCase() === "false";
      const facts = { ...chunk, key, isProvisional };
      const { outcome, place }: Kept = await this.#within(
        file.keep(facts, digest),
        STORE_MS + transferMs(form.sizeBytes),
      );
      if (outcome === "conflict") {
        throw new Refusal(422, "other bytes were accepted under this Idempotency-Key before");
      }
      return { ...facts, outcome, place, sizeBytes: form.sizeBytes };
    } catch (error) {
      isStuck = error instanceof StoreStuck;
      throw error;
    } finally {
      const discarded = form.discard();
      if (!isStuck) await discarded;
    }
  }

  /** Whether a device may deliver for this register, which is remembered. */
  #isPlace({ deviceId, pointId, registerId }: Omit<ChunkFacts, "key" | "isProvisional">): boolean {
    const places = this.#places.get(deviceId) ?? new Set();
    this.#places.set(deviceId, places);
    if (places.size < MAX_PLACES) places.add(`${pointId}/${registerId}`);
    return places.has(`${pointId}/${registerId}`);
  }

  async #begin(client: string): Promise<IncomingFile> {
    if (this.#hanging >= MAX_HANGING) throw new StoreFailure("its operations do not end");
    return await this.#options.store.begin(client);
  }

  /** @throws {StoreFailure} if the store takes too long. Its operation is counted until it ends. */
  async #within<T>(work: Promise<T>, limitMs = STORE_MS): Promise<T> {
    const ended = await within(
      limitMs,
      work.then((value) => ({ value })),
      this.#options.clock,
    );
    if (ended !== null) return ended.value;
    this.#hanging++;
    const count = () => this.#hanging--;
    work.then(count, count);
    throw new StoreStuck(`an operation took more than ${Math.round(limitMs / 1000)} s`);
  }
}

/** The form of one request: its text fields, and its file on the way into the store. */
class FormInput {
  readonly fields = new Map<string, string>();
  readonly hash = createHash("sha256");
  file: IncomingFile | null = null;
  sizeBytes = 0;
  readonly #begin: (fields: ReadonlyMap<string, string>) => Promise<IncomingFile>;
  #first: Uint8Array = new Uint8Array(0);
  #isOver = false;
  #part = { name: "", isFile: false };
  #text: number[] = [];

  /** @param begin called for the file, with the text fields before it. */
  constructor(begin: (fields: ReadonlyMap<string, string>) => Promise<IncomingFile>) {
    this.#begin = begin;
  }

  /** The first bytes of the file, as many as the header of a chunk may have. */
  get head(): Uint8Array {
    return this.#first.subarray(0, this.sizeBytes);
  }

  get isOgg(): boolean {
    return OGG.every((byte, index) => byte === this.head[index]);
  }

  async take(event: FormEvent): Promise<void> {
    switch (event.kind) {
      case "part": {
        const { name } = event;
        const isTwice = isChunkFile(event) ? this.file !== null : this.fields.has(name);
        if (isTwice) {
          throw new FormFault(`the field ${JSON.stringify(printable(name, 80))} comes twice`);
        }
        if (name === "chunk_file" && !event.isFile) {
          throw new FormFault("the field chunk_file must be a file: its part has no filename");
        }
        this.#part = event;
        this.#text = [];
        if (!isChunkFile(event)) return;
        this.#first = new Uint8Array(HEADER_READ_BYTES);
        this.file = await this.#begin(this.fields);
        if (this.#isOver) await this.file.discard(); // nobody waited any longer
        return;
      }
      case "data":
        if (isChunkFile(this.#part)) return await this.#takeFile(event.bytes);
        if (this.#text.length + event.bytes.length > MAX_FIELD_BYTES) {
          throw new FormFault(
            `the field ${JSON.stringify(printable(this.#part.name, 80))} is longer than ` +
              `${MAX_FIELD_BYTES} bytes`,
          );
        }
        this.#text.push(...event.bytes);
        return;
      case "end of part":
        if (isChunkFile(this.#part)) return;
        this.fields.set(this.#part.name, new TextDecoder().decode(new Uint8Array(this.#text)));
        return;
    }
  }

  /** Forgets the file unless it was kept. */
  async discard(): Promise<void> {
    this.#isOver = true;
    await this.file?.discard();
  }

  async #takeFile(bytes: Uint8Array): Promise<void> {
    const room = Math.max(0, HEADER_READ_BYTES - this.sizeBytes);
    if (room > 0) this.#first.set(bytes.subarray(0, room), this.sizeBytes);
    this.sizeBytes += bytes.length;
    this.hash.update(bytes);
    await this.file?.write(bytes);
  }
}

function isChunkFile({ name, isFile }: { name: string; isFile: boolean }): boolean {
  return name === "chunk_file" && isFile;
}

/**
 * The key of a chunk, a UUID: what was sent; made from it if it is not a UUID; made from the file if nothing
 * was sent, so that the same file is kept once.
 */
function keyOf(sent: string | undefined, digest: Uint8Array): string {
  const given = sent === undefined || sent === "" ? null : sent;
  const uuid = given === null ? null : uuidOf(given);
  if (uuid !== null) return uuid;
  const bytes = given === null ? digest : createHash("sha256").update(given).digest();
  const hex = new Uint8Array(bytes.subarray(0, 16)).toHex();
  // Version 8 of RFC 9562: made from something of one's own.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-` +
    hex.slice(20, 32);
}

/** A JSON answer. */
export function json(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): HttpAnswer<string> {
  return {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
    body: JSON.stringify(body) + "\n",
  };
}
