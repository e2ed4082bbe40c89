// deno-lint-ignore-file no-console -- a test that talks to a person
// `deno task test:players`: what players and decoders make of chunks. It compares each with the uncut stream:
// the number of samples, the first second, the length that is stated, and, for players that play to a sound
// server in real time, what of the start was not heard: that says something only on an idle machine. It prints
// tables for docs/testing.md. The exit code is 1 if a decoder is not exact. What is not installed is left out.
//
// `tests/players/run.ts [DIR]`: also with the ffmpeg of the Debian in DIR.

import { join } from "@std/path/join";
import { decodeToPcm, makeSpeech } from "../fixtures/audio.ts";
import { run } from "../fixtures/command.ts";
import { Browser } from "../fixtures/browser.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { recordedTill } from "../fixtures/real_till.ts";
import { compare, record } from "./sound_server.ts";
import {
  DECODERS,
  decodeWith,
  differenceIn,
  isInstalled,
  METERS,
  otherDebian,
  vlc,
} from "./decoders.ts";

const RATE = 48_000;
const CHUNK_SECONDS = 5;
const WHOLE_SECONDS = 4 * CHUNK_SECONDS;
/** libsndfile and VLC do not warm their decoder up on all of the pre-roll: the first second differs a little. */
const MOST_DIFFERENCE = 0.1;
/** Chunks that each player plays to the sound server. */
const PLAYED = 3;

interface Sample {
  readonly name: string;
  readonly path: string;
  /** Its part of the uncut stream, as ffmpeg decodes it. */
  readonly reference: Float32Array;
  /** The file with the uncut stream, and where this chunk begins in it. */
  readonly uncut: string;
  readonly startSample: number;
}

const other = Deno.args[0] === undefined ? { decoders: [], meters: [] } : otherDebian(Deno.args[0]);

let failed = false;
const dir = await Deno.makeTempDir({ prefix: "players-" });
await Deno.chmod(dir, 0o755);
try {
  const samples = await makeSamples(dir);
  await decoders(samples);
  await meters(samples);
  await players(samples);
  await browser(samples);
} finally {
  await Deno.remove(dir, { recursive: true });
}
Deno.exitCode = failed ? 1 : 0;

/** A chunk with pre-roll and the first chunk of a stream, at the rates and bitrates of the field. */
async function makeSamples(dir: string): Promise<Sample[]> {
  // Half as loud, so that no decoder clips what the encoder overshoots.
  const [loud, wav] = [join(dir, "loud.wav"), join(dir, "speech.wav")];
  await makeSpeech(loud, WHOLE_SECONDS);
  await run("ffmpeg", ["-nostdin", "-v", "error", "-i", loud, "-af", "volume=0.5", wav]);
  const samples: Sample[] = [];
  for (const [sampleRate, bitrateKbps] of [[48_000, 24], [16_000, 24], [48_000, 64]] as const) {
    const { till, uncut } = await recordedTill(wav, { sampleRate, bitrateKbps });
    const uncutPath = join(dir, `${samples.length}-uncut.ogg`);
    await Deno.writeFile(uncutPath, uncut);
    const pcm = await decodeToPcm(uncut);
    let start = 0;
    for (const [index, { bytes }] of till.chunks.entries()) {
      const length = CHUNK_SECONDS * RATE - (index === 0 ? 312 : 0);
      const name = `${sampleRate / 1000} kHz, ${bitrateKbps} kbit/s, chunk ${index + 1}`;
      const path = join(dir, `${samples.length}.ogg`);
      await Deno.writeFile(path, bytes);
      const reference = pcm.slice(start, start + length);
      if (index < 3) samples.push({ name, path, reference, uncut: uncutPath, startSample: start });
      start += length;
    }
  }
  return samples;
}

/** Compares each chunk with what the same decoder makes of the uncut stream. */
async function decoders(samples: readonly Sample[]): Promise<void> {
  row(["decoder", "samples", "first second", "later", "first chunk of a stream"]);
  row(["-", "-", "-:", "-:", "-"]);
  for (const decoder of [...DECODERS, ...other.decoders]) {
    if (!await isInstalled(decoder.program)) continue;
    let [wrong, first, later, missing] = [0, 0, 0, 0];
    const uncut = new Map<string, Float32Array>();
    for (const { path, uncut: whole, startSample, reference } of samples) {
      const own = uncut.get(whole) ?? await decodeWith(decoder, whole);
      uncut.set(whole, own);
      const heard = await decodeWith(decoder, path);
      if (startSample === 0) {
        missing = Math.max(missing, reference.length - heard.length);
        continue;
      }
      // What a decoder drops from the start of the uncut stream shifts all of it.
      const shift = own.length - WHOLE_SECONDS * RATE;
      const expected = own.subarray(startSample + shift, startSample + shift + reference.length);
      if (heard.length !== reference.length) wrong++;
      first = Math.max(first, differenceIn(heard, expected, 0));
      later = Math.max(later, differenceIn(heard, expected, CHUNK_SECONDS - 2));
    }
    if (wrong > 0 || first > MOST_DIFFERENCE) failed = true;
    row([
      decoder.name,
      wrong === 0 ? "exact" : `${wrong} wrong`,
      inDb(first),
      inDb(later),
      missing === 0 ? "exact" : `${missing} samples missing`,
    ]);
  }
}

async function meters(samples: readonly Sample[]): Promise<void> {
  console.log();
  row(["length by", "too long, s"]);
  row(["-", "-:"]);
  for (const meter of [...METERS, ...other.meters]) {
    if (!await isInstalled(meter.program)) continue;
    let most = 0;
    for (const { path, reference } of samples) {
      most = Math.max(most, await meter.measure(path) - reference.length / RATE);
    }
    row([meter.name, most < 0.005 ? "0" : most.toFixed(2)]);
  }
}

/** Plays to the null sink of a sound server, whose monitor is recorded. */
async function players(samples: readonly Sample[]): Promise<void> {
  console.log();
  row(["player, over a sound server", "not heard at the start, ms", "lost inside, ms"]);
  row(["-", "-:", "-:"]);
  await using sound = await PulseMicrophone.start();
  const server = sound.env["PULSE_SERVER"]?.replace(/^unix:/, "") ?? "";
  await Deno.chmod(join(server, ".."), 0o755);
  const ways: Record<string, (path: string) => [string, string[]]> = {
    cvlc: (path) => vlc(["--aout=pulse", path], dir),
    mpv: (path) => ["mpv", ["--no-config", "--really-quiet", "--ao=pulse", path]],
    ffplay: (path) => ["ffplay", ["-v", "error", "-nodisp", "-autoexit", path]],
  };
  for (const [program, command] of Object.entries(ways)) {
    if (!await isInstalled(program)) continue;
    const dropped: number[] = [];
    const inside: number[] = [];
    for (const { path, reference } of samples.slice(0, PLAYED)) {
      const heard = await record(sound.env, command(path));
      const found = compare(heard, reference);
      dropped.push(found.droppedMs);
      inside.push(found.lostMs);
    }
    row([program, dropped.map((ms) => ms.toFixed(0)).join(", "), Math.max(...inside).toFixed(0)]);
  }
}

async function browser(samples: readonly Sample[]): Promise<void> {
  if (!await isInstalled("chromium")) return;
  console.log();
  row(["browser", "samples", "first second", "<audio> says, s too long"]);
  row(["-", "-", "-:", "-:"]);
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/") {
        return new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
      }
      const bytes = await Deno.readFile(join(dir, pathname)).catch(() => null);
      if (bytes === null) return new Response(null, { status: 404 }); // it asks for an icon, too
      const headers = { "content-type": "audio/ogg", "accept-ranges": "bytes" };
      // Without ranges a browser knows no length.
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "") ?? [];
      if (from === undefined) return new Response(bytes, { headers });
      const end = to === "" ? bytes.length : Math.min(bytes.length, Number(to) + 1);
      const range = `bytes ${from}-${end - 1}/${bytes.length}`;
      return new Response(bytes.subarray(Number(from), end), {
        ...{ status: 206, headers: { ...headers, "content-range": range } },
      });
    },
  );
  await using chromium = await Browser.start();
  await using page = await chromium.open(`http://127.0.0.1:${server.addr.port}/`, { width: 800 });
  let [wrong, first, tooLong] = [0, 0, 0];
  for (const { path, reference, uncut, startSample } of samples) {
    const url = path.slice(dir.length);
    const decoded = await page.evaluate(`(async () => {
      const decode = async (url) => {
        const bytes = await (await fetch(url)).arrayBuffer();
        const sound = await new OfflineAudioContext(1, 1, ${RATE}).decodeAudioData(bytes);
        return sound.getChannelData(0);
      };
      const [heard, whole] = [await decode("${url}"), await decode("${uncut.slice(dir.length)}")];
      const start = ${startSample} + whole.length - ${WHOLE_SECONDS * RATE};
      const expected = whole.subarray(${startSample} === 0 ? 0 : start);
      let most = 0;
      for (let at = 0; at < ${RATE}; at++) most = Math.max(most, Math.abs(heard[at] - expected[at]));
      return { length: heard.length, whole: whole.length, first: most };
    })()`) as { length: number; first: number };
    if (decoded.length !== reference.length) wrong++;
    first = Math.max(first, decoded.first);
    const seconds = await page.evaluate(`new Promise((resolve, reject) => {
      const audio = new Audio("${url}");
      audio.onloadedmetadata = () => resolve(audio.duration);
      audio.onerror = () => reject(new Error("cannot load"));
    })`) as number;
    tooLong = Math.max(tooLong, seconds - reference.length / RATE);
  }
  if (wrong > 0 || first > MOST_DIFFERENCE) failed = true;
  row(["Chromium", wrong === 0 ? "exact" : `${wrong} wrong`, inDb(first), tooLong.toFixed(2)]);
}

function inDb(difference: number): string {
  return difference < 2 ** -15 ? "equal" : `${(20 * Math.log10(difference)).toFixed(0)} dB`;
}

function row(cells: readonly (string | number)[]): void {
  console.log(`| ${cells.join(" | ")} |`);
}
