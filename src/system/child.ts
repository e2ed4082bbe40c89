// Starts other programs. Short ones (grep, find, timedatectl) have a time limit, so that a program that
// hangs in a broken driver or on a dead bus cannot block the service. Long-running ones (ffmpeg, udevadm)
// never outlive the service. Their messages are never translated. The module does not know what a program is
// for, or how to end it.

import { bytesOf } from "./byte_stream.ts";
import { concatBytes } from "./concat_bytes.ts";
import { within } from "./within.ts";
import { PROGRAMS } from "./programs.ts";

/** How long a short program may take. */
const LIMIT_MS = 3_000;
/** Added to the environment that children inherit: programs read what they say. */
const CHILD_ENV: Readonly<Record<string, string>> = { LC_ALL: "C.UTF-8" };
/** How much of each output is kept: the longest one, of `grep` in /proc/asound, has some kilobytes. */
const MAX_OUTPUT_BYTES = 1024 * 1024;
/** How long a program may take to end after SIGKILL. */
const DEATH_MS = 500;

/** A program gave no answer: it did not end in time, or was killed. */
export class HangingError extends Error {
  override readonly name = "HangingError";
}

/**
 * Runs a program to its end, without a terminal; returns the beginning of what it wrote, and whether it succeeded.
 * @throws {HangingError} if the program takes too long; also if it cannot be started.
 */
export async function outputOf(
  program: string,
  args: readonly string[],
  options: { env?: Record<string, string>; limitMs?: number } = {},
): Promise<{ success: boolean; stdout: string; stderr: string }> {
  const { env = {}, limitMs = LIMIT_MS } = options;
  const child = spawn(program, args, { stdout: "piped", stderr: "piped", env });
  const output = outputOfChild(child);
  const answer = await within(limitMs, output);
  if (answer !== null) {
    // What a killed program wrote, for example when memory was short, is not an answer.
    if (answer.signal === null) return answer;
    throw new HangingError(`${program} was killed (${answer.signal}) before it gave an answer`);
  }
  killIfRunning(child);
  // A process that hangs in the kernel does not end even then: it is left behind.
  if (await within(DEATH_MS, output) === null) child.unref();
  throw new HangingError(`${program} gave no answer within ${limitMs / 1000} s`);
}

/**
 * Starts a program that the kernel kills when this process ends, even by SIGKILL. The kernel does so when
 * the thread that started the program ends (prctl(2), PR_SET_PDEATHSIG): the main thread, which runs
 * Deno's event loop. The program gets its own session, so that Ctrl-C at the terminal reaches only this
 * process, and an empty standard input. A missing program may also appear as exit code 127.
 * @throws the errors of `Deno.Command.spawn()`; `isMissing` tells whether the program is missing.
 */
export function spawnBound(
  program: string,
  args: readonly string[],
  how: Spawning,
): Deno.ChildProcess {
  try {
    return spawn(PROGRAMS.setpriv, ["--pdeathsig", "KILL", "--", program, ...args], how);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return spawn(program, args, how);
}

interface Spawning {
  readonly stdout: "null" | "piped";
  readonly stderr: "null" | "piped";
  readonly env?: Readonly<Record<string, string>>;
}

function spawn(
  program: string,
  args: readonly string[],
  { env = {}, ...streams }: Spawning,
): Deno.ChildProcess {
  return new Deno.Command(program, {
    ...streams,
    args: [...args],
    env: { ...CHILD_ENV, ...env },
    stdin: "null",
    // Without the terminal of this process: when root starts it as another user, that user could type there.
    detached: true,
  }).spawn();
}

/** SIGKILL for a child that may have ended already: Deno throws for one that has. */
export function killIfRunning(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch { /* it has ended */ }
}

/**
 * Whether the error means that the program is not installed. Deno resolves the permitted programs at its
 * start; a program that is installed later counts as not permitted.
 */
export function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable;
}

/** In place of child.output(), which leaks memory: see byte_stream.ts. */
async function outputOfChild(child: Deno.ChildProcess) {
  const [stdout, stderr, { success, signal }] = await Promise.all([
    beginningKept(child.stdout),
    beginningKept(child.stderr),
    child.status,
  ]);
  return { success, signal, stdout, stderr };
}

/**
 * The first megabyte of what a program writes, as text. It is read to its end, so that the program is never
 * blocked.
 */
export async function beginningKept(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<string> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let left = MAX_OUTPUT_BYTES;
  for await (const bytes of bytesOf(stream)) {
    if (left > 0) parts.push(bytes.slice(0, left));
    left -= bytes.length;
  }
  return new TextDecoder().decode(concatBytes(parts));
}
