// What ffmpeg says when a microphone fails, and the cause that the program names. The lines of ffmpeg 5.1 and 7.1
// are those of Debian 12 and 13 with the zoo of tests/fixtures/zoo.ts; those of other versions follow from the
// sources of FFmpeg.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Causes, parseLine } from "../../src/capture/causes.ts";
import type { CaptureSource } from "../../src/microphone/capture_attempts.ts";
import type { Diagnosis } from "../../src/status/problems.ts";
import { inOneLine } from "../../src/status/problems.ts";

const ALSA: CaptureSource = { kind: "alsa", pcm: "mic", channels: 1, sampleRate: 48000 };

function diagnose(...lines: string[]): Diagnosis {
  const causes = new Causes(ALSA);
  for (const line of lines) causes.take(parseLine(line));
  return causes.diagnose(1);
}

/** Code and a part of the words, by what is wrong. */
const EXPECTED: Record<string, readonly [string, string]> = {
  "wrong channel count": ["microphone_format", "format"],
  "wrong sample format": ["microphone_format", "format"],
  "unplugged": ["microphone_missing", "not connected"],
  "bad link": ["microphone_lost", "cable"],
  "bad link at the start": ["microphone_lost", "cable"],
  "read error": ["microphone_lost", "cable"],
  "I/O error": ["microphone_lost", "cable"],
  "no bandwidth": [
    "microphone_lost",
    "another port or hub, unplug a camera, or lower sample_rate: the USB bus has no bandwidth left",
  ],
  "no answer": ["microphone_lost", "plug it in again"],
  "no memory": ["microphone_lost", "no memory"],
  "no sound server": [
    "microphone_missing",
    "the sound server (PulseAudio or PipeWire), which does not run",
  ],
  "PulseAudio not running": ["microphone_missing", "belongs to PulseAudio, which does not run"],
  "busy": ["microphone_busy", "in use"],
  "unknown PCM": ["microphone_missing", "not connected"],
  "no card of this number": ["microphone_missing", "not connected"],
  "no card of this name": ["microphone_missing", "not connected"],
  "broken asound.conf": ["alsa_config_broken", "/etc/asound.conf: _toplevel_:3:0:Unexpected char"],
};

for (const version of ["5.1", "7.1"]) {
  Deno.test(`the cause of every failure is found in the lines of ffmpeg ${version}`, async () => {
    const path = new URL(`../fixtures/ffmpeg_lines/${version}.txt`, import.meta.url);
    const text = await Deno.readTextFile(path);
    const sections = text.split(/^== /m).slice(1).map((section) => section.trim().split("\n"));
    const names = sections.map(([name]) => name);
    assertEquals(names.toSorted(), Object.keys(EXPECTED).toSorted());
    for (const [name = "", ...lines] of sections) {
      const diagnosis = diagnose(...lines);
      const [code, words] = EXPECTED[name] ?? [];
      assertEquals(diagnosis.code, code, name);
      assertStringIncludes(inOneLine(diagnosis), words ?? "", name);
      // ffmpeg sets the format first: with another channel count the PCM has no other format.
      assertEquals(diagnosis.rulesOutPcm === true, name === "wrong sample format", name);
    }
  });
}

Deno.test("the consequences that each version of ffmpeg reports after the cause do not hide it", () => {
  const consequences = {
    "4.3": ["[error] mic: Input/output error"],
    "6.1": [
      "[in#0 @ 0x55] [error] Error opening input: Input/output error",
      "[error] Error opening input file mic.",
      "[error] Error opening input files: Input/output error",
    ],
    "8": [
      "[in#0 @ 0x55] [error] Error opening input: Input/output error",
      "[error] Error opening input file mic.",
      "[fatal] Error opening input files: Input/output error",
    ],
  };
  for (const [version, lines] of Object.entries(consequences)) {
    for (
      const [reason, code] of [
        ["Device or resource busy", "microphone_busy"],
        ["Permission denied", "microphone_forbidden"],
        ["Operation not permitted", "microphone_forbidden"],
        ["No such device", "microphone_missing"],
        ["Host is down", "microphone_missing"],
      ] as const
    ) {
      const cause = `[alsa @ 0x55] [error] cannot open audio device mic (${reason})`;
      assertEquals(diagnose(cause, ...lines).code, code, `${version}: ${reason}`);
    }
  }
});

Deno.test("a line with several contexts is read like a line with one", () => {
  const text = "cannot set sample rate (Invalid argument)";
  for (
    const contexts of [
      "[alsa @ 0x55] ",
      "[alsa @ 0x55] [alsa @ 0x66] ",
      "[in#0 @ 0x55] [alsa @ 0x66] ",
    ]
  ) {
    assertEquals(parseLine(`${contexts}[error] ${text}`), { level: "error", text, isAlsa: true });
    assertEquals(diagnose(`${contexts}[error] ${text}`).code, "microphone_format");
  }
  assertEquals(parseLine("plain text"), { level: "info", text: "plain text", isAlsa: false });
});

Deno.test("the first error of an attempt is its cause, and sound ends the attempt to open", () => {
  const first = "[alsa @ 0x55] [error] cannot set parameters (No space left on device)";
  const second = "[alsa @ 0x55] [error] cannot open audio device mic (No such device)";
  assertStringIncludes(diagnose(first, second).fix, "bandwidth");

  const causes = new Causes(ALSA);
  causes.take(parseLine("ALSA lib conf.c:1:(x) No such file or directory"));
  causes.heard();
  assertEquals(
    causes.diagnose(255).code,
    "microphone_lost",
    "what was said before no longer counts",
  );
  causes.take(parseLine("[alsa @ 0x55] [error] ALSA read error: Protocol error"));
  causes.heard(); // the sound that ffmpeg still held
  assertStringIncludes(causes.diagnose(1).message, "Protocol error");
});

Deno.test("what concerns ffmpeg itself is not blamed on the microphone", () => {
  for (
    const [line, code] of [
      ["[error] Unknown encoder 'libopus'", "ffmpeg_incomplete"],
      ["[error] Unknown input format: 'alsa'", "ffmpeg_incomplete"],
      ["setpriv: failed to execute ffmpeg: No such file or directory", "ffmpeg_missing"],
      ["setpriv: setgroups failed: Operation not permitted", "microphone_lost"],
      ["[error] Error opening output unix:/run/sound.sock: Connection refused", "microphone_lost"],
      ["[alsa @ 0x55] [warning] ALSA buffer xrun.", "microphone_lost"],
    ] as const
  ) assertEquals(diagnose(line).code, code, line);
  assertStringIncludes(diagnose("[error] Unknown encoder 'libopus'").fix, "apt-get install");
  assertStringIncludes(diagnose("[error] the last line").message, "the last line");
});

Deno.test("a PCM whose plugin is not installed is not called unplugged", () => {
  const said = diagnose(
    "ALSA lib dlmisc.c:337:(snd_dlobj_cache_get0) Cannot open shared library " +
      "libasound_module_pcm_pulse.so (libasound_module_pcm_pulse.so: cannot open shared object file: " +
      "No such file or directory)",
    "[alsa @ 0x55] [error] cannot open audio device mic (No such device or address)",
  );
  assertEquals(said.code, "alsa_config_broken");
  assertStringIncludes(inOneLine(said), "libasound_module_pcm_pulse.so");
});

Deno.test("hints of ALSA's library are kept in a small number", () => {
  const causes = new Causes(ALSA);
  for (let n = 0; n < 100_000; n++) causes.take(parseLine(`ALSA lib pcm.c:${n}:(x) chatter`));
  assert(causes.diagnose(1).code === "microphone_lost");
});

Deno.test("a machine that slept is the cause, whatever ffmpeg says after it", () => {
  // What ff_alsa_xrun_recover() of ffmpeg says, and what its caller adds.
  const diagnosis = diagnose(
    "[alsa @ 0x55] [error] -ESTRPIPE... Unsupported!",
    "[alsa @ 0x55] [error] ALSA read error: Streams pipe error",
  );
  assertEquals(diagnosis.code, "microphone_lost");
  assertStringIncludes(diagnosis.fix, "Turn suspend off");
});
