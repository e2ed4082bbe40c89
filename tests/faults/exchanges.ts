// The order in which the requests of one program are sent and their answers arrive. It is drawn, and does
// not depend on the speed of the network: a request is really sent, alone, when the schedule allows it, and
// its answer reaches the program when the schedule allows that. Any number of requests may be in flight
// from the program's point of view.

interface Step {
  readonly take: () => void;
  /** Resolves when the step has had its effect on the server. */
  readonly taken: Promise<unknown>;
}

export class Exchanges {
  readonly #random: () => number;
  /** Requests that were not sent yet, in the order of the calls. */
  readonly #toSend: Step[] = [];
  /** Answers that have not reached the program yet. */
  readonly #toLand: Step[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  get isEmpty(): boolean {
    return this.#toSend.length === 0 && this.#toLand.length === 0;
  }

  /**
   * Sends when it is this request's turn, and returns the answer when it is the answer's turn.
   * @throws the reason of the signal if it aborts before the request is sent; otherwise as `send`.
   */
  async exchange<T>(send: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { promise: sent, resolve: setSent } = Promise.withResolvers<void>();
    try {
      await this.#turn(this.#toSend, sent, signal);
      signal.throwIfAborted();
      return await send();
    } finally {
      const landed = this.#turn(this.#toLand, Promise.resolve(), signal);
      setSent();
      await landed;
    }
  }

  /** Work of the disk that takes so long that requests are sent and answered meanwhile. */
  pause(signal: AbortSignal): Promise<void> {
    return this.#turn(this.#toLand, Promise.resolve(), signal);
  }

  /** The next request is sent, or an answer lands. Does nothing if there is neither. */
  async step(): Promise<void> {
    if (this.isEmpty) return;
    const lands = Math.floor(
      this.#random() * (this.#toLand.length + Math.sign(this.#toSend.length)),
    );
    const list = lands < this.#toLand.length ? this.#toLand : this.#toSend;
    const [step] = list.splice(list === this.#toLand ? lands : 0, 1);
    step?.take();
    await step?.taken;
  }

  async #turn(list: Step[], taken: Promise<unknown>, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const step = { take: resolve, taken };
    list.push(step);
    const give = () => {
      const at = list.indexOf(step);
      if (at >= 0) list.splice(at, 1);
      resolve();
    };
    signal.addEventListener("abort", give, { once: true });
    await promise;
    signal.removeEventListener("abort", give);
  }
}
