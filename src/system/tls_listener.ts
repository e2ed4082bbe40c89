// A TLS server whose connections end when they are closed (relayed_conn.ts). It reads nothing.

import { type HeldSockets, PlainConn } from "./plain_conn.ts";
import { acceptFrom, LOOPBACK, RelayedConn } from "./relayed_conn.ts";

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
      const [near, far] = await this.#pair();
      return new SecuredConn(outer, near, far);
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
      return [near, await acceptFrom(inside, (near.localAddr as Deno.NetAddr).port)];
    } catch (error) {
      near.close();
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
