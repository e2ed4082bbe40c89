// A TLS server whose connections end when they are closed. Deno keeps the socket of a TLS connection that is
// closed in its handshake, or with an answer that nobody reads, until the client ends it
// (docs/explanation/findings.md, "Deno and V8"): clients that say nothing would take all descriptors. So the
// client has a plain connection, whose bytes go through a TLS connection of this process with itself:
//
//   client ◄──TLS──► outer ◄──bytes──► near ◄──loopback──► far: what the owner reads and writes
//
// It reads and changes no byte, and has no limits of time but that of the last bytes.

import { within } from "./within.ts";

/** PEM. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
}

/** What the owner of a connection needs of it. */
export interface ServerConn {
  readonly remoteAddr: Deno.Addr;
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  /** Ends what is read or written now. What is returned resolves when its descriptors are free. */
  close(): void | Promise<void>;
}

export interface ServerListener {
  readonly port: number;
  /** @throws an error of the system; Deno.errors.BadResource after close(). */
  accept(): Promise<ServerConn>;
  close(): void;
}

/** What was written before a connection is closed has this long on its way. */
const LAST_MS = 50;
const RELAY_BYTES = 8192;
const LOOPBACK = "127.0.0.1";

/** @throws if the certificate and the key do not fit. */
export function tryTls(tls: ServerTls): void {
  listenInside(tls).close();
}

/** A listener whose connections are secured with what `tls` returns when they come. */
export class TlsListener implements ServerListener {
  readonly #outer: Deno.TcpListener;
  readonly #tls: () => ServerTls;

  /** @throws if the address cannot be used. */
  constructor(address: { hostname: string; port: number }, tls: () => ServerTls) {
    this.#outer = Deno.listen(address);
    this.#tls = tls;
  }

  get port(): number {
    return this.#outer.addr.port;
  }

  close(): void {
    this.#outer.close();
  }

  async accept(): Promise<ServerConn> {
    const outer = await this.#outer.accept();
    try {
      return new RelayedConn(outer, ...await this.#pair());
    } catch (error) {
      outer.close();
      throw error;
    }
  }

  /** Both ends of a TLS connection with itself, before its handshake. */
  async #pair(): Promise<[near: Deno.TcpConn, far: Deno.TlsConn]> {
    using inside = listenInside(this.#tls());
    const near = await Deno.connect({ hostname: LOOPBACK, port: inside.addr.port });
    try {
      const mine = (near.localAddr as Deno.NetAddr).port;
      for (;;) {
        const far = await inside.accept();
        if ((far.remoteAddr as Deno.NetAddr).port === mine) return [near, far];
        far.close(); // of another program
      }
    } catch (error) {
      near.close();
      throw error;
    }
  }
}

function listenInside(tls: ServerTls): Deno.TlsListener {
  return Deno.listenTls({ hostname: LOOPBACK, port: 0, ...tls, alpnProtocols: ["http/1.1"] });
}

class RelayedConn implements ServerConn {
  readonly #outer: Deno.TcpConn;
  readonly #near: Deno.TcpConn;
  readonly #far: Deno.TlsConn;
  readonly #incoming: Promise<void>;
  readonly #outgoing: Promise<void>;
  #hasWritten = false;

  constructor(outer: Deno.TcpConn, near: Deno.TcpConn, far: Deno.TlsConn) {
    for (const conn of [outer, near]) conn.setNoDelay();
    [this.#outer, this.#near, this.#far] = [outer, near, far];
    this.#incoming = relay(outer, near);
    this.#outgoing = relay(near, outer);
  }

  get remoteAddr(): Deno.Addr {
    return this.#outer.remoteAddr;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#far.read(buffer);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#hasWritten = true;
    return this.#far.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#far.closeWrite();
  }

  async close(): Promise<void> {
    this.#far.close();
    // Of a client that was told nothing, nothing is on its way: during a flood, others wait for its place.
    if (this.#hasWritten) await within(LAST_MS, this.#outgoing);
    for (const conn of [this.#outer, this.#near]) conn.close();
    await Promise.all([this.#incoming, this.#outgoing]);
  }
}

/** Passes on what comes, to its end. Never rejects: when one side has gone, so has the other. */
async function relay(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
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
