import type { CaptureSource } from "../../../src/microphone/capture_attempts.ts";
import { join } from "@std/path/join";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import type { SoundLevels } from "../../../src/status/levels.ts";
import { inOneLine } from "../../../src/status/problems.ts";
import { Ffmpeg, FfmpegMissingError } from "../../../src/capture/ffmpeg.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { OpusStreamReader } from "../../../src/chunk/opus.ts";
import { withFakePrograms } from "../../fixtures/fake_programs.ts";

const ALSA: CaptureSource = { kind: "alsa", pcm: "hw:1,0", channels: 1, sampleRate: 48000 };
const TONE: CaptureSource = { kind: "lavfi", graph: "sine=440:sample_rate=48000" };
const OPTIONS = { sampleRate: 48000, bitrateKbps: 24, socketDir: null };

/** Reads the sound to its end; resolves with the number of packets. */
async function countPackets(ffmpeg: Ffmpeg, onPacket: () => void = () => {}): Promise<number> {
  const reader = new OpusStreamReader();
  let packets = 0;
  for await (const bytes of ffmpeg.sound()) {
    for (const event of reader.push(bytes)) {
      if (event.kind !== "packet") continue;
      packets++;
      onPacket();
    }
  }
  return packets;
}

/** Whether the process runs: it has not ended, and is not a zombie. */
async function isRunning(pid: string): Promise<boolean> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
  return stat !== "" && !/\) Z /.test(stat);
}

function withFakeFfmpeg(script: string | null, test: () => Promise<void>): Promise<void> {
  return withFakePrograms({ ffmpeg: script }, test);
}

Deno.test("a real ffmpeg delivers packets at once, and levels, and ends cleanly on request", async () => {
  const dir = await Deno.makeTempDir();
  const options = { ...OPTIONS, socketDir: dir };
  const ffmpeg = Ffmpeg.start(TONE, options, () => {});
  let stopped = Promise.resolve(false);
  let count = 0;
  // The tone has no end: packets that can be counted have come while ffmpeg ran.
  const packets = await countPackets(ffmpeg, () => {
    if (++count === 60) stopped = ffmpeg.stop(systemClock);
  });
  assertEquals(await stopped, true);
  await ffmpeg.ended;
  assert(packets >= 60, `${packets} packets`);
  // sine gives 1/8 of full scale: -18 dBFS of peak, 3 dB less of RMS.
  const levels = ffmpeg.levels?.take(48_000);
  assertEquals(Math.round(levels?.peakDbfs ?? 0), -18);
  assertEquals(Math.round(levels?.rmsDbfs ?? 0), -21);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("levels are those of the recorded sound, and raw levels those of the sound of the microphone", async () => {
  const dir = await Deno.makeTempDir();
  // A sine 12 dB beyond full scale, which is 1/8 otherwise: its tops are cut off.
  const graph = "sine=300:sample_rate=48000:duration=1,volume=30dB,aformat=s16";
  for (const [gainDb, peakDbfs] of [[0, 0], [-6, -6]] as const) {
    const raw: SoundLevels[] = [];
    const options = { ...OPTIONS, gainDb, socketDir: dir };
    const ffmpeg = Ffmpeg.start(
      { kind: "lavfi", graph },
      { ...options, onRawLevels: (levels) => raw.push(levels) },
      () => {},
    );
    await countPackets(ffmpeg);
    await ffmpeg.ended;
    const recorded = ffmpeg.levels?.take(48_000);
    assertEquals(Math.round(recorded?.peakDbfs ?? NaN), peakDbfs);
    assertEquals((recorded?.clippedShare ?? 0) > 0.5, gainDb === 0);
    assertEquals(raw.length, 10);
    for (const levels of raw) {
      assertEquals(Math.round(levels.peakDbfs), 0);
      assert(levels.clippedShare > 0.5, `${levels.clippedShare}`);
    }
  }
  assertEquals([...Deno.readDirSync(dir)], []);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("an ffmpeg that ends before it has connected ends the sound, and leaves no socket", async () => {
  const dir = await Deno.makeTempDir();
  for (const script of ["exit 1", "sleep 0.3; exit 1"]) {
    await withFakeFfmpeg(script, async () => {
      const ffmpeg = Ffmpeg.start(TONE, { ...OPTIONS, socketDir: dir }, () => {});
      assertEquals(await countPackets(ffmpeg), 0);
      assertStringIncludes((await ffmpeg.ended).message, "(exit code 1)");
    });
    assertEquals([...Deno.readDirSync(dir)], []);
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("sound and levels of an ffmpeg that ran only briefly are read to the end", async () => {
  const dir = await Deno.makeTempDir();
  const short: CaptureSource = { kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=0.1" };
  for (let run = 0; run < 5; run++) {
    const ffmpeg = Ffmpeg.start(short, { ...OPTIONS, socketDir: dir }, () => {});
    await ffmpeg.ended; // the test does not read until then
    assertEquals(await countPackets(ffmpeg), 6); // 4,800 samples and the pre-skip of 312
    await ffmpeg.ended;
    assertEquals(Math.round(ffmpeg.levels?.take(48_000)?.peakDbfs ?? 0), -18);
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("without a socket there are no levels, which is reported, but the sound is recorded", async () => {
  const reasons: string[] = [];
  const ffmpeg = Ffmpeg.start(
    TONE,
    {
      ...OPTIONS,
      socketDir: "/nonexistent",
      onNoSocket: (error) => reasons.push(`${error}`),
    },
    () => {},
  );
  assertEquals(ffmpeg.levels, null);
  assertStringIncludes(reasons[0] ?? "", "No such file");
  let stopped: Promise<boolean> | undefined;
  const packets = await countPackets(ffmpeg, () => {
    stopped ??= ffmpeg.stop(systemClock);
  });
  await stopped;
  assert(packets > 0);
});

Deno.test("a microphone that is not connected gives a diagnosis with its name", async () => {
  const lines: string[] = [];
  const absent: CaptureSource = { ...ALSA, pcm: "hw:CARD=Nowhere,DEV=0" };
  const ffmpeg = Ffmpeg.start(absent, OPTIONS, (_, text) => lines.push(text));
  assertEquals(await countPackets(ffmpeg), 0);
  const diagnosis = await ffmpeg.ended;
  assertEquals(diagnosis.code, "microphone_missing", lines.join("\n"));
  assertStringIncludes(diagnosis.message, "hw:CARD=Nowhere,DEV=0");
});

Deno.test("an ffmpeg that ignores SIGINT and SIGTERM is killed", async () => {
  await withFakeFfmpeg(
    "trap '' INT TERM; echo ready >&2; while :; do sleep 0.1; done",
    async () => {
      const ready = Promise.withResolvers<void>();
      const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, () => ready.resolve());
      await ready.promise;
      await ffmpeg.stop(hurried);
      assertEquals(await countPackets(ffmpeg), 0);
      assertStringIncludes((await ffmpeg.ended).message, `(exit code ${128 + 9})`);
    },
  );
});

/** Shortens every wait: the test only checks that each step is taken. */
const hurried = {
  ...systemClock,
  sleep: (_: number, signal?: AbortSignal) => systemClock.sleep(50, signal),
};

Deno.test("an ffmpeg that is a script ends together with every process that it started", async () => {
  await withFakeFfmpeg("trap : INT TERM; sleep 600 & echo $! >&2; wait; wait", async () => {
    const child = Promise.withResolvers<string>();
    const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, (_, text) => child.resolve(text));
    const pid = await child.promise;
    assert(await isRunning(pid));
    assertEquals(await ffmpeg.stop(hurried), true);
    assertEquals(await countPackets(ffmpeg), 0);
    assert(!await isRunning(pid));
  });
});

Deno.test("an ffmpeg that even SIGKILL does not end is left behind, and delays nothing", async () => {
  // Its output stays open, like that of a process that hangs in a driver.
  await withFakeFfmpeg("setsid sh -c 'echo $$ >&2; exec sleep 600' & wait", async () => {
    const child = Promise.withResolvers<string>();
    const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, (_, text) => child.resolve(text));
    const packets = countPackets(ffmpeg);
    const pid = Number(await child.promise);
    assertEquals(await ffmpeg.stop(hurried, { stalled: true }), false);
    assertEquals(await packets, 0);
    Deno.kill(pid, "SIGKILL");
  });
});

Deno.test("ffmpeg's message that a mono microphone is mono is not a warning", async () => {
  const script = "echo '[warning] Guessed Channel Layout for Input Stream #0.0 : mono' >&2";
  await withFakeFfmpeg(script, async () => {
    const levels: string[] = [];
    const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, (level) => levels.push(level));
    await countPackets(ffmpeg);
    await ffmpeg.ended;
    assertEquals(levels, ["info"]);
  });
});

Deno.test("a missing ffmpeg is an error that says how to install it", async () => {
  await withFakePrograms({ ffmpeg: null, setpriv: null }, () => {
    const error = assertThrows(() => Ffmpeg.start(ALSA, OPTIONS, () => {}), FfmpegMissingError);
    assertStringIncludes(inOneLine(error.diagnosis), "apt-get install");
    return Promise.resolve();
  });
  await withFakeFfmpeg(null, async () => {
    const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, () => {});
    assertEquals(await countPackets(ffmpeg), 0);
    assertEquals((await ffmpeg.ended).code, "ffmpeg_missing");
  });
});

Deno.test("an ffmpeg without libopus is an error that says so", async () => {
  const script = "echo \"[error] Unknown encoder 'libopus'\" >&2; exit 1";
  await withFakeFfmpeg(script, async () => {
    const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, () => {});
    await countPackets(ffmpeg);
    assertEquals((await ffmpeg.ended).code, "ffmpeg_incomplete");
  });
});

Deno.test("a flood on stderr, without line ends, neither blocks nor fills the memory", async () => {
  const script =
    "head -c 5000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo '[error] the end' >&2";
  await withFakeFfmpeg(script, async () => {
    let longest = 0;
    const ffmpeg = Ffmpeg.start(ALSA, OPTIONS, (_, text) => {
      longest = Math.max(longest, text.length);
    });
    await countPackets(ffmpeg);
    assertStringIncludes((await ffmpeg.ended).message, "the end");
    assert(longest <= 1000, `a line of ${longest} characters`);
  });
});

Deno.test("a device that was found is opened whatever asound.conf says, and a PCM as asound.conf says", async () => {
  const dir = await Deno.makeTempDir();
  const broken = join(dir, "asound.conf");
  await Deno.writeTextFile(broken, "pcm.shop { type hw card 1\n");
  const before = Deno.env.get("ALSA_CONFIG_PATH");
  Deno.env.set("ALSA_CONFIG_PATH", broken);
  try {
    const diagnose = async (source: CaptureSource) => {
      const ffmpeg = Ffmpeg.start(source, { ...OPTIONS, socketDir: dir }, () => {});
      assertEquals(await countPackets(ffmpeg), 0);
      return await ffmpeg.ended;
    };
    for (const pcm of ["hw:CARD=Nowhere,DEV=0", "plughw:CARD=Nowhere,DEV=0", "plughw:31,7"]) {
      const { code } = await diagnose({ ...ALSA, pcm, isFound: true });
      assertEquals(code, "microphone_missing", `${pcm} is looked for`);
    }
    const named = await diagnose({ ...ALSA, pcm: "shop" });
    assertEquals(named.code, "alsa_config_broken");
    assertStringIncludes(named.message, `${broken}: _toplevel_:2:0:`);
  } finally {
    if (before === undefined) Deno.env.delete("ALSA_CONFIG_PATH");
    else Deno.env.set("ALSA_CONFIG_PATH", before);
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a device that was found is opened even if no configuration can be written", async () => {
  await withFakeFfmpeg('echo "config: $ALSA_CONFIG_PATH" >&2', async () => {
    for (const socketDir of [null, "/nonexistent"]) {
      const said: string[] = [];
      const source = { ...ALSA, isFound: true };
      const ffmpeg = Ffmpeg.start(source, { ...OPTIONS, socketDir }, (_, text) => said.push(text));
      await countPackets(ffmpeg);
      await ffmpeg.ended;
      assertEquals(said, [`config: ${Deno.env.get("ALSA_CONFIG_PATH") ?? ""}`.trim()]);
    }
  });
});
