// Who may deliver: the tokens of a file, which is read again when it changes. A line is a token, and after
// a space, what it is for: the id of the one device that may use it, or `page` for the pages alone. No token
// is ever logged or shown; two are compared in a time that does not depend on their characters.

import { readNamedTextSync } from "../system/disk.ts";
import { createHash } from "node:crypto";
import { fileFailure } from "../config/file_failure.ts";
import { refuseToken } from "../config/config_values.ts";
import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { uuidOf } from "./chunk_form.ts";

/** How long a change of the file may go unnoticed. */
const LOOK_MS = 1000;

/** What a token permits: deliveries of one device, of all devices and the pages, or the pages. */
export type Grant =
  | { readonly kind: "device"; readonly deviceId: string }
  | { readonly kind: "all" }
  | { readonly kind: "page" };

interface Entry {
  /** SHA-256 of the token. */
  readonly hash: Uint8Array;
  readonly grant: Grant;
}

/** Who presents a token. */
export interface Tokens {
  /** What this token permits; null if it is not known. */
  grantOf(token: string): Grant | null;
}

/** @throws Error that names the lines that are wrong, and never what is in them. */
export function parseTokens(text: string): Entry[] {
  const entries: Entry[] = [];
  const wrong: string[] = [];
  text.split("\n").forEach((line, index) => {
    const [token = "", use, ...more] = line.trim().split(/\s+/);
    if (token === "" || token.startsWith("#")) return;
    const deviceId = use === undefined ? null : uuidOf(use);
    const grant: Grant | null = use === undefined
      ? { kind: "all" }
      : use === "page"
      ? { kind: "page" }
      : deviceId === null
      ? null
      : { kind: "device", deviceId };
    if (refuseToken(token) !== null) wrong.push(`line ${index + 1} begins with no usable token`);
    else if (grant === null || more.length > 0) {
      wrong.push(`line ${index + 1} is not TOKEN, TOKEN DEVICE_ID or TOKEN page`);
    } else entries.push({ hash: sha256(token), grant });
  });
  if (wrong.length > 0) throw new Error(wrong.join("; "));
  if (entries.length === 0) throw new Error("it holds no token");
  return entries;
}

/** What a token permits; null if it is not one of these. */
export function findGrant(entries: readonly Entry[], token: string): Grant | null {
  const hash = sha256(token);
  let found: Grant | null = null;
  for (const entry of entries) {
    let difference = 0;
    for (let at = 0; at < hash.length; at++) difference |= (hash[at] ?? 0) ^ (entry.hash[at] ?? 0);
    if (difference === 0) found ??= entry.grant;
  }
  return found;
}

/** The tokens of a file. */
export class TokenFile implements Tokens {
  readonly #path: string;
  readonly #seams: { readonly clock: Clock; readonly log: Logger };
  #entries: readonly Entry[];
  #state: string;
  #lookedMs: number;

  /** @throws Error that names the file. */
  constructor(path: string, seams: { readonly clock: Clock; readonly log: Logger }) {
    this.#path = path;
    this.#seams = seams;
    this.#state = stateOf(path);
    this.#entries = this.#read();
    this.#lookedMs = seams.clock.monotonicMs();
  }

  grantOf(token: string): Grant | null {
    const { clock, log } = this.#seams;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lookedMs >= LOOK_MS) {
      this.#lookedMs = nowMs;
      const state = stateOf(this.#path);
      if (state !== this.#state) {
        this.#state = state;
        try {
          this.#entries = this.#read();
          log.info("The tokens were read again: {count}.", { count: this.#entries.length });
        } catch (error) {
          // A file that is being edited must not lock every till out.
          const fields = repeating("tokens", { error: messageOf(error) });
          log.error("The tokens cannot be read: those from before stay valid.", fields);
        }
      }
    }
    return findGrant(this.#entries, token);
  }

  #read(): Entry[] {
    let text: string;
    try {
      text = readNamedTextSync(this.#path);
    } catch (error) {
      throw new Error(`Cannot read the tokens: ${this.#path} ${fileFailure(error)}`);
    }
    try {
      return parseTokens(text);
    } catch (error) {
      throw new Error(`Cannot use the tokens of ${this.#path}: ${messageOf(error)}`);
    }
  }
}

/** One token for everything. */
export function oneToken(token: string): Tokens {
  const entries: Entry[] = [{ hash: sha256(token), grant: { kind: "all" } }];
  return { grantOf: (presented) => findGrant(entries, presented) };
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/** What changes when the file does. */
function stateOf(path: string): string {
  try {
    const { mtime, size, ino } = Deno.statSync(path);
    return `${mtime?.getTime()} ${size} ${ino}`;
  } catch (error) {
    return String(error);
  }
}
