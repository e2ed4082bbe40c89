// The seam to the network: names become addresses, addresses connections, and connections become secure.
// It has no limits of time for what a server does, and chooses neither an address nor a server.
//
// Names are looked up by getaddrinfo, as every program of the machine does: /etc/hosts, mDNS and
// systemd-resolved count. Deno's own way to a TLS connection over one that exists knows no client
// certificate, so these connections use node:tls, which is loaded only then.
//
// The server has a plain connection in each case, so that it ends when it is closed (relayed_conn.ts).

import { lookup } from "node:dns/promises";
import { deadline } from "./clock.ts";
import { LOOPBACK, loopbackPair, pairWith } from "./loopback.ts";
import { onAbort, openedInTime } from "./on_abort.ts";
import { HeldSockets, PlainConn } from "./plain_conn.ts";
import { RelayedConn } from "./relayed_conn.ts";
import { TransportFailure } from "./transport_failures.ts";
import { type ClientEnd, close, type TlsFiles, type Transport } from "./transport.ts";

/**
 * How many sockets of closed connections may wait for servers that read nothing, which Deno 2.7 keeps
 * (plain_conn.ts). They would take all descriptors of the process.
 */
const MAX_HELD = 16;
/** A connection of the program with itself is there at once, or a firewall drops it. */
const LOOPBACK_MS = 1000;

export interface Network {
  /** The addresses of a name, the best first (RFC 6724). */
  lookup(hostname: string): Promise<readonly string[]>;
  connect(address: string, port: number, signal: AbortSignal): Promise<Transport>;
  /** The same connection after the TLS handshake; closes it if that fails, or when the signal aborts before. */
  secure(
    transport: Transport,
    hostname: string,
    tls: TlsFiles,
    signal: AbortSignal,
  ): Promise<Transport>;
}

/** The network of the machine, for one client. */
export function systemNetwork(maxHeld = MAX_HELD): Network {
  const held = new HeldSockets();
  return {
    async lookup(hostname) {
      const found = await lookup(hostname, { all: true, order: "verbatim" });
      return found.map(({ address }) => address);
    },

    async connect(address, port, signal) {
      if (held.count >= maxHeld) {
        const what =
          `the server read nothing from ${held.count} connections, which are not free yet`;
        throw new TransportFailure("connection", what, "restart the server, or this program");
      }
      // Deno does not know of the signal: it loses a connection that is made at the moment of an abort, and
      // its descriptor with it.
      const connection = await openedInTime(Deno.connect({ hostname: address, port }), signal);
      connection.setNoDelay(true);
      return new PlainConn(connection, held);
    },

    async secure(transport, hostname, tls, signal) {
      if (!(transport instanceof PlainConn)) throw new TypeError("Cannot secure this connection");
      const { far, secured } = await startTls(transport, hostname, tls, signal);
      using _ = onAbort(signal, () => close(secured));
      try {
        await far.handshake();
        signal.throwIfAborted();
        return secured;
      } catch (error) {
        close(secured);
        throw error;
      }
    },
  };
}

/**
 * A TLS connection before its handshake, and its end of this program. Where the loopback interface is closed,
 * that is the connection with the server itself. @throws if there is none: then only `outer` is left.
 */
async function startTls(
  outer: PlainConn,
  hostname: string,
  tls: TlsFiles,
  signal: AbortSignal,
): Promise<{ far: ClientEnd; secured: Transport }> {
  using made = new DisposableStack();
  const relayed = (near: Deno.TcpConn, far: ClientEnd) => {
    const secured = new RelayedConn(outer, near, far);
    made.move(); // the connection is complete, and closes its parts
    return { far, secured };
  };
  if (tls.client !== null) {
    const { NodeEnd } = await import("./node_end.ts");
    const connect = (port: number) => NodeEnd.connect(port, hostname, tls);
    const [far, near] = await pairWith(listenInside(), connect, ({ port }) => port, signal);
    return relayed(made.adopt(near, close), made.adopt(far, close));
  }
  const options = { hostname, caCerts: [...tls.caCerts] };
  const pair = await ownPair();
  if (pair === null) {
    const far = await Deno.startTls(outer.release(), options);
    return { far, secured: far };
  }
  const [own, near] = pair;
  for (const conn of pair) made.adopt(conn, close);
  return relayed(near, made.adopt(await Deno.startTls(own, options), close));
}

/** Both ends of a TCP connection of the program with itself; null: the loopback interface is closed. */
async function ownPair(): Promise<[own: Deno.TcpConn, near: Deno.TcpConn] | null> {
  using limit = deadline(LOOPBACK_MS);
  try {
    return await loopbackPair(listenInside(), limit.signal);
  } catch {
    return null;
  }
}

function listenInside(): Deno.TcpListener {
  return Deno.listen({ hostname: LOOPBACK, port: 0 });
}
