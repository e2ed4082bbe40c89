// What other programs make of a chunk: the samples that they decode, and the length that they state. Each way
// runs the real program.

import { join } from "@std/path/join";
import { decodeToPcm } from "../fixtures/audio.ts";
import { run } from "../fixtures/command.ts";

const RATE = 48_000;

/** A program that decodes a file. */
export interface Decoder {
  readonly name: string;
  /** What must be installed; the decoder is left out if it is not. */
  readonly program: string;
  /** Writes the decoded sound to a WAV file. */
  readonly decode: (file: string, wav: string) => Promise<void>;
}

/** A program that states the length of a file. */
export interface Meter {
  readonly name: string;
  readonly program: string;
  /** Seconds. */
  readonly measure: (file: string) => Promise<number>;
}

async function ffmpeg(decoder: string, file: string, wav: string): Promise<void> {
  await run("ffmpeg", ["-nostdin", "-v", "error", "-y", "-c:a", decoder, "-i", file, wav]);
}

/** Those whose programs the gate installs come first. */
export const GATE_DECODERS: readonly Decoder[] = [
  {
    name: "ffmpeg",
    program: "ffmpeg",
    decode: (file, wav) => ffmpeg("opus", file, wav),
  },
  {
    name: "ffmpeg with libopus",
    program: "ffmpeg",
    decode: (file, wav) => ffmpeg("libopus", file, wav),
  },
  {
    name: "opusdec",
    program: "opusdec",
    decode: async (file, wav) => {
      await run("opusdec", ["--quiet", "--no-dither", "--rate", String(RATE), file, wav]);
    },
  },
];

export const DECODERS: readonly Decoder[] = [
  ...GATE_DECODERS,
  {
    name: "libsndfile",
    program: "sndfile-convert",
    decode: async (file, wav) => void await run("sndfile-convert", ["-pcm16", file, wav]),
  },
  {
    name: "GStreamer",
    program: "gst-launch-1.0",
    decode: async (file, wav) => {
      const pipeline = `filesrc location=${file} ! oggdemux ! opusdec ! audioconvert ! ` +
        `audio/x-raw,format=S16LE,channels=1 ! wavenc ! filesink location=${wav}`;
      await run("gst-launch-1.0", ["-q", ...pipeline.split(" ")]);
    },
  },
  {
    name: "mpv",
    program: "mpv",
    decode: async (file, wav) => {
      const options = ["--no-config", "--really-quiet", "--ao=pcm", `--ao-pcm-file=${wav}`];
      await run("mpv", [...options, file]);
    },
  },
  {
    name: "VLC",
    program: "cvlc",
    decode: async (file, wav) => {
      const output = ["--aout=afile", `--audiofile-file=${wav}`, "--audiofile-format=s16"];
      await run(...vlc([...output, file], join(wav, "..")));
    },
  },
];

/** VLC refuses to run as root. @param home where it may write. */
export function vlc(args: readonly string[], home: string): [string, string[]] {
  const all = ["-I", "dummy", "--quiet", "--no-video", "--play-and-exit", ...args];
  if (Deno.uid() !== 0) return ["cvlc", all];
  Deno.chmodSync(home, 0o777);
  const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
  return ["setpriv", [...nobody, "env", `HOME=${home}`, "cvlc", ...all]];
}

async function text(program: string, args: string[]): Promise<string> {
  const { stdout } = await run(program, args);
  return new TextDecoder().decode(stdout);
}

export const METERS: readonly Meter[] = [
  {
    name: "opusinfo",
    program: "opusinfo",
    measure: async (file) => {
      const [, minutes, seconds] = /Playback length: (\d+)m:([\d.]+)s/.exec(
        await text("opusinfo", [file]),
      ) ?? [];
      return Number(minutes) * 60 + Number(seconds);
    },
  },
  {
    name: "libsndfile",
    program: "sndfile-info",
    measure: async (file) => {
      const [, hms = ""] = /Duration\s*: ([\d:.]+)/.exec(await text("sndfile-info", [file])) ?? [];
      return hms.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
    },
  },
  {
    name: "GStreamer",
    program: "gst-discoverer-1.0",
    measure: async (file) => {
      const said = await text("gst-discoverer-1.0", [file]);
      const [, hms = ""] = /Duration: ([\d:.]+)/.exec(said) ?? [];
      return hms.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
    },
  },
  {
    name: "mutagen",
    program: "mutagen-inspect",
    measure: async (file) => {
      const code = "import sys, mutagen; print(mutagen.File(sys.argv[1]).info.length)";
      return Number(await text("/usr/bin/python3", ["-c", code, file]));
    },
  },
  {
    name: "ffprobe",
    program: "ffprobe",
    measure: async (file) => {
      const show = ["-show_entries", "format=duration", "-of", "csv=p=0"];
      return Number(await text("ffprobe", ["-v", "error", ...show, file]));
    },
  },
  {
    name: "mediainfo",
    program: "mediainfo",
    measure: async (file) =>
      Number(await text("mediainfo", ["--Inform=Audio;%Duration%", file])) / 1000,
  },
];

/**
 * ffmpeg and ffprobe of another Debian, which is in this folder (as `deno task test:debian13` leaves it). Needs
 * root.
 */
export function otherDebian(root: string): { decoders: Decoder[]; meters: Meter[] } {
  // The folder with the files is mounted in a namespace that goes with the program.
  const inside = (program: string, dir: string, args: readonly string[]): [string, string[]] => {
    const script = `mount --bind "$0" ${root}/mnt && exec chroot ${root} "$@"`;
    return ["unshare", ["--mount", "sh", "-c", script, dir, `/usr/bin/${program}`, ...args]];
  };
  const below = (file: string) => ["/mnt", file.slice(file.lastIndexOf("/") + 1)].join("/");
  const decoder = (codec: string): Decoder => ({
    name: `ffmpeg of ${root}, ${codec}`,
    program: "unshare",
    decode: async (file, wav) => {
      const options = ["-nostdin", "-v", "error", "-c:a", codec, "-i", below(file)];
      const args = [...options, "-f", "wav", "-"];
      const { stdout } = await run(...inside("ffmpeg", join(file, ".."), args));
      await Deno.writeFile(wav, stdout);
    },
  });
  const show = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"];
  return {
    decoders: [decoder("opus"), decoder("libopus")],
    meters: [{
      name: `ffprobe of ${root}`,
      program: "unshare",
      measure: async (file) =>
        Number(await text(...inside("ffprobe", join(file, ".."), [...show, below(file)]))),
    }],
  };
}

/** What a decoder makes of a file, at 48 kHz. */
export async function decodeWith(decoder: Decoder, file: string): Promise<Float32Array> {
  const dir = await Deno.makeTempDir({ prefix: "decoder-" });
  try {
    const wav = join(dir, "decoded.wav");
    await decoder.decode(file, wav);
    return await decodeToPcm(wav);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The largest difference of two sounds in this second of them. */
export function differenceIn(
  heard: Float32Array,
  reference: Float32Array,
  second: number,
): number {
  let largest = 0;
  for (let at = second * RATE; at < (second + 1) * RATE; at++) {
    largest = Math.max(largest, Math.abs((heard[at] ?? 0) - (reference[at] ?? 0)));
  }
  return largest;
}

/** Whether a program is installed. */
export async function isInstalled(program: string): Promise<boolean> {
  const { success } = await new Deno.Command("which", { args: [program] }).output();
  return success;
}
