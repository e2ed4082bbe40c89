// The command `recorder-agent requeue`: lists the chunks that the server refused, with the reasons, and
// moves them to outbox/ again. It works beside a running agent, which notices the moves: each chunk is
// moved by one rename, and keeps its name, key and owner. It never touches a file that is not a chunk, and
// follows no link. Root never works in the spool of another user: the command runs again as that user.

import { join } from "@std/path/join";
import { type ChunkName, parseChunkName } from "../chunk/chunk_name.ts";
import { exists, modifiedMs, readWholeText, removeIfThere, syncDirectory } from "../system/disk.ts";
import { MAX_REASON_BYTES, reasonPath } from "../spool/reason_file.ts";
import { asUser, ownerIn, type User } from "../system/users.ts";
import { bytesOf } from "../system/byte_stream.ts";
import { fromJson, MAX_TEXT, printable, visible } from "../system/printable.ts";
import { messageOf } from "../system/error_text.ts";
import { formatTable, printText } from "./terminal.ts";

/** A longer line of another process is not waited for, characters. */
const MAX_LINE = 65_536;

export interface RequeueOptions {
  readonly spoolDir: string;
  /** Every refused chunk. */
  readonly all: boolean;
  /** Keys or file names of chunks. If there are none, and without `all`, the refused chunks are listed. */
  readonly wanted: readonly string[];
  /** Only prints what would be done. */
  readonly dryRun: boolean;
  /** Path of this program; empty, the default, if it runs from source. */
  readonly executable?: string;
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
}

interface RefusedChunk {
  readonly fileName: string;
  readonly name: ChunkName;
  readonly reason: Reason;
}

/** The contents of the file beside a chunk, which the uploader writes. */
interface Reason {
  readonly text: string;
  readonly answer: string;
  /** ISO 8601, to the second. */
  readonly refusedAt: string;
  /** When the file was written, Unix ms; null if it does not exist. */
  readonly writtenMs: number | null;
}

interface Rejected {
  /** The oldest first. */
  readonly chunks: readonly RefusedChunk[];
  /** Names of other files: recordings that could not be recovered, reasons without a chunk. */
  readonly others: readonly string[];
}

/** Returns the exit code: 0, or 1 if a named chunk does not exist or cannot be moved. */
export async function runRequeue(options: RequeueOptions): Promise<number> {
  const { spoolDir, all, wanted, dryRun, print = printText } = options;
  let rejected: Rejected;
  try {
    const owner = await Deno.stat(spoolDir);
    if (Deno.uid() === 0 && owner.uid !== 0) return await runAs(ownerIn(owner), options);
    for (const dir of ["rejected", "outbox"]) await refuseLink(join(spoolDir, dir));
    rejected = await readRejected(join(spoolDir, "rejected"));
  } catch (error) {
    print(`Cannot list the refused chunks in spool_dir ${spoolDir}: ${inWords(error)}`);
    return 1;
  }
  const { chunks } = rejected;
  const matches = (want: string, { fileName, name }: RefusedChunk) =>
    want.toLowerCase() === name.key || want.slice(want.lastIndexOf("/") + 1) === fileName;
  const missing = wanted.filter((want) => !chunks.some((chunk) => matches(want, chunk)));
  if (missing.length > 0) {
    print(`Nothing was moved because rejected/ has no such chunk: ${missing.join(", ")}\n`);
    show(rejected, print);
    return 1;
  }
  const chosen = chunks.filter((chunk) => all || wanted.some((want) => matches(want, chunk)));
  if (chosen.length === 0) {
    show(rejected, print);
    return 0;
  }
  const failed = dryRun ? [] : await moveToOutbox(spoolDir, chosen);
  const done = chosen.filter(({ fileName }) => !failed.some((one) => one.fileName === fileName));
  for (const { fileName, reason } of done) print(`${fileName}\n    ${reason.text}`);
  print(`${count(done)} ${dryRun ? "would be moved" : "moved"} to outbox/.`);
  for (const { fileName, problem } of failed) print(`Cannot requeue ${fileName}: ${problem}`);
  showOthers(rejected, print);
  return failed.length === 0 ? 0 : 1;
}

/** Runs the same command as another user, who can move files only where he may anyway. */
async function runAs(user: User, options: RequeueOptions): Promise<number> {
  const { spoolDir, all, wanted, dryRun, executable = "", print = printText } = options;
  if (executable === "") {
    throw new Error(
      `root must not work in the spool of another user: run it as that user (sudo -u '#${user.uid}')`,
    );
  }
  if (!await isForEverybody(executable)) {
    throw new Error(
      `every user must be able to run ${executable}: copy it to /usr/local/bin first`,
    );
  }
  const flags = [...(all ? ["--all"] : []), ...(dryRun ? ["--dry-run"] : [])];
  const dir = await Deno.realPath(spoolDir);
  const again = [executable, "requeue", "--spool", dir, ...flags, "--", ...wanted];
  const [program = "", ...args] = asUser(user, again);
  // That user can make the process say and do anything: it gets no terminal, in which it could type for root.
  const child = new Deno.Command(program, {
    args,
    cwd: "/",
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  await Promise.all([child.stdout, child.stderr].map((stream) => passOn(stream, print)));
  return (await child.status).code;
}

/** Prints what a process says as it comes, in whole lines; one that is too long is split. */
async function passOn(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  print: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of bytesOf(stream)) {
    rest += decoder.decode(bytes, { stream: true });
    const end = rest.length > MAX_LINE ? rest.length : rest.lastIndexOf("\n");
    if (end >= 0) print(visible(rest.slice(0, end)));
    rest = rest.slice(end + 1);
  }
  if (rest !== "") print(visible(rest));
}

/** Whether every user can run a program: it may lie in the home of the one who copied it here. */
async function isForEverybody(path: string): Promise<boolean> {
  for (let at = path; at !== "/"; at = join(at, "..")) {
    const needed = at === path ? 0o005 : 0o001;
    if ((((await Deno.stat(at)).mode ?? 0) & needed) !== needed) return false;
  }
  return true;
}

/** @throws if it is not a folder: a link would lead the command elsewhere. */
async function refuseLink(dir: string): Promise<void> {
  const { isDirectory, isSymlink } = await Deno.lstat(dir);
  if (isDirectory) return;
  throw new Error(`${dir} must be a folder: it is ${isSymlink ? "a link" : "something else"}`);
}

async function readRejected(dir: string): Promise<Rejected> {
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(dir)) if (isFile) names.push(name);
  const chunks: RefusedChunk[] = [];
  const others = new Set(names.sort());
  for (const fileName of names) {
    const name = parseChunkName(fileName);
    if (name === null) continue;
    chunks.push({ fileName, name, reason: await readReason(reasonPath(join(dir, fileName))) });
    others.delete(fileName);
    others.delete(reasonPath(fileName));
  }
  return { chunks, others: [...others] };
}

/** A missing or damaged reason does not prevent a chunk from being requeued. */
async function readReason(path: string): Promise<Reason> {
  const writtenMs = await modifiedMs(path);
  const unknown = { text: "the reason is not known", answer: "-", refusedAt: "-", writtenMs };
  try {
    const { reason, http_status, rejected_at } = Object(
      fromJson(await readWholeText(path, MAX_REASON_BYTES)),
    );
    return {
      text: typeof reason === "string" ? reason : unknown.text,
      answer: typeof http_status === "number" ? String(http_status) : "-",
      refusedAt: typeof rejected_at === "string" ? `${rejected_at.slice(0, 19)}Z` : "-",
      writtenMs,
    };
  } catch {
    return unknown;
  }
}

/**
 * Moves chunks durably. After a power cut each is either in outbox/, or in rejected/ with its reason: the
 * reason is deleted only when the move is durable.
 */
async function moveToOutbox(
  spoolDir: string,
  chunks: readonly RefusedChunk[],
): Promise<{ fileName: string; problem: string }[]> {
  const [rejected, outbox] = [join(spoolDir, "rejected"), join(spoolDir, "outbox")];
  const failed: { fileName: string; problem: string }[] = [];
  const moved: RefusedChunk[] = [];
  for (const chunk of chunks) {
    const { fileName } = chunk;
    try {
      if (await exists(join(outbox, fileName))) {
        throw new Error("it is already in outbox/");
      }
      await Deno.rename(join(rejected, fileName), join(outbox, fileName));
      moved.push(chunk);
    } catch (error) {
      failed.push({ fileName, problem: inWords(error) });
    }
  }
  if (moved.length === 0) return failed;
  await syncDirectory(outbox);
  await syncDirectory(rejected);
  for (const { fileName, reason } of moved) {
    const path = reasonPath(join(rejected, fileName));
    // The reason is a new one if the agent has sent the chunk again meanwhile and it was refused.
    if (await modifiedMs(path) === reason.writtenMs) await removeIfThere(path);
  }
  await syncDirectory(rejected);
  return failed;
}

function show({ chunks, others }: Rejected, print: (text: string) => void): void {
  if (chunks.length === 0) {
    print("There are no chunks in rejected/.");
  } else {
    print(formatTable([
      ["REFUSED AT", "RECORDED AT", "SECONDS", "ANSWER", "KEY", "REASON"],
      ...chunks.map(({ name, reason }) => [
        reason.refusedAt,
        `${new Date(name.startUnixUs / 1000).toISOString().slice(0, 19)}Z`,
        (name.durationUs / 1e6).toFixed(1),
        reason.answer,
        name.key,
        reason.text,
      ]),
    ]));
    print(
      `\n${count(chunks)} in rejected/. When the cause is fixed, deliver them again with ` +
        `recorder-agent requeue --all, or only some with their keys.`,
    );
  }
  showOthers({ others }, print);
}

function showOthers({ others }: Pick<Rejected, "others">, print: (text: string) => void): void {
  if (others.length === 0) return;
  print(
    `Not chunks; these files stay in rejected/:\n${
      others.map((name) => `    ${printable(name, MAX_TEXT)}`).join("\n")
    }`,
  );
}

function count({ length }: readonly unknown[]): string {
  return length === 1 ? "1 chunk" : `${length} chunks`;
}

function inWords(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "this user has no permission; run it as root, or as the user of the service";
  }
  return messageOf(error);
}
