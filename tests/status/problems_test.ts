// The catalogue: its messages, and that no other module has its own codes or messages.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import {
  type Diagnosis,
  inOneLine,
  isSoundMissing,
  problemCodes,
  problems,
} from "../../src/status/problems.ts";

const SOURCE = new URL("../../src/", import.meta.url).pathname;
const CATALOGUE = join(SOURCE, "status/problems.ts");

/** Every message, with facts. */
function everyWording(): Diagnosis[] {
  const access = { path: "/dev/snd/pcmC1D0c", group: "root", mode: "600" };
  const holder = { pid: 77, program: "arecord" };
  const error = new Deno.errors.PermissionDenied("Permission denied (os error 13)");
  const made = {
    noMicrophone: problems.noMicrophone("there are no sound cards"),
    noMatch: problems.noMatch("usb:1-1", "there are no sound cards"),
    missing: problems.missing("hw:1,0"),
    unclear: problems.unclear("USB", 2, '"A" (card 0), "B" (card 1)'),
    busy: problems.busy("hw:1,0", [holder]),
    forbidden: problems.forbidden("hw:1,0", access),
    format: problems.format("hw:1,0", "2 channels at 44100 Hz"),
    lost: problems.lost(1, "Input/output error"),
    failed: problems.failed("cannot set parameters (Protocol error)", "Check the cable"),
    noSoundServer: problems.noSoundServer("default", "Host is down", "PipeWire"),
    alsaConfigBroken: problems.alsaConfigBroken("shop", "/etc/asound.conf: _toplevel_:3:0"),
    alsaPluginMissing: problems.alsaPluginMissing("shop", "libasound_module_pcm_jack.so"),
    stalled: problems.stalled(10),
    channel: problems.channel("Array", 7, 2),
    scheduleOverlaps: problems.scheduleOverlaps([
      '"mon 08:00-12:00" and "mon 11:00-13:00" overlap on mon 11:00-12:00',
    ]),
    noLevelControl: problems.noLevelControl("USB Mic", "it has no control for its level"),
    amixerMissing: problems.amixerMissing(),
    silent: problems.silent(-90),
    stuck: problems.stuck(-1),
    clipping: problems.clipping(),
    gainTooHigh: problems.gainTooHigh(),
    rate: problems.rate(44_099.6, 48_000),
    tooQuiet: problems.tooQuiet(-52.5, 8),
    standIn: problems.standIn("the last one is away"),
    ffmpegMissing: problems.ffmpegMissing(),
    ffmpegIncomplete: problems.ffmpegIncomplete("libopus encoder"),
    ffmpegStuck: problems.ffmpegStuck(77),
    soundSystemHangs: problems.soundSystemHangs("find gave no answer within 3 s"),
    paused: problems.paused("2026-11-29 15:40:00"),
    recorderFailed: problems.recorderFailed(error),
    uploadFailing: problems.uploadFailing("the server answered 500"),
    uploadMisconfigured: problems.uploadMisconfigured("the server answered 401"),
    uploadRefused: problems.uploadRefused("the server answered 422"),
    uploadTooLarge: problems.uploadTooLarge("the server answered 413", 190_000),
    uploadTooSlow: problems.uploadTooSlow(12.3, 24.5, 36e5),
    chunksTooLarge: problems.chunksTooLarge(2, 190_000),
    chunksPassedOver: problems.chunksPassedOver(2, "0b8f4a4e-5d0e-4c43-9d43-3b8f27a4a001"),
    chunksRejected: problems.chunksRejected(1, "/spool/rejected/"),
    spoolFailed: problems.spoolFailed(error),
    chunksUnfiled: problems.chunksUnfiled(2, error),
    chunksUnmoved: problems.chunksUnmoved(2, error),
    diskLow: problems.diskLow(12),
    diskFull: problems.diskFull(),
    diskFailing: problems.diskFailing(error),
    janitorFailed: problems.janitorFailed("a.ogg: Permission denied"),
    clockNotSynchronized: problems.clockNotSynchronized("2026-11-29 22:10"),
    timeZoneRules: problems.timeZoneRules("Asia/Almaty", "+06:00", "+05:00"),
    healthPortUnavailable: problems.healthPortUnavailable(8042, error),
    metricsPushFailing: problems.metricsPushFailing("the receiver answered 401"),
    configNotApplied: problems.configNotApplied(
      ["config.yaml:3: chunk_seconds: 0 is too short"],
      "earlier",
    ),
    restartNeeded: problems.restartNeeded(["spool_dir", "health_port"]),
    heartbeatFailing: problems.heartbeatFailing("the monitor answered 404"),
    settingsOnCard: problems.settingsOnCard("/boot/firmware/recorder-agent.yaml"),
    updateRolledBack: problems.updateRolledBack("0.3.1", "it ended 3 times"),
  } satisfies Record<keyof typeof problems, Diagnosis>;
  return [
    ...Object.values(made),
    problems.busy("hw:1,0"),
    problems.busy("hw:1,0", [{ ...holder, isOwn: true }]),
    problems.forbidden("hw:1,0"),
    problems.format("hw:1,0"),
    problems.lost(0, ""),
  ];
}

Deno.test("every code has a message, and every message a code", () => {
  const worded = new Set(everyWording().map(({ code }) => code));
  assertEquals([...worded].sort(), problemCodes().sort());
});

Deno.test("a message is a statement and a fix an instruction, each in one line without a full stop", () => {
  const given = /\b(?:mends?|goes on|is no|it is (?:tried|started|opened)|whatever|nobody)\b|\?/i;
  const instruction =
    /^(?:Plug|Name|Find|Stop|Check|Add|Set|Wait|Install|Unplug|Report|Compare|Ask|Fix|Free|Turn|Raise|Get)\b/;
  for (const diagnosis of everyWording()) {
    const { message, fix } = diagnosis;
    for (const words of [message, fix]) assert(!given.test(words) && !/[.\s]$/.test(words), words);
    assertMatch(message, /^[A-Z]|^\d|^audio_device |^ffmpeg /);
    assertMatch(fix, instruction);
    assert(!/\p{Cc}/u.test(inOneLine(diagnosis)), inOneLine(diagnosis));
  }
});

Deno.test("a microphone in use by the service itself is never a reason to kill one of its processes", () => {
  const own = { pid: 77, program: "ffmpeg", isOwn: true } as const;
  assert(!problems.busy("hw:1,0", [own]).fix.includes("kill"));
  const mixed = problems.busy("hw:1,0", [own, { pid: 88, program: "arecord" }]);
  assertEquals(mixed.fix, "Stop it: sudo kill 88");
});

Deno.test("sound is missing while nothing is recorded, and only then", () => {
  const missing = problemCodes().filter(isSoundMissing);
  assert(missing.includes("microphone_lost") && missing.includes("ffmpeg_missing"));
  for (const code of ["microphone_silent", "microphone_stand_in", "disk_low"] as const) {
    assertEquals(isSoundMissing(code), false, code);
  }
});

Deno.test("only the catalogue has codes of problems, and only problem_report.ts sets or clears one", () => {
  const codes = new RegExp(`["'\`](?:${problemCodes().join("|")})["'\`]`);
  const elsewhere: string[] = [];
  const past: string[] = [];
  const walk = (dir: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(dir)) {
      const path = join(dir, name);
      if (isDirectory) walk(path);
      else if (path !== CATALOGUE) {
        // A code that a comment quotes is not used.
        const code = Deno.readTextFileSync(path).replaceAll(/^\s*(\/\*\*[^]*?\*\/|\/\/.*$)/gm, "");
        if (codes.test(code)) elsewhere.push(path);
        if (/\.(?:set|clear)Problem\(/.test(code)) past.push(path);
      }
    }
  };
  walk(SOURCE);
  assertEquals(elsewhere, []);
  assertEquals(past, [join(SOURCE, "status/problem_report.ts")]);
});

Deno.test("a program that has the microphone is stopped in the way that keeps it away", () => {
  const fix = (program: string, service?: { name: string; isUsers: boolean }) =>
    problems.busy("hw:1,0", [{ pid: 77, program, ...(service === undefined ? {} : { service }) }])
      .fix;
  assertEquals(
    fix("motion", { name: "motion.service", isUsers: false }),
    "Stop it for good: sudo systemctl disable --now motion.service",
  );
  assertEquals(
    fix("pulseaudio", { name: "pulseaudio.service", isUsers: true }),
    "Stop it for good: sudo systemctl --global mask pulseaudio.socket pulseaudio.service, then restart " +
      "the machine",
  );
  assertEquals(fix("pulseaudio"), fix("pulseaudio", { name: "pulseaudio.service", isUsers: true }));
  assertStringIncludes(fix("wireplumber"), "pipewire.socket pipewire.service wireplumber.service");
  assertStringIncludes(
    fix("pulseaudio", { name: "pulseaudio.service", isUsers: false }),
    "disable --now pulseaudio.service",
  );
  assertStringIncludes(
    fix("meet", { name: "meet.service", isUsers: true }),
    "--global mask meet.service,",
  );
  assertEquals(fix("arecord"), "Stop it: sudo kill 77");
});
