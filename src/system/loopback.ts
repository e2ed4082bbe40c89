// Connections of the program with itself over the loopback interface. It has no limits of time but its signal.

import { openedInTime } from "./on_abort.ts";
import { close, type Transport } from "./transport.ts";

export const LOOPBACK = "127.0.0.1";

/**
 * Both ends of a connection that `connect` makes to the port of `inside`, which is closed then.
 * @throws an error of the system; the reason of the signal: a connection may be lost.
 */
export async function pairWith<Own extends Transport, Accepted extends Deno.Conn>(
  inside: Deno.Listener<Accepted, Deno.NetAddr>,
  connect: (port: number) => Promise<Own>,
  portOf: (own: Own) => number,
  signal: AbortSignal,
): Promise<[own: Own, accepted: Accepted]> {
  using _ = inside;
  const own = await openedInTime(connect(inside.addr.port), signal);
  try {
    return [own, await openedInTime(acceptFrom(inside, portOf(own)), signal)];
  } catch (error) {
    close(own);
    throw error;
  }
}

/** As `pairWith`, of a TCP connection. What its own end writes in several parts is not held back. */
export async function loopbackPair<Accepted extends Deno.Conn>(
  inside: Deno.Listener<Accepted, Deno.NetAddr>,
  signal: AbortSignal,
): Promise<[own: Deno.TcpConn, accepted: Accepted]> {
  const connect = (port: number) => Deno.connect({ hostname: LOOPBACK, port });
  const portOf = ({ localAddr }: Deno.TcpConn) => (localAddr as Deno.NetAddr).port;
  const [own, accepted] = await pairWith(inside, connect, portOf, signal);
  own.setNoDelay();
  return [own, accepted];
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
