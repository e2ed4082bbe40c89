// The command `recorder-agent receive`: the reference server of the Ingest API, which keeps chunks in a
// folder or in a bucket of an object store. It reads options and files, and runs until a signal; what a
// request gets, src/receive decides.

import { asUsage, type CommandLine, UsageError } from "./command_line.ts";
import { refuseToken } from "../config/config_values.ts";
import { CertificateFiles } from "../receive/certificate_files.ts";
import { Receiver, type ReceiverOptions } from "../receive/receiver.ts";
import { FolderOverview } from "../receive/folder_overview.ts";
import { FolderStore } from "../receive/folder_store.ts";
import type { OverviewSource } from "../receive/overview.ts";
import type { Store } from "../receive/store.ts";
import { oneToken, TokenFile, type Tokens } from "../receive/token_file.ts";
import { systemClock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { HeldLines } from "../system/held_lines.ts";
import { type Logger, startLog, StderrQueue } from "../system/log.ts";
import { isThisMachine } from "../system/proxy.ts";
import { aborted } from "../system/window.ts";

type Given =
  | ("dir" | "store" | "s3Credentials" | "tlsCa" | "listen" | "tokens" | "noToken")
  | ("tlsCert" | "tlsKey" | "maxMb" | "logLevel");

export interface ReceiveOptions extends Pick<CommandLine, Given> {
  readonly env: Readonly<Record<string, string>>;
}

interface Address {
  readonly hostname: string;
  readonly port: number;
}

interface Place extends Disposable {
  readonly store: Store;
  readonly overview: OverviewSource;
  /** What the log calls it. */
  readonly shown: Readonly<Record<string, string>>;
}

/** Runs until the signal. Returns the exit code. @throws {UsageError} */
export async function runReceive(options: ReceiveOptions, stop: AbortSignal): Promise<number> {
  const { maxMb, env } = options;
  refuseStores(options);
  const address = readAddress(options.listen);
  const shown = address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname;
  const isLocal = isThisMachine(shown);
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
    const maxBodyBytes = maxMb * 1e6;
    using kept = await openStore(options, maxBodyBytes, log);
    const { store, overview } = kept;
    const receiver = startAt(options.listen, {
      ...{ ...address, tls, tokens, store, overview, log, maxBodyBytes, clock: systemClock },
    });
    const scheme = tls === null ? "http" : "https";
    const url = `${scheme}://${shown}:${receiver.port}`;
    log.info("Receiving chunks at {url}/api/v1/chunks.", { url, ...kept.shown });
    if (!isLocal && tls === null) {
      log.warning("Tokens and sound cross the network readable: give --tls-cert and --tls-key.");
    }
    await dropPermissions();
    await aborted(stop);
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

/** @throws {UsageError} if it is not clear where chunks go. */
function refuseStores({ dir, store, s3Credentials, tlsCa }: ReceiveOptions): void {
  if (dir === undefined && store === undefined) {
    throw new UsageError(
      "receive needs --dir DIR, the folder for the chunks, or --store s3://BUCKET",
    );
  }
  if (dir !== undefined && store !== undefined) {
    throw new UsageError("--dir and --store exclude each other");
  }
  if (store === undefined && (s3Credentials !== undefined || tlsCa !== undefined)) {
    throw new UsageError("--s3-credentials and --tls-ca are for --store s3://BUCKET");
  }
}

/** Where chunks go, and its name in the log. @throws Error that says why it cannot be used. */
async function openStore(
  { dir, store: address, s3Credentials: credentials, tlsCa, env }: ReceiveOptions,
  maxBodyBytes: number,
  log: Logger,
): Promise<Place> {
  if (address !== undefined) {
    const { openBucket } = await import("./receive_s3.ts");
    const bucket = await openBucket({ store: address, credentials, tlsCa, maxBodyBytes, env }, log);
    return { ...bucket, shown: { store: address } };
  }
  const path = dir ?? "";
  const store = await FolderStore.open(path);
  const overview = new FolderOverview(path, systemClock);
  return { store, overview, shown: { dir: path }, [Symbol.dispose]: () => store[Symbol.dispose]() };
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

function readTokens(options: ReceiveOptions, isLocal: boolean, log: Logger): Tokens | null {
  const { tokens, noToken, env } = options;
  const one = env["RA_INGEST_TOKEN"] ?? "";
  if (noToken) {
    if (tokens !== undefined) throw new UsageError("--no-token and --tokens exclude each other");
    if (isLocal) return null;
    throw new UsageError("--no-token is possible only if --listen is an address of this machine");
  }
  if (tokens !== undefined) {
    return asUsage(() => new TokenFile(tokens, { clock: systemClock, log }));
  }
  if (one === "") {
    throw new UsageError(
      "receive needs tokens: --tokens FILE, or one in RA_INGEST_TOKEN; or --no-token for a trial",
    );
  }
  if (refuseToken(one) === null) return oneToken(one);
  throw new UsageError("RA_INGEST_TOKEN holds no usable token");
}

function readTls({ tlsCert: cert, tlsKey: key }: ReceiveOptions): CertificateFiles | null {
  if (cert === undefined && key === undefined) return null;
  if (cert === undefined || key === undefined) {
    throw new UsageError("--tls-cert and --tls-key belong together");
  }
  const files = new CertificateFiles({ cert, key });
  asUsage(() => files.read());
  return files;
}

/** A server that anybody can reach starts no programs and reads no environment. From source, it could. */
async function dropPermissions(): Promise<void> {
  if (!Deno.build.standalone) return;
  for (const name of ["run", "env", "ffi"] as const) await Deno.permissions.revoke({ name });
  // The clock reads the uptime.
  for (const kind of ["statfs", "uid"] as const) {
    await Deno.permissions.revoke({ name: "sys", kind });
  }
}
