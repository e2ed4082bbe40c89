// A TLS server whose connections end when they are closed (relayed_conn.ts). It reads nothing.

import { deadline } from "./clock.ts";
import { LOOPBACK, loopbackPair } from "./loopback.ts";
import { type HeldSockets, PlainConn } from "./plain_conn.ts";
import { RelayedConn } from "./relayed_conn.ts";
import type { Transport } from "./transport.ts";

/** A connection of the program with itself is there at once; one that is lost must not stop all others. */
const PAIR_MS = 5_000;

/** PEM. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
}

/** What the owner of a connection needs of it. */
export interface ServerConn extends Transport {
  readonly remoteAddr: Deno.Addr;
  closeWrite(): Promise<void>;
}

export interface ServerListener {
  readonly port: number;
  /** @throws an error of the system; Deno.errors.BadResource after close(). */
  accept(): Promise<ServerConn>;
  close(): void;
}

/** @throws if the certificate and the key do not fit. */
export function tryTls(tls: ServerTls): void {
  listenInside(tls).close();
}

/** A listener whose connections are secured with what `tls` returns when they come. */
export class TlsListener implements ServerListener {
  readonly #outer: Deno.TcpListener;
  readonly #tls: () => ServerTls;
  readonly #held: HeldSockets;

  /** @throws if the address cannot be used. */
  constructor(
    address: { hostname: string; port: number },
    tls: () => ServerTls,
    held: HeldSockets,
  ) {
    this.#outer = Deno.listen(address);
    [this.#tls, this.#held] = [tls, held];
  }

  get port(): number {
    return this.#outer.addr.port;
  }

  close(): void {
    this.#outer.close();
  }

  async accept(): Promise<ServerConn> {
    const outer = new PlainConn(await this.#outer.accept(), this.#held);
    try {
      using limit = deadline(PAIR_MS);
      const [near, far] = await loopbackPair(listenInside(this.#tls()), limit.signal);
      return new SecuredConn(outer, near, far);
    } catch (error) {
      outer.close();
      throw error;
    }
  }
}

class SecuredConn extends RelayedConn<Deno.TlsConn> implements ServerConn {
  closeWrite(): Promise<void> {
    return this.far.closeWrite();
  }
}

function listenInside(tls: ServerTls): Deno.TlsListener {
  return Deno.listenTls({ hostname: LOOPBACK, port: 0, ...tls, alpnProtocols: ["http/1.1"] });
}
