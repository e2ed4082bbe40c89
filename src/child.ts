// Small programs that answer and end (grep, find, timedatectl), run so that one that hangs, in a broken
// driver or on a dead bus, cannot hold the service. ffmpeg, which lives long, is not run here.

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
  const output = child.output();
  const answer = await within(limitMs, output);
  if (answer !== null) return answer;
  child.kill("SIGKILL");
  // One that the kernel holds does not even die of this: it is left behind.
  if (await within(DEATH_MS, output) === null) child.unref();
  throw new HangingError(`${program} gave no answer within ${limitMs / 1000} s`);
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
