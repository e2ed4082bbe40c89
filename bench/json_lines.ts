// JSON from another process, an object a line. It does not know what they mean.

export class JsonLines {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** @throws if the stream ends instead. */
  async next(): Promise<unknown> {
    while (!this.#rest.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error(`The process ended after ${JSON.stringify(this.#rest)}`);
      this.#rest += value;
    }
    const end = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, end);
    this.#rest = this.#rest.slice(end + 1);
    return JSON.parse(line);
  }

  /** Resolves when nothing more will come. */
  async ended(): Promise<void> {
    while (!(await this.#reader.read()).done);
  }
}
