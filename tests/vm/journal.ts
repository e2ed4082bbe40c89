// Follows the log of the service in the journal of the guest; each entry has the time of the monotonic
// clock of the guest.

import type { Guest } from "./guest.ts";

export interface Entry {
  /** Seconds since the boot of the guest. */
  readonly atS: number;
  /** The system clock of the guest, Unix seconds. */
  readonly unixS: number;
  /** Only the message; the fields of a JSON line are in `fields`. */
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly line: string;
}

export class Journal implements AsyncDisposable {
  readonly entries: Entry[] = [];
  readonly #guest: Guest;
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<void>;
  readonly #watchers = new Set<() => void>();

  constructor(guest: Guest, unit: string, onEntry: (entry: Entry) => void = () => {}) {
    this.#guest = guest;
    this.#child = guest.start(`journalctl -b -f -n all -o json -u ${unit}`);
    this.#read = this.#follow(onEntry);
  }

  /**
   * The first entry since `sinceS` (seconds since boot) for which this is true.
   * @throws if none arrives within `limitS` seconds from now by the clock of the guest.
   */
  async next(
    what: string | ((entry: Entry) => boolean),
    options: { sinceS: number; limitS: number },
  ): Promise<Entry> {
    const found = await this.find(what, options);
    if (found !== null) return found;
    const { sinceS, limitS } = options;
    const said = this.entries.filter(({ atS }) => atS >= sinceS).map(({ line }) => line);
    throw new Error(`No entry ${what} within ${limitS} s since ${sinceS}:\n${said.join("\n")}`);
  }

  /** Like `next`, but null if none arrives. */
  async find(
    what: string | ((entry: Entry) => boolean),
    { sinceS, limitS }: { sinceS: number; limitS: number },
  ): Promise<Entry | null> {
    const fits = typeof what === "string" ? ({ message }: Entry) => message.startsWith(what) : what;
    const found = () => this.entries.find((entry) => entry.atS >= sinceS && fits(entry));
    let endS: number | null = null;
    while (found() === undefined) {
      const nowS = await this.#guest.uptimeS();
      endS ??= nowS + limitS;
      if (found() !== undefined) break;
      if (nowS >= endS) return null;
      await this.#more((endS - nowS) * 1000);
    }
    return found() ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#child.status;
    await this.#read;
  }

  #more(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#watchers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, limitMs);
      this.#watchers.add(done);
    });
  }

  async #follow(onEntry: (entry: Entry) => void): Promise<void> {
    let rest = "";
    try {
      for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          const entry = parseEntry(line);
          if (entry === null) continue;
          this.entries.push(entry);
          onEntry(entry);
        }
        for (const wake of [...this.#watchers]) wake();
      }
    } catch { /* the guest is off */ }
  }
}

function parseEntry(line: string): Entry | null {
  const record = parseObject(line);
  const { MESSAGE: said } = record;
  if (typeof said !== "string") return null;
  const fields = said.startsWith("{") ? parseObject(said) : {};
  return {
    atS: Number(record.__MONOTONIC_TIMESTAMP) / 1e6,
    unixS: Number(record.__REALTIME_TIMESTAMP) / 1e6,
    message: typeof fields.message === "string" ? fields.message : said,
    fields,
    line: said,
  };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
