// The end of a TLS connection with a client certificate, made of node:net and node:tls. Loading the module costs
// memory, so only a configuration with a client certificate does. It has no limits of time.

import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, rootCertificates, type TLSSocket } from "node:tls";
import { concatBytes } from "./concat_bytes.ts";
import { LOOPBACK } from "./loopback.ts";
import type { ClientEnd, TlsFiles } from "./transport.ts";

export class NodeEnd implements ClientEnd {
  readonly #socket: TLSSocket;
  readonly #shaken: Promise<void>;
  /** What has arrived; the socket is paused while there is something. */
  #arrived: Uint8Array | null = null;
  #failure: Error | null = null;
  #isOver = false;
  #hasShaken = false;
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

  /** @param port of this end of the connection */
  private constructor(socket: TLSSocket, readonly port: number) {
    this.#socket = socket;
    this.#shaken = shaken(socket);
    // Awaited by handshake(), if nobody closes it before.
    this.#shaken.then(() => this.#hasShaken = true, () => {});
    socket.on("error", this.#onError).on("end", this.#onEnd).on("close", this.#onEnd);
  }

  /**
   * Connects to a port of this machine. TLS begins in the same turn of the event loop: Deno 2.7 hangs if it
   * begins later.
   * @throws an error of the network.
   */
  static async connect(port: number, hostname: string, tls: TlsFiles): Promise<NodeEnd> {
    const socket = connectTcp({ host: LOOPBACK, port });
    const { promise, resolve, reject } = Promise.withResolvers<NodeEnd>();
    socket.on("error", reject).once("close", () => reject(new Error("connection closed")));
    socket.once("connect", () => {
      socket.setNoDelay(true);
      try {
        resolve(new NodeEnd(startTls(socket, hostname, tls), socket.localPort ?? 0));
      } catch (error) {
        socket.destroy();
        reject(error);
      }
    });
    return await promise;
  }

  /** @throws the socket's error, or what is wrong with the certificate. */
  async handshake(): Promise<void> {
    await this.#shaken;
    const { authorized, authorizationError } = this.#socket;
    if (!authorized) throw authorizationError ?? new Error("TLS: not authorized");
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    // Late: with a listener, a socket reads.
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
    // In its handshake it ends with its other end: Deno 2.7 keeps a socket that is destroyed before that.
    if (this.#hasShaken) this.#socket.destroy();
  }
}

function startTls(socket: Socket, hostname: string, tls: TlsFiles): TLSSocket {
  const { caCerts, isCaOnly, client } = tls;
  // `ca` replaces the public authorities.
  const ca = caCerts.length === 0 ? {} : {
    ca: isCaOnly ? [...caCerts] : [...rootCertificates, ...caCerts],
  };
  const isAddress = /^[\d.]+$|:/.test(hostname);
  return connectTls({
    ...{ socket, ...client, ...ca },
    // Deno 2.7 hangs if both are given.
    ...(isAddress ? { host: hostname } : { servername: hostname }),
  });
}

/** Resolves after the handshake. @throws the socket's error, or that it ended. */
async function shaken(socket: TLSSocket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("secureConnect", resolve).once("error", reject);
  socket.once("close", () => reject(new Error("connection closed")));
  return await promise;
}
