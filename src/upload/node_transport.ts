// Connections with a client certificate, made of node:net and node:tls. Loading the module costs memory, so
// only a configuration with a client certificate does. It has no limits of time.

import { connect as connectTcp, Socket } from "node:net";
import { connect as connectTls, rootCertificates, type TLSSocket } from "node:tls";
import type { TlsFiles } from "../config/tls_files.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { onAbort } from "../system/on_abort.ts";
import type { TlsTarget, Transport } from "./transport.ts";

/**
 * Connects to an address. Without a proxy TLS begins in the same turn of the event loop: Deno 2.7 hangs if it
 * begins later.
 * @throws the reason of the signal, or an error of the network.
 */
export async function connectNode(
  address: string,
  port: number,
  { hostname, tls, isDirect }: TlsTarget,
  signal: AbortSignal,
): Promise<Transport> {
  const socket = connectTcp({ host: address, port });
  using _ = onAbort(signal, () => socket.destroy());
  let connected: NodeTransport | null = null;
  socket.once("connect", () => {
    socket.setNoDelay(true);
    connected = new NodeTransport(socket, isDirect ? startTls(socket, hostname, tls) : null);
  });
  try {
    await ready(socket, "connect");
    signal.throwIfAborted();
    return connected ?? new NodeTransport(socket, null);
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw error;
  }
}

/** @param transport one of `connectNode`. */
export async function secureNode(
  transport: Transport,
  hostname: string,
  tls: TlsFiles,
): Promise<Transport> {
  if (!(transport instanceof NodeTransport)) throw new TypeError("Cannot secure this connection");
  const { socket, shaken } = transport.handshake ?? startTls(transport.release(), hostname, tls);
  const secured = new NodeTransport(socket, null);
  try {
    await shaken;
    if (!socket.authorized) throw socket.authorizationError ?? new Error("TLS: not authorized");
    return secured;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

interface Handshake {
  readonly socket: TLSSocket;
  /** Resolves when it is done. */
  readonly shaken: Promise<void>;
}

function startTls(socket: Socket, hostname: string, tls: TlsFiles): Handshake {
  const { caCerts, isCaOnly, client } = tls;
  // `ca` replaces the public authorities.
  const ca = caCerts.length === 0 ? {} : {
    ca: isCaOnly ? caCerts : [...rootCertificates, ...caCerts],
  };
  const isAddress = /^[\d.]+$|:/.test(hostname);
  const secured = connectTls({
    ...{ socket, ...client, ...ca },
    // Deno 2.7 hangs if both are given.
    ...(isAddress ? { host: hostname } : { servername: hostname }),
  });
  const shaken = ready(secured, "secureConnect");
  shaken.catch(() => {}); // awaited by `secureNode`, unless another address is faster
  return { socket: secured, shaken };
}

/** Resolves at the event. @throws the socket's error, or that it ended. */
async function ready(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = () => reject(new Error("connection closed"));
  socket.once(event, resolve).once("error", reject).once("close", onClose);
  try {
    await promise;
  } finally {
    socket.off(event, resolve).off("error", reject).off("close", onClose);
  }
}

class NodeTransport implements Transport {
  readonly #socket: Socket;
  /** What has arrived; the socket is paused while there is something. */
  #arrived: Uint8Array | null = null;
  #failure: Error | null = null;
  #isOver = false;
  #wake = () => {};
  readonly #onData = (bytes: Uint8Array) => {
    this.#arrived = this.#arrived === null ? bytes : concatBytes([this.#arrived, bytes]);
    this.#socket.pause();
    this.#wake();
  };
  readonly #onError = (error: Error) => {
    this.#failure = error;
    this.#wake();
  };
  readonly #onEnd = () => {
    this.#isOver = true;
    this.#wake();
  };

  /** @param handshake the TLS connection over the socket, if it has begun */
  constructor(socket: Socket, readonly handshake: Handshake | null) {
    this.#socket = socket;
    socket.on("error", this.#onError).on("end", this.#onEnd).on("close", this.#onEnd);
  }

  /** The bare socket, for its next owner. */
  release(): Socket {
    this.#socket.off("end", this.#onEnd).off("close", this.#onEnd).off("error", this.#onError);
    this.#socket.off("data", this.#onData);
    return this.#socket;
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    // Late: a TLS socket takes over only a socket of which nobody has read.
    if (this.#socket.listenerCount("data") === 0) this.#socket.on("data", this.#onData);
    while (true) {
      if (this.#arrived !== null) {
        const part = this.#arrived.subarray(0, buffer.length);
        buffer.set(part);
        this.#arrived = part.length < this.#arrived.length
          ? this.#arrived.subarray(part.length)
          : null;
        return part.length;
      }
      if (this.#isOver) await new Promise((resolve) => setTimeout(resolve)); // an error may follow
      if (this.#failure !== null) throw this.#failure;
      if (this.#isOver) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#socket.resume();
      });
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    if (this.#failure !== null) throw this.#failure;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#socket.write(bytes, (error) => error ? reject(error) : resolve());
    await promise;
    return bytes.length;
  }

  close(): void {
    this.handshake?.socket.destroy();
    this.#socket.destroy();
  }
}
