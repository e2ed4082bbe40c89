// A file whose contents are in use while it may change: it is read again when it has changed, and what
// cannot be used changes nothing. What is in the file, the caller decides.

import { readNamedTextSync } from "../system/disk.ts";
import { fileFailure } from "../config/file_failure.ts";
import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { FileWatch } from "./file_watch.ts";

/** How long a change of the file may go unnoticed. */
const LOOK_MS = 1000;

export interface WatchedFileOptions<T> {
  readonly path: string;
  /** What the file holds, for messages: "the tokens". */
  readonly what: string;
  /** @throws Error that says what is wrong, and never what is in the file. */
  readonly parse: (text: string) => T;
  readonly clock: Clock;
  readonly onRead: (value: T) => void;
  readonly onFailure: (error: string) => void;
}

export class WatchedFile<T> {
  readonly #options: WatchedFileOptions<T>;
  #value: T;
  readonly #watch: FileWatch;
  #lookedMs: number;

  /** @throws Error that names the file. */
  constructor(options: WatchedFileOptions<T>) {
    this.#options = options;
    this.#watch = new FileWatch(options.path);
    this.#value = this.#read();
    this.#lookedMs = options.clock.monotonicMs();
  }

  /** What the file holds, or held when it could last be used. */
  get value(): T {
    const { clock, onRead, onFailure } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lookedMs < LOOK_MS) return this.#value;
    this.#lookedMs = nowMs;
    if (!this.#watch.hasChanged()) return this.#value;
    try {
      this.#value = this.#read();
      onRead(this.#value);
    } catch (error) {
      onFailure(messageOf(error)); // a file that is being edited must not lock anybody out
    }
    return this.#value;
  }

  #read(): T {
    const { path, what, parse } = this.#options;
    let text: string;
    try {
      text = readNamedTextSync(path);
    } catch (error) {
      throw new Error(`Cannot read ${what}: ${path} ${fileFailure(error)}`);
    }
    try {
      return parse(text);
    } catch (error) {
      throw new Error(`Cannot use ${what} of ${path}: ${messageOf(error)}`);
    }
  }
}
