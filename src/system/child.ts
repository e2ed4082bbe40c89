// Starts other programs: small ones that answer and end (grep, find, timedatectl), so that one that
// hangs, in a broken driver or on a dead bus, cannot hold the service; and ones that live long (ffmpeg,
// udevadm), so that they never outlive it. What a program is for, and how it is ended, is not known here.

import { bytesOf } from "./byte_stream.ts";
import { concatBytes } from "./concat_bytes.ts";

/** So long may such a program take. */
const LIMIT_MS = 3_000;
const DEATH_MS = 500;

/** A program gave no answer in time. */
export class HangingError extends Error {
  override readonly name = "HangingError";
}

/** What a program writes, and whether it succeeded. @throws {HangingError} and if it cannot run. */
export async function outputOf(
  program: string,
  args: readonly string[],
  options: { env?: Record<string, string>; limitMs?: number } = {},
): Promise<{ success: boolean; stdout: Uint8Array<ArrayBuffer>; stderr: Uint8Array<ArrayBuffer> }> {
  const { env = {}, limitMs = LIMIT_MS } = options;
  const child = new Deno.Command(program, {
    args: [...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = outputOfChild(child);
  const answer = await within(limitMs, output);
  if (answer !== null) return answer;
  child.kill("SIGKILL");
  // One that the kernel holds does not even die of this: it is left behind.
  if (await within(DEATH_MS, output) === null) child.unref();
  throw new HangingError(`${program} gave no answer within ${limitMs / 1000} s`);
}

/**
 * Starts a program in a session of its own (a Ctrl-C at the terminal is ours to handle), and so that the
 * kernel kills it when this process is gone, by SIGKILL even. The kernel does so at the end of the thread
 * that started it (prctl(2), PR_SET_PDEATHSIG), which is the main one, Deno's event loop. Its standard
 * input is empty. A program that is missing may also show as exit code 127.
 * @throws as `Deno.Command.spawn()`; `isMissing` tells whether the program is missing.
 */
export function spawnBound(
  program: string,
  args: readonly string[],
  { stdout, stderr }: { stdout: "null" | "piped"; stderr: "null" | "piped" },
): Deno.ChildProcess {
  const spawn = (program: string, args: readonly string[]) =>
    new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout,
      stderr,
      detached: true,
    }).spawn();
  try {
    return spawn("setpriv", ["--pdeathsig", "KILL", "--", program, ...args]);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return spawn(program, args);
}

/** Deno looks a program up when it starts; one installed later counts as not permitted. */
export function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable;
}

/** Not child.output(): see byte_stream.ts. */
async function outputOfChild(child: Deno.ChildProcess) {
  const [stdout, stderr, { success }] = await Promise.all([
    gather(child.stdout),
    gather(child.stderr),
    child.status,
  ]);
  return { success, stdout, stderr };
}

async function gather(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for await (const bytes of bytesOf(stream)) parts.push(bytes.slice());
  return concatBytes(parts);
}

/** What the promise gives, or null after `ms`. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
