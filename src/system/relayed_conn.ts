// A TLS connection that ends when it is closed. Deno keeps the socket of a TLS connection that is closed in its
// handshake, or with bytes that its peer does not read, until the peer ends it (docs/explanation/findings.md,
// "Deno and V8"): a peer that does nothing would take all descriptors. So the peer has a plain connection, whose
// bytes go through a TLS connection of this process with itself:
//
//   peer ◄──TLS──► outer ◄──bytes──► near ◄──loopback──► far: what the owner reads and writes
//
// It reads and changes no byte, and has no limits of time but that of the last bytes.

import type { PlainConn } from "./plain_conn.ts";
import type { Transport } from "./transport.ts";
import { within } from "./within.ts";

/** What was written before a connection is closed has this long on its way. */
const LAST_MS = 50;
const RELAY_BYTES = 8192;

export class RelayedConn<Far extends Transport = Transport> implements Transport {
  readonly far: Far;
  readonly #outer: PlainConn;
  readonly #near: Deno.TcpConn;
  readonly #incoming: Promise<void>;
  readonly #outgoing: Promise<void>;
  #hasWritten = false;
  #gone: Promise<void> | null = null;

  constructor(outer: PlainConn, near: Deno.TcpConn, far: Far) {
    for (const conn of [outer, near]) conn.setNoDelay();
    [this.#outer, this.#near, this.far] = [outer, near, far];
    this.#incoming = relay(outer, near);
    this.#outgoing = relay(near, outer);
  }

  get remoteAddr(): Deno.Addr {
    return this.#outer.remoteAddr;
  }

  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return this.far.read(buffer);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#hasWritten = true;
    return this.far.write(bytes);
  }

  close(): Promise<void> {
    return this.#gone ??= this.#end();
  }

  async #end(): Promise<void> {
    this.far.close();
    // To a peer that was told nothing, nothing is on its way: during a flood, others wait for its place.
    if (this.#hasWritten) await within(LAST_MS, this.#outgoing);
    for (const conn of [this.#outer, this.#near]) conn.close();
    await Promise.all([this.#incoming, this.#outgoing]);
  }
}

type End = Transport & { closeWrite(): Promise<void> };

/** Passes on what comes, to its end. Never rejects: when one side has gone, so has the other. */
async function relay(from: End, to: End): Promise<void> {
  const buffer = new Uint8Array(RELAY_BYTES);
  try {
    for (let count; (count = await from.read(buffer)) !== null;) {
      for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
    }
  } catch {
    /* the end of the other side follows */
  }
  await to.closeWrite().catch(() => {});
}
