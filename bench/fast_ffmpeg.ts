// Replaces ffmpeg in benchmarks that run an agent faster than real time. It writes an endless Ogg/Opus
// stream to the first socket in its arguments and the PCM to the second one, at the requested multiple of
// real time, or as fast as the agent reads. It repeats the packets of a real recording. It pauses while too
// many files wait in the spool, where the sockets are: the agent is to be busy, but not behind.
//
// Environment: FAST_FFMPEG_SOUND, an Ogg/Opus file; FAST_FFMPEG_SPEED, seconds of sound a second.

import { concatBytes } from "../src/system/concat_bytes.ts";
import { delay } from "@std/async/delay";
import { BEGIN_OF_STREAM, encodePage } from "../src/chunk/ogg.ts";
import { PAGE_MS } from "../src/capture/ffmpeg_arguments.ts";
import { encodeOpusHead, encodeOpusTags, OpusStreamReader } from "../src/chunk/opus.ts";

const SOUND = Deno.env.get("FAST_FFMPEG_SOUND") ?? "";
const SPEED = Number(Deno.env.get("FAST_FFMPEG_SPEED") ?? 1);
const PACKET_SAMPLES = 960;
const PAGE_PACKETS = PAGE_MS / 20;
const PAGES_PER_S = 1000 / PAGE_MS;
const BEAT_MS = 10;
const PRE_SKIP = 312;
/** Files in recording/ and outbox/ together. */
const MOST_WAITING = 100;
const LOOK_MS = 50;

/** Writes all bytes. @throws if the reader is gone. */
async function writeAll(to: { write(bytes: Uint8Array): Promise<number> }, bytes: Uint8Array) {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function packetsOf(path: string): Uint8Array[] {
  const reader = new OpusStreamReader();
  return [...reader.push(Deno.readFileSync(path)), ...reader.end()]
    .flatMap((event) => event.kind === "packet" ? [event.packet.data] : []);
}

/** Pages as ffmpeg's muxer makes them. */
class Pages {
  #sequence = 0;
  #granulePosition = 0;

  head(): Uint8Array {
    const head = encodeOpusHead({ channels: 1, preSkip: PRE_SKIP, inputSampleRate: 48_000 });
    const tags = encodeOpusTags("fast ffmpeg", {});
    return concatBytes([this.#page([head], BEGIN_OF_STREAM), this.#page([tags], 0)]);
  }

  sound(packets: readonly Uint8Array[]): Uint8Array {
    this.#granulePosition += packets.length * PACKET_SAMPLES;
    return this.#page(packets, 0);
  }

  #page(packets: readonly Uint8Array[], flags: number): Uint8Array {
    return encodePage({
      flags,
      granulePosition: this.#granulePosition,
      serial: 1,
      sequence: this.#sequence++,
      packets,
    });
  }
}

function isBehind(spoolDir: string): boolean {
  const files = ["recording", "outbox"].map((sub) => [...Deno.readDirSync(`${spoolDir}/${sub}`)]);
  return files.flat().length > MOST_WAITING;
}

const paths = Deno.args.filter((arg) => arg.startsWith("unix:")).map((arg) => arg.slice(5));
const [sound, levels] = await Promise.all(
  paths.map((path) => Deno.connect({ transport: "unix", path })),
);
if (sound === undefined || levels === undefined) throw new Error(`Not two sockets: ${Deno.args}`);
const spoolDir = paths[0]?.slice(0, paths[0].lastIndexOf("/")) ?? "";
const pcm = crypto.getRandomValues(new Uint8Array(2 * PACKET_SAMPLES * PAGE_PACKETS));
const packets = packetsOf(SOUND);
const pages = new Pages();
await writeAll(sound, pages.head());
let [written, dueFromMs, lookMs] = [0, performance.now(), 0];
while (true) {
  const nowMs = performance.now();
  if (nowMs > lookMs) {
    while (isBehind(spoolDir)) await delay(LOOK_MS);
    lookMs = performance.now() + LOOK_MS;
  }
  // After a delay it does not catch up: it sends at most two beats at once.
  const dueS = Math.min(nowMs - dueFromMs, 2 * BEAT_MS) / 1000;
  for (let left = Math.floor(dueS * SPEED * PAGES_PER_S); left > 0; left--) {
    dueFromMs = nowMs;
    const from = written % (packets.length - PAGE_PACKETS);
    written += PAGE_PACKETS;
    await writeAll(levels, pcm);
    await writeAll(sound, pages.sound(packets.slice(from, from + PAGE_PACKETS)));
  }
  await delay(BEAT_MS);
}
