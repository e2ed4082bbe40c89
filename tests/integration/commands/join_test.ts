// Joins chunks of real speech, and compares the sound with that of the stream before it was cut.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { runJoin } from "../../../src/commands/join.ts";
import { OpusStreamReader } from "../../../src/chunk/opus.ts";
import { makeSpeech, opusinfo } from "../../fixtures/audio.ts";
import { run } from "../../fixtures/command.ts";
import { recordedTill } from "../../fixtures/real_till.ts";
import { SimulatedTill } from "../../fixtures/simulated_till.ts";

const DECODERS = ["opus", "opusdec", "libopus"] as const;

/** SHA-256 of the samples that a decoder makes of a file. */
async function decoded(path: string, decoder: typeof DECODERS[number]): Promise<string> {
  const ffmpeg = ["-v", "error", "-c:a", decoder, "-i", path, "-f", "s16le", "-ar", "48000", "-"];
  const { stdout } = decoder === "opusdec"
    ? await run("opusdec", ["--quiet", "--rate", "48000", "--no-dither", path, "-"])
    : await run("ffmpeg", ["-nostdin", ...ffmpeg]);
  assert(stdout.length > 1e6);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", stdout.slice())).toHex();
}

/** The samples of a mono file at 48 kHz. */
async function samplesOf(path: string): Promise<Int16Array> {
  const pcm = ["-f", "s16le", "-ac", "1", "-"];
  const { stdout } = await run("ffmpeg", ["-nostdin", "-v", "error", "-i", path, ...pcm]);
  return new Int16Array(stdout.slice().buffer);
}

/** Joins the chunks in a folder. Returns what a person reads. */
async function joinTo(output: string, chunks: string): Promise<string> {
  const said: string[] = [];
  const print = (text: string) => said.push(text);
  const none = { from: undefined, to: undefined, device: undefined, progress: () => {} };
  const options = {
    ...none,
    paths: [chunks],
    output,
    zone: "UTC",
    gaps: "silence",
    print,
  } as const;
  assertEquals(await runJoin(options), 0, said.join("\n"));
  return said.join("\n");
}

Deno.test("a minute of speech that was cut into chunks and joined decodes to the uncut stream, bit for bit", async () => {
  const folder = await Deno.makeTempDir({ prefix: "join-" });
  try {
    const wav = join(folder, "speech.wav");
    await makeSpeech(wav, 60.123);
    const settings = [[16_000, 24], [24_000, 32], [48_000, 24], [48_000, 64]] as const;
    for (const [sampleRate, bitrateKbps] of settings) {
      const what = `${sampleRate}-${bitrateKbps}`;
      const { till, uncut: stream } = await recordedTill(wav, { sampleRate, bitrateKbps });
      const uncut = join(folder, `${what}-uncut.ogg`);
      await Deno.writeFile(uncut, stream);
      const chunks = join(folder, what);
      await till.deliver(chunks);
      const all = join(folder, `${what}.ogg`);
      await joinTo(all, chunks);
      await opusinfo(all);
      for (const decoder of DECODERS.slice(0, bitrateKbps === 64 ? 3 : 2)) {
        assertEquals(
          await decoded(all, decoder),
          await decoded(uncut, decoder),
          `${what} ${decoder}`,
        );
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("chunks with missing sound become a WAV file of the right length, silent where it is missing", async () => {
  const folder = await Deno.makeTempDir({ prefix: "join-" });
  try {
    const wav = join(folder, "speech.wav");
    await makeSpeech(wav, 20);
    const { till, uncut: stream } = await recordedTill(wav);
    const chunks = join(folder, "chunks");
    await till.deliver(chunks, (index) => index !== 2);
    const uncut = join(folder, "uncut.ogg");
    await Deno.writeFile(uncut, stream);
    const output = join(folder, "all.wav");
    const said = await joinTo(output, chunks);
    assert(said.includes("5.000 s missing"), said);
    const samples = await samplesOf(output);
    assertEquals(samples.length, 20 * 48_000);
    const silent = samples.subarray(10.1 * 48_000, 13.9 * 48_000);
    assert(silent.every((sample) => Math.abs(sample) <= 1), "silence");
    // What follows is the sound of the uncut stream from its first sample on, and so is the pre-roll, when the decoder
    // has warmed up.
    const whole = await samplesOf(uncut);
    for (const fromS of [14.5, 15]) {
      const [from, to] = [fromS * 48_000, (fromS + 0.5) * 48_000];
      const errors = samples.subarray(from, to).map((sample, at) =>
        sample - (whole[from + at] ?? 0)
      );
      const most = errors.reduce((most, error) => Math.max(most, Math.abs(error)), 0);
      assert(most <= 20, `${fromS} s: ${most}`);
      assert(whole.subarray(from, to).some((sample) => Math.abs(sample) > 2000), "speech");
    }
    // A relative name with a time in it is not a protocol of ffmpeg.
    const args = ["run", "-A", join(import.meta.dirname ?? "", "../../../main.ts"), "join", chunks];
    const command = new Deno.Command(Deno.execPath(), {
      args: [...args, "-o", "till-12:00.wav"],
      cwd: folder,
    });
    const { success, stdout } = await command.output();
    assert(success, new TextDecoder().decode(stdout));
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "all.wav",
      "chunks",
      "speech.wav",
      "till-12:00.wav",
      "uncut.ogg",
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("after a gap, a WAV file has the sound of the uncut stream from its first sample on, at its place", async () => {
  const folder = await Deno.makeTempDir({ prefix: "join-" });
  try {
    const wav = join(folder, "speech.wav");
    await makeSpeech(wav, 12);
    const { uncut: stream } = await recordedTill(wav);
    const uncut = join(folder, "uncut.ogg");
    await Deno.writeFile(uncut, stream);
    const reader = new OpusStreamReader();
    const packets = [...reader.push(stream), ...reader.end()]
      .flatMap((event) => event.kind === "packet" ? [event.packet] : []);
    const till = new SimulatedTill();
    till.start("starting", packets);
    till.hear(7);
    till.overrun(700);
    till.hear(6);
    till.stop();
    const chunks = join(folder, "chunks");
    await till.deliver(chunks);
    const said = await joinTo(join(folder, "all.wav"), chunks);
    assert(said.includes("0.700 s missing: nothing was recorded: overrun"), said);
    const [heard, whole] = [await samplesOf(join(folder, "all.wav")), await samplesOf(uncut)];
    const lost = 0.7 * 48_000;
    assertEquals(heard.length, 12 * 48_000 + lost);
    const gapAt = heard.findIndex((sample, at) => sample !== whole[at]);
    // ffmpeg's own decoder fades out into the silence, 2.5 ms.
    assert(gapAt > 6 * 48_000 && gapAt < 8 * 48_000, `${gapAt}`);
    assert(
      heard.subarray(gapAt + 480, gapAt + lost - 480).every((sample) => Math.abs(sample) <= 1),
    );
    const after = heard.subarray(gapAt + lost + 480);
    const most = after.reduce(
      (most, sample, at) => Math.max(most, Math.abs(sample - (whole[gapAt + 480 + at] ?? 0))),
      0,
    );
    assert(most <= 20, `${most}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
