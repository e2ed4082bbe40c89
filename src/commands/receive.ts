// The command `recorder-agent receive`: the reference server of the Ingest API, which keeps chunks in a
// folder. It reads options and files, and runs until a signal; what a request gets, src/receive decides.

import { readNamedTextSync } from "../system/disk.ts";
import { UsageError } from "./command_line.ts";
import { refuseToken } from "../config/config_values.ts";
import { fileFailure } from "../config/file_failure.ts";
import { Receiver, type ReceiverOptions } from "../receive/receiver.ts";
import { FolderOverview } from "../receive/folder_overview.ts";
import { FolderStore } from "../receive/folder_store.ts";
import { oneToken, TokenFile, type Tokens } from "../receive/token_file.ts";
import { systemClock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { HeldLines } from "../system/held_lines.ts";
import { type LevelName, type Logger, startLog, StderrQueue } from "../system/log.ts";

export interface ReceiveOptions {
  readonly dir: string | undefined;
  /** ADDRESS:PORT; an IPv6 address stands in brackets. */
  readonly listen: string;
  readonly tokens: string | undefined;
  readonly noToken: boolean;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly maxMb: number;
  readonly logLevel: LevelName | undefined;
  readonly env: Readonly<Record<string, string>>;
}

interface Address {
  readonly hostname: string;
  readonly port: number;
}

/** Runs until the signal. Returns the exit code. @throws {UsageError} */
export async function runReceive(options: ReceiveOptions, stop: AbortSignal): Promise<number> {
  const { dir, maxMb, env } = options;
  if (dir === undefined) throw new UsageError("receive needs --dir DIR, the folder for the chunks");
  const address = readAddress(options.listen);
  const isLocal = isLoopback(address.hostname);
  const stderr = new StderrQueue();
  const held = new HeldLines(systemClock);
  const log = startLog({
    level: options.logLevel ?? "INFO",
    journal: "JOURNAL_STREAM" in env,
    held,
    write: (line) => stderr.push(line),
  });
  try {
    const tokens = readTokens(options, isLocal, log);
    const tls = readTls(options);
    using store = await FolderStore.open(dir);
    const receiver = startAt(options.listen, {
      ...{ ...address, tls, tokens, store, log },
      overview: new FolderOverview(dir, systemClock),
      maxBodyBytes: maxMb * 1e6,
      clock: systemClock,
    });
    const scheme = tls === null ? "http" : "https";
    const shown = address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname;
    const url = `${scheme}://${shown}:${receiver.port}`;
    log.info("Receiving chunks at {url}/api/v1/chunks.", { url, dir });
    if (!isLocal && tls === null) {
      log.warning("Tokens and sound cross the network readable: give --tls-cert and --tls-key.");
    }
    await dropPermissions();
    if (!stop.aborted) {
      await new Promise((resolve) => stop.addEventListener("abort", resolve, { once: true }));
    }
    await receiver.close();
    log.info("Stopped receiving.");
    return 0;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    log.fatal("recorder-agent is exiting: {reason}", { reason: messageOf(error) });
    return 1;
  } finally {
    held.flush();
    await stderr.flush(500);
  }
}

/** @throws Error that names the address. */
function startAt(listen: string, options: ReceiverOptions): Receiver {
  try {
    return Receiver.start(options);
  } catch (error) {
    throw new Error(`Cannot listen at ${listen}: ${messageOf(error)}`);
  }
}

function readAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const [hostname, port] = [match?.[1] ?? match?.[2], Number(match?.[3])];
  if (hostname !== undefined && port <= 65_535) return { hostname, port };
  throw new UsageError(`--listen "${text}" is not ADDRESS:PORT, such as 0.0.0.0:8043 or [::]:8043`);
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d+){3}$/.test(hostname);
}

function readTokens(options: ReceiveOptions, isLocal: boolean, log: Logger): Tokens | null {
  const { tokens, noToken, env } = options;
  const one = env["RA_INGEST_TOKEN"] ?? "";
  if (noToken) {
    if (tokens !== undefined) throw new UsageError("--no-token and --tokens exclude each other");
    if (isLocal) return null;
    throw new UsageError("--no-token is possible only if --listen is an address of this machine");
  }
  if (tokens !== undefined) {
    return telling(() => new TokenFile(tokens, { clock: systemClock, log }));
  }
  if (one === "") {
    throw new UsageError(
      "receive needs tokens: --tokens FILE, or one in RA_INGEST_TOKEN; or --no-token for a trial",
    );
  }
  if (refuseToken(one) === null) return oneToken(one);
  throw new UsageError("RA_INGEST_TOKEN holds no usable token");
}

function readTls({ tlsCert, tlsKey }: ReceiveOptions): { cert: string; key: string } | null {
  if (tlsCert === undefined && tlsKey === undefined) return null;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UsageError("--tls-cert and --tls-key belong together");
  }
  return { cert: readPem("--tls-cert", tlsCert), key: readPem("--tls-key", tlsKey) };
}

function readPem(option: string, path: string): string {
  try {
    return readNamedTextSync(path);
  } catch (error) {
    throw new UsageError(`${option}: the file ${path} ${fileFailure(error)}`);
  }
}

/** What is wrong with a file that an option names is wrong with the command line. */
function telling<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** A server that anybody can reach starts no programs and reads no environment. From source, it could. */
async function dropPermissions(): Promise<void> {
  if (!Deno.build.standalone) return;
  for (const name of ["run", "env", "sys", "ffi"] as const) await Deno.permissions.revoke({ name });
}
