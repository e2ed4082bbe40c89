// Connections with a client certificate, made of node:net and node:tls. Loading the module costs memory, so
// only a configuration with a client certificate does. It has no limits of time.

import { connect as connectTcp, Socket } from "node:net";
import { connect as connectTls, rootCertificates } from "node:tls";
import type { TlsFiles } from "../config/tls_files.ts";
import type { Transport } from "./transport.ts";

/** @throws the reason of the signal, or an error of the network. */
export async function connectNode(
  address: string,
  port: number,
  signal: AbortSignal,
): Promise<Transport> {
  const socket = connectTcp({ host: address, port, noDelay: true });
  const stop = () => socket.destroy();
  signal.addEventListener("abort", stop);
  try {
    await ready(socket, "connect");
    signal.throwIfAborted();
    return new NodeTransport(socket);
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** @param transport one of `connectNode`. */
export async function secureNode(
  transport: Transport,
  hostname: string,
  { caCerts, isCaOnly, client }: TlsFiles,
): Promise<Transport> {
  if (!(transport instanceof NodeTransport)) throw new TypeError("Cannot secure this connection");
  const isAddress = /^[\d.]+$|:/.test(hostname);
  // `ca` replaces the public authorities.
  const ca = caCerts.length === 0 ? {} : {
    ca: isCaOnly ? caCerts : [...rootCertificates, ...caCerts],
  };
  const socket = connectTls({
    ...{ socket: transport.release(), ...client, ...ca },
    ...(isAddress ? { host: hostname } : { host: hostname, servername: hostname }),
  });
  try {
    await ready(socket, "secureConnect");
    if (!socket.authorized) throw socket.authorizationError ?? new Error("TLS: not authorized");
    return new NodeTransport(socket);
  } catch (error) {
    socket.destroy();
    throw error;
  }
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
  #failure: Error | null = null;
  #isOver = false;
  #wake = () => {};
  readonly #onReadable = () => this.#wake();
  readonly #onError = (error: Error) => {
    this.#failure = error;
    this.#wake();
  };
  readonly #onEnd = () => {
    this.#isOver = true;
    this.#wake();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", this.#onError).on("end", this.#onEnd).on("close", this.#onEnd);
  }

  /** The bare socket, for its next owner. */
  release(): Socket {
    this.#socket.off("end", this.#onEnd).off("close", this.#onEnd).off("error", this.#onError);
    return this.#socket;
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    while (true) {
      const bytes: Uint8Array | null = this.#socket.read();
      if (bytes !== null) {
        const part = bytes.subarray(0, buffer.length);
        buffer.set(part);
        if (part.length < bytes.length) this.#socket.unshift(bytes.subarray(part.length));
        return part.length;
      }
      if (this.#failure !== null) throw this.#failure;
      if (this.#isOver) {
        await new Promise((resolve) => setTimeout(resolve)); // an error may follow the end
        if (this.#failure !== null) throw this.#failure;
        return null;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#socket.once("readable", this.#onReadable);
      });
      this.#socket.off("readable", this.#onReadable);
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
    this.#socket.destroy();
  }
}
