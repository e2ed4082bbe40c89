// Records what a player plays to a sound server, in real time, and finds out what of it was heard.

const RATE = 48_000;
/** A player that has not ended then hangs. */
const PLAYER_LIMIT_S = "30";

/** What the null sink of a sound server got while the player ran. @param env that of the sound server. */
export async function record(
  env: Readonly<Record<string, string>>,
  [program, args]: [string, string[]],
): Promise<Float32Array> {
  const format = ["--format=float32le", `--rate=${RATE}`, "--channels=1", "--latency-msec=20"];
  const recorder = new Deno.Command("parec", {
    args: ["-d", "mic.monitor", ...format],
    env: { ...env },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const bytes = new Response(recorder.stdout).bytes();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const player = { ...env, SDL_AUDIODRIVER: "pulseaudio" };
  await new Deno.Command("timeout", {
    args: [PLAYER_LIMIT_S, program, ...args],
    env: player,
    stdout: "null",
    stderr: "null",
  }).output();
  await new Promise((resolve) => setTimeout(resolve, 500));
  recorder.kill("SIGTERM");
  await recorder.status;
  const heard = await bytes;
  return new Float32Array(heard.slice(0, heard.length - heard.length % 4).buffer);
}

/** Which pieces of 20 ms of the reference were heard, at the place that the middle of it has. */
export function compare(
  heard: Float32Array,
  reference: Float32Array,
): { droppedMs: number; lostMs: number } {
  const piece = RATE / 50;
  const middle = Math.floor(reference.length / 2);
  const lag = lagOf(reference, heard, middle, RATE / 2);
  if (lag === null) return { droppedMs: Infinity, lostMs: Infinity };
  const isHeard = (from: number) => correlation(reference, heard, from, piece, lag) > 0.8;
  let first = middle;
  for (let from = middle; from >= 0; from -= piece) if (isHeard(from)) first = from;
  let lost = 0;
  for (let from = first; from + piece <= reference.length; from += piece) {
    if (loudness(reference, from, piece) > 1e-3 && !isHeard(from)) lost += 20;
  }
  // What is quiet at the start cannot be told from silence.
  const loud =
    Array.from({ length: 50 }, (_, i) => i * piece).find((from) =>
      loudness(reference, from, piece) > 1e-3
    ) ?? 0;
  return { droppedMs: Math.max(0, first - loud) * 1000 / RATE, lostMs: lost };
}

/** Where a stretch of the reference is in what was heard, as a lag; null: nowhere. */
function lagOf(
  reference: Float32Array,
  heard: Float32Array,
  at: number,
  length: number,
): number | null {
  let best = { lag: 0, correlation: 0 };
  const look = (from: number, to: number, step: number, stride: number) => {
    for (let lag = from; lag <= to; lag += step) {
      const found = correlation(reference, heard, at, length, lag, stride);
      if (found > best.correlation) best = { lag, correlation: found };
    }
  };
  look(-at, heard.length - at - length, 4, 16);
  const coarse = best.lag;
  best = { lag: coarse, correlation: 0 };
  look(coarse - 8, coarse + 8, 1, 1);
  return best.correlation > 0.8 ? best.lag : null;
}

function correlation(
  reference: Float32Array,
  heard: Float32Array,
  at: number,
  length: number,
  lag: number,
  stride = 1,
): number {
  let [product, a, b] = [0, 0, 0];
  for (let i = at; i < at + length; i += stride) {
    const [x, y] = [reference[i] ?? 0, heard[i + lag] ?? 0];
    product += x * y;
    a += x * x;
    b += y * y;
  }
  return a * b === 0 ? 0 : product / Math.sqrt(a * b);
}

function loudness(sound: Float32Array, at: number, length: number): number {
  return Math.max(...sound.subarray(at, at + length).map(Math.abs));
}
