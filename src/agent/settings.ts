// The settings in force: the configuration of the start, replaced while the service runs. It says which
// keys differ, and runs the parts that use them anew; keys.ts says when a key applies. It reads no file, and
// does not know the parts.

import type { Config } from "../config/config.ts";
import { fieldOf, type GROUPS, valueOf } from "../config/key.ts";
import { KEY_TABLE } from "../config/keys.ts";
import { encodeValue } from "../config/value_text.ts";
import { Wakeup } from "../system/wakeup.ts";
import { aborted, openUntil } from "../system/window.ts";

type Group = keyof typeof GROUPS;

/** What became of a changed configuration; names of keys. */
export interface Applied {
  readonly changed: readonly string[];
  /** Of these, those that wait for a restart; the service continues with their old values. */
  readonly atRestart: readonly string[];
}

/**
 * A key that waits for a restart keeps these with it: a CA that nobody but it may vouch for must not be
 * removed before the public ones are trusted again.
 */
const HELD_WITH: Readonly<Record<string, readonly string[]>> = { tls_ca_only: ["tls_ca_file"] };

export class Settings {
  #config: Config;
  readonly #replaced = new Wakeup();

  constructor(config: Config) {
    this.#config = config;
  }

  /** A snapshot; another one after each change. */
  get config(): Config {
    return this.#config;
  }

  /** What `of` makes of the settings, as an object whose fields are always those of now. */
  live<Part extends object>(of: (config: Config) => Part): Part {
    return new Proxy(of(this.#config), { get: (_, field) => Reflect.get(of(this.#config), field) });
  }

  /** Puts another configuration in force, except for what only a restart can change. */
  replace(next: Config): Applied {
    const changed = changedKeys(this.#config, next);
    const waiting = changed.filter((name) => KEY_TABLE[name]?.applies === "restart");
    const held = [...waiting, ...waiting.flatMap((name) => HELD_WITH[name] ?? [])]
      .filter((name) => changed.includes(name));
    const kept = held.map((name) => [fieldOf(name), valueOf(this.#config, name)]);
    this.#config = { ...next, ...Object.fromEntries(kept) };
    this.#replaced.ring();
    return { changed, atRestart: changed.filter((name) => held.includes(name)) };
  }

  /**
   * Runs `part` until the signal aborts: with the settings, and, each time a key of these groups has changed,
   * once more. Its signal asks it to end, and it should resolve soon after. @throws the errors of `part`.
   */
  async runWith(
    groups: readonly Group[],
    part: (config: Config, signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    while (!signal.aborted) {
      const { config } = this;
      await using current = openUntil(signal, (signal) => this.#differs(config, groups, signal));
      await part(config, current.signal);
      if (!current.signal.aborted) await aborted(current.signal); // it has nothing to do
    }
  }

  /** Resolves when a key of these groups differs from `config`, or on abort. */
  async #differs(config: Config, groups: readonly Group[], signal: AbortSignal): Promise<void> {
    const isNews = () =>
      changedKeys(config, this.#config).some((name) =>
        groups.some((group) => KEY_TABLE[name]?.group === group)
      );
    while (!signal.aborted && !isNews()) await this.#replaced.rung(signal);
  }
}

/** The keys whose values differ, in the order of the table. */
export function changedKeys(before: Config, after: Config): string[] {
  const valueIn = (config: Config, name: string) => encodeValue(valueOf(config, name));
  return Object.keys(KEY_TABLE).filter((name) => valueIn(before, name) !== valueIn(after, name));
}
