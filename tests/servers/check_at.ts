// Runs the checks of the way to the API against a server, and judges what they found.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { checkServer } from "../../src/commands/check_server.ts";
import type { Finding } from "../../src/commands/finding.ts";
import { loadConfig } from "../../src/config/config.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { TOKEN } from "./till.ts";

const LIMIT_MS = 16_000;

export interface CheckAtOptions {
  /** More keys. */
  readonly config?: Readonly<Record<string, string>>;
  /** Variables that name a proxy. */
  readonly env?: Readonly<Record<string, string>>;
  readonly sendTestChunk?: boolean;
}

/** What `check` finds about a server; asserts that it takes no longer than it may. */
export async function checkAt(url: string, options: CheckAtOptions = {}): Promise<Finding[]> {
  const keys = { ...IDS, ingest_base_url: url, ingest_token: TOKEN, ...options.config };
  const env = Object.fromEntries(
    Object.entries(keys).map(([name, value]) => [`RA_${name.toUpperCase()}`, value]),
  );
  const config = loadConfig({ path: null, env });
  const begunMs = performance.now();
  const found = await checkServer(config, options.sendTestChunk ?? false, options.env ?? {});
  const tookMs = performance.now() - begunMs;
  if (options.sendTestChunk !== true) assert(tookMs < LIMIT_MS, `it took ${tookMs} ms`);
  assert(!JSON.stringify(found).includes(TOKEN), "the token is shown");
  return found;
}

/** `tls ok, api failed: … → …` */
export function sayFindings(found: readonly Finding[]): string {
  return found.filter(({ verdict }) => verdict !== "skipped")
    .map(({ name, verdict, message, fix }) =>
      verdict === "ok" ? `${name} ok` : `${name} ${verdict}: ${message} → ${fix}`
    ).join("; ");
}

/** Asserts that all is well. */
export function assertGreen(found: readonly Finding[]): string {
  const said = sayFindings(found);
  assert(found.every(({ verdict }) => verdict === "ok"), said);
  for (const name of ["api", "token", "size"]) {
    assert(found.some((finding) => finding.name === name), `${name} is missing: ${said}`);
  }
  return said;
}

/** Asserts that this check failed, as the only one, with a message and a fix like these. */
export function assertFailed(
  found: readonly Finding[],
  name: string,
  message: RegExp,
  fix: RegExp,
): string {
  const said = sayFindings(found);
  const names = found.map((finding) => finding.name);
  assertEquals(new Set(names).size, names.length, `a check is reported twice: ${said}`);
  const failures = found.filter(({ verdict }) => verdict === "failed");
  assertEquals(failures.map((finding) => finding.name), [name], said);
  assertMatch(failures[0]?.message ?? "", message);
  assertMatch(failures[0]?.fix ?? "", fix);
  return said;
}
