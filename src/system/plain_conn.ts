// A TCP connection that ends for its owner when it is closed, even while something is written. Deno 2.7 lets
// such a write wait until the peer reads or ends, and keeps the socket until then: its owner need not wait, and
// can know how many sockets are held. It has no limits of time.

/** How many sockets are kept though their connections are closed; 0 on Deno 2.9. */
export class HeldSockets {
  count = 0;
}

export class PlainConn {
  readonly #conn: Deno.TcpConn;
  readonly #held: HeldSockets;
  /** What is written now: each call ends the wait for it. */
  readonly #writing = new Set<(error: Error) => void>();
  #isClosed = false;

  constructor(conn: Deno.TcpConn, held: HeldSockets) {
    [this.#conn, this.#held] = [conn, held];
  }

  get remoteAddr(): Deno.Addr {
    return this.#conn.remoteAddr;
  }

  setNoDelay(): void {
    this.#conn.setNoDelay();
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#conn.read(buffer);
  }

  /** @throws {Deno.errors.BadResource} when it is closed; other errors of the network. */
  write(bytes: Uint8Array): Promise<number> {
    if (this.#isClosed) return Promise.reject(closed());
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const ended = () => {
      this.#writing.delete(reject);
      if (this.#isClosed) this.#held.count--;
    };
    this.#writing.add(reject);
    this.#conn.write(bytes).finally(ended).then(resolve, reject);
    return promise;
  }

  /** The connection itself, for its next owner. */
  release(): Deno.TcpConn {
    return this.#conn;
  }

  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#held.count += this.#writing.size;
    this.#conn.close();
    for (const end of this.#writing) end(closed());
  }
}

function closed(): Error {
  return new Deno.errors.BadResource("the connection is closed");
}
