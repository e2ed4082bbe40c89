import type { CaptureSource } from "../../src/microphone/capture_attempts.ts";
import { assert, assertEquals } from "@std/assert";
import { ffmpegArguments } from "../../src/capture/ffmpeg_arguments.ts";

const ALSA: CaptureSource = { kind: "alsa", pcm: "hw:1,0", channels: 1, sampleRate: 48000 };
const OPTIONS = { sampleRate: 48000, bitrateKbps: 24, socketDir: null };

Deno.test("ffmpegArguments() requests the microphone's format before the input, and mono after it", () => {
  const args = ffmpegArguments({ ...ALSA, sampleRate: 44100 }, OPTIONS);
  const input = args.indexOf("-i");
  assertEquals(args[input + 1], "hw:1,0");
  for (const [name, value] of [["-channels", "1"], ["-sample_rate", "44100"]] as const) {
    assert(args.indexOf(name) < input);
    assertEquals(args[args.indexOf(name) + 1], value);
  }
  for (const [name, value] of [["-ac", "1"], ["-ar", "48000"], ["-b:a", "24k"]] as const) {
    assert(args.indexOf(name) > input, name);
    assertEquals(args[args.indexOf(name) + 1], value);
  }
});

Deno.test("ffmpegArguments() takes channels by their index, and averages several with equal weights", () => {
  const filter = (channels: number, take?: readonly number[]) => {
    const source = { ...ALSA, channels, ...(take === undefined ? {} : { take }) };
    const args = ffmpegArguments(source, OPTIONS);
    assertEquals(args.includes("-ac"), false);
    assert(args.indexOf("-guess_layout_max") < args.indexOf("-i"));
    return args[args.indexOf("-af") + 1];
  };
  assertEquals(filter(10, [3]), "pan=mono|c0=c3,asetpts=N/SR/TB");
  assertEquals(filter(2, [0, 1]), "pan=mono|c0=0.5*c0+0.5*c1,asetpts=N/SR/TB");
  assertEquals(filter(4), "pan=mono|c0=0.25*c0+0.25*c1+0.25*c2+0.25*c3,asetpts=N/SR/TB");
});

Deno.test("ffmpegArguments() filters and amplifies the sound and its levels alike, but never the raw sound", () => {
  const filters = (options: { gainDb?: number; highpassHz?: number }) => {
    const args = ffmpegArguments({ ...ALSA, channels: 2, take: [1] }, { ...OPTIONS, ...options }, {
      levels: "l.sock",
      raw: "r.sock",
    });
    return args.filter((_, index) => args[index - 1] === "-af");
  };
  const [sound, levels, raw] = filters({ gainDb: 6, highpassHz: 80 });
  assertEquals(sound, "pan=mono|c0=c1,highpass=f=80,volume=6dB,asetpts=N/SR/TB");
  assertEquals(levels, `${sound},asetnsamples=n=19200:p=0`);
  assertEquals(raw, "pan=mono|c0=c1,asetpts=N/SR/TB,asetnsamples=n=19200:p=0");
  assertEquals(filters({ gainDb: 0, highpassHz: 0 }), filters({}));
  assertEquals(filters({ gainDb: -3.5 })[0], "pan=mono|c0=c1,volume=-3.5dB,asetpts=N/SR/TB");
});

Deno.test("ffmpegArguments() measures channels only if there are several, in stretches that fit a socket", () => {
  const measured = (channels: number) => {
    const args = ffmpegArguments({ ...ALSA, channels }, OPTIONS, { channels: "c.sock" });
    const filter = args.at(args.lastIndexOf("-af") + 1) ?? "";
    const [, frames, nth] =
      /asetnsamples=n=(\d+):p=0,aselect='not\(mod\(n,(\d+)\)\)'/.exec(filter) ??
        [];
    return [Number(frames), Number(nth)] as const;
  };
  for (let channels = 2; channels <= 32; channels++) {
    const [frames, nth] = measured(channels);
    assertEquals(frames * nth, 24_000, "two stretches in each second");
    assert(frames * channels * 2 <= 76_800, `${channels} channels`);
  }
  const args = ffmpegArguments(ALSA, OPTIONS, {});
  assertEquals(args.filter((arg) => arg === "-map").length, 1);
});
