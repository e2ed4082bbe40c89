// Stands in for ffmpeg where an agent is to live fast: to stdout an endless Ogg/Opus stream, a packet a
// page, and to the socket in its arguments the PCM, both as much faster than sound as asked, or as fast
// as they are taken. The packets are those of a real recording, over and over. While too much waits in
// the spool, which is where that socket is, it gives nothing: the agent is to be busy, not behind.
//
// Environment: FAST_FFMPEG_SOUND, an Ogg/Opus file; FAST_FFMPEG_SPEED, seconds of sound a second.

import { delay } from "@std/async/delay";
import { BEGIN_OF_STREAM, concatBytes, encodePage } from "../src/capture/ogg.ts";
import { encodeOpusHead, encodeOpusTags, OpusStreamReader } from "../src/capture/opus.ts";

const SOUND = Deno.env.get("FAST_FFMPEG_SOUND") ?? "";
const SPEED = Number(Deno.env.get("FAST_FFMPEG_SPEED") ?? 1);
const PACKET_SAMPLES = 960;
const PACKETS_PER_S = 50;
const BEAT_MS = 10;
const PRE_SKIP = 312;
/** Files in recording/ and outbox/ together. */
const MOST_WAITING = 100;
const LOOK_MS = 50;

/** Writes all of it. @throws when the reader is gone. */
async function writeAll(to: { write(bytes: Uint8Array): Promise<number> }, bytes: Uint8Array) {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function packetsOf(path: string): Uint8Array[] {
  const reader = new OpusStreamReader();
  return [...reader.push(Deno.readFileSync(path)), ...reader.end()]
    .flatMap((event) => event.kind === "packet" ? [event.packet.data] : []);
}

/** Pages as ffmpeg's muxer makes them with `-page_duration 20000`. */
class Pages {
  #sequence = 0;
  #granulePosition = 0;

  head(): Uint8Array {
    const head = encodeOpusHead({ channels: 1, preSkip: PRE_SKIP, inputSampleRate: 48_000 });
    const tags = encodeOpusTags("fast ffmpeg", {});
    return concatBytes([this.#page(head, BEGIN_OF_STREAM), this.#page(tags, 0)]);
  }

  sound(packet: Uint8Array): Uint8Array {
    this.#granulePosition += PACKET_SAMPLES;
    return this.#page(packet, 0);
  }

  #page(packet: Uint8Array, flags: number): Uint8Array {
    return encodePage({
      flags,
      granulePosition: this.#granulePosition,
      serial: 1,
      sequence: this.#sequence++,
      packets: [packet],
    });
  }
}

function isBehind(spoolDir: string): boolean {
  const files = ["recording", "outbox"].map((sub) => [...Deno.readDirSync(`${spoolDir}/${sub}`)]);
  return files.flat().length > MOST_WAITING;
}

const socket = Deno.args.find((arg) => arg.startsWith("unix:"))?.slice("unix:".length);
const levels = socket === undefined
  ? null
  : await Deno.connect({ transport: "unix", path: socket });
const pcm = crypto.getRandomValues(new Uint8Array(2 * PACKET_SAMPLES));
const packets = packetsOf(SOUND);
const pages = new Pages();
await writeAll(Deno.stdout, pages.head());
let [written, dueFromMs, lookMs] = [0, performance.now(), 0];
while (true) {
  const nowMs = performance.now();
  if (socket !== undefined && nowMs > lookMs) {
    while (isBehind(socket.slice(0, socket.lastIndexOf("/")))) await delay(LOOK_MS);
    lookMs = performance.now() + LOOK_MS;
  }
  // One that was held up does not catch up: no more than two beats at once.
  const dueS = Math.min(nowMs - dueFromMs, 2 * BEAT_MS) / 1000;
  const now = Math.floor(dueS * SPEED * PACKETS_PER_S);
  if (now > 0) {
    dueFromMs = nowMs;
    const batch = Array.from(
      { length: now },
      (_, i) => pages.sound(packets[(written + i) % packets.length] ?? pcm),
    );
    written += now;
    await writeAll(Deno.stdout, concatBytes(batch));
    if (levels !== null) {
      await writeAll(levels, concatBytes(batch.map(() => pcm)));
    }
  }
  await delay(BEAT_MS);
}
