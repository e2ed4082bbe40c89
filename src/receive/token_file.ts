// Who may deliver: the tokens of a file, which is read again when it changes. A line is a token, and after
// a space, what it is for: the id of the one device that may use it, or `page` for the pages alone. No token
// is ever logged or shown; two are compared in a time that does not depend on their characters.

import { createHash } from "node:crypto";
import { refuseToken } from "../config/config_values.ts";
import type { Clock } from "../system/clock.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { uuidOf } from "./chunk_form.ts";
import { WatchedFile } from "./watched_file.ts";

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
  readonly #file: WatchedFile<readonly Entry[]>;

  /** @throws Error that names the file. */
  constructor(path: string, { clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#file = new WatchedFile<readonly Entry[]>({
      ...{ path, clock, what: "the tokens", parse: parseTokens },
      onRead: ({ length }) => log.info("The tokens were read again: {count}.", { count: length }),
      onFailure: (error) => {
        const fields = repeating("tokens", { error });
        log.error("The tokens cannot be read: those from before stay valid.", fields);
      },
    });
  }

  grantOf(token: string): Grant | null {
    return findGrant(this.#file.value, token);
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
