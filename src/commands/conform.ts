// The command `recorder-agent conform`: tests somebody's server against the protocol and prints a table
// with what to change. It sends test chunks, which the server keeps; conform_tests.ts has the tests.

import { refuseToken } from "../config/config_values.ts";
import { readOptionFile } from "../config/file_failure.ts";
import { printable, toJson } from "../system/printable.ts";
import { asUsage, type CommandLine, UsageError } from "./command_line.ts";
import { conform } from "./conform_tests.ts";
import { formatFinding, MARKS } from "./finding.ts";
import { printText } from "./terminal.ts";

const SLOW_MS = 10_000;
/** More than the megabyte that many servers and proxies allow. */
const LARGE_SECONDS = 60;
/** Longer than a server stores one chunk. */
const PATIENCE_MS = 30_000;
/** How much of what a server said is shown, characters. */
const MAX_MESSAGE = 400;
const ID_KEYS = ["point_id", "register_id", "device_id"] as const;

type Given = "operands" | "tokenFile" | "tlsCa" | "set" | "json";

export interface ConformOptions extends Pick<CommandLine, Given> {
  readonly env: Readonly<Record<string, string>>;
  /** How long the slow upload takes, ms; default: 10 s. */
  readonly slowMs?: number;
  /** How long an upload is repeated that a server calls too early, ms; default: 30 s. */
  readonly patienceMs?: number;
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
}

/** Returns the exit code: 0, or 1 if a test failed. @throws {UsageError} */
export async function runConform(options: ConformOptions): Promise<number> {
  const { json, tlsCa, print = printText, slowMs = SLOW_MS, patienceMs = PATIENCE_MS } = options;
  const [text, ...more] = options.operands;
  const url = text === undefined ? null : URL.parse(text);
  if (url === null || more.length > 0 || !/^https?:$/.test(url.protocol)) {
    throw new UsageError("conform needs one URL, such as https://ingest.example.com");
  }
  const target = {
    ...{ url, slowMs, token: readToken(options), ids: readIds(options.set) },
    ...{ largeSeconds: LARGE_SECONDS, patienceMs },
    caCerts: tlsCa === undefined ? [] : [asUsage(() => readOptionFile("--tls-ca", tlsCa))],
  };
  if (!json) {
    print(`Testing ${url.host}, which keeps the test chunks of this device:`);
    for (const key of ID_KEYS) print(`  ${key.padEnd(12)} ${target.ids[key]}`);
    print("");
  }
  const findings = await conform(target, (finding) => {
    if (json || finding.because !== null) return;
    const message = printable(finding.message, MAX_MESSAGE);
    print(formatFinding({ ...finding, message }));
  });
  const broken = findings.filter(({ verdict }) => verdict === "failed").length;
  if (json) print(toJson({ ok: broken === 0, checks: findings }, 2));
  else {
    const skipped = findings.filter(({ because }) => because !== null).length;
    if (skipped > 0) {
      print(`${MARKS.skipped} ${skipped} tests were not made: they need the first one`);
    }
    print(broken === 0 ? "\nNo test failed." : `\n${broken} failed.`);
  }
  return broken === 0 ? 0 : 1;
}

function readToken({ tokenFile, env }: ConformOptions): string {
  const content = tokenFile === undefined
    ? env["RA_INGEST_TOKEN"] ?? ""
    : asUsage(() => readOptionFile("--token-file", tokenFile));
  if (refuseToken(content) === null) return content.trim();
  throw new UsageError(
    tokenFile === undefined
      ? "conform needs the token of the server: --token-file FILE, or RA_INGEST_TOKEN"
      : `--token-file: the file ${tokenFile} holds no usable token`,
  );
}

function readIds(set: readonly string[]): Record<(typeof ID_KEYS)[number], string> {
  const ids = {
    point_id: crypto.randomUUID() as string,
    register_id: crypto.randomUUID() as string,
    device_id: crypto.randomUUID() as string,
  };
  for (const assignment of set) {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(assignment) ?? [];
    const key = ID_KEYS.find((key) => key === name);
    if (key === undefined || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) {
      throw new UsageError(`--set "${assignment}" is not one of ${ID_KEYS.join(", ")} with a UUID`);
    }
    ids[key] = value;
  }
  return ids;
}
