// A TLS connection that ends when it is closed. Deno keeps the socket of a TLS connection that is closed in its
// handshake, or with bytes that its peer does not read, until the peer ends it (docs/explanation/findings.md,
// "Deno and V8"): a peer that does nothing would take all descriptors. So the peer has a plain connection, whose
// bytes go through a TLS connection of this process with itself:
//
//   peer ◄──TLS──► outer ◄──bytes──► near ◄──loopback──► far: what the owner reads and writes
//
// It reads and changes no byte, and has no limits of time but that of the last bytes.

import type { PlainConn } from "./plain_conn.ts";
import { within } from "./within.ts";

export const LOOPBACK = "127.0.0.1";
/** What was written before a connection is closed has this long on its way. */
const LAST_MS = 50;
const RELAY_BYTES = 8192;

/** The end of the owner, secured. */
export interface FarEnd {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** The connection to `inside` that this process made from this port: other programs may connect, too. */
export async function acceptFrom<C extends Deno.Conn>(
  inside: { accept(): Promise<C> },
  port: number,
): Promise<C> {
  for (;;) {
    try {
      const conn = await inside.accept();
      const from = conn.remoteAddr as Deno.NetAddr;
      if (from.hostname === LOOPBACK && from.port === port) return conn;
      conn.close();
    } catch (error) {
      if (!hasLeft(error)) throw error;
    }
  }
}

/** Whether accept() failed because a client had left by then, as load balancers do that look for a server. */
export function hasLeft(error: unknown): boolean {
  const { NotConnected, ConnectionAborted, ConnectionReset, BrokenPipe } = Deno.errors;
  return [NotConnected, ConnectionAborted, ConnectionReset, BrokenPipe]
    .some((kind) => error instanceof kind);
}

export class RelayedConn<Far extends FarEnd = FarEnd> {
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

  read(buffer: Uint8Array): Promise<number | null> {
    return this.far.read(buffer);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#hasWritten = true;
    return this.far.write(bytes);
  }

  /** Ends what is read or written now. What is returned resolves when its descriptors are free. */
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

interface End {
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
}

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
