// The microphones of described sound systems (fixtures/sound) as the recorder gets them: searched for
// each time, remembered, and explained.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { inOneLine, problems } from "../../src/status/problems.ts";
import { readMicrophones } from "../../src/microphone/last_microphone.ts";
import { identify, NoMicrophoneError } from "../../src/microphone/microphone_choice.ts";
import { SystemMicrophones } from "../../src/microphone/microphones.ts";
import { microphonesRig as setUp } from "../fixtures/microphones_rig.ts";

Deno.test("find() reads the system each time: it returns the present card id, never a stored one", async () => {
  await using setup = await setUp("one_usb_microphone", "usb:1-1.2");
  const pcms = async () =>
    (await setup.microphones.find()).attempts.flatMap((source) =>
      source.kind === "alsa" && source.sampleRate === 48_000 ? [source.pcm] : []
    );
  assertEquals(await pcms(), ["hw:CARD=Device,DEV=0", "plughw:CARD=Device,DEV=0"]);
  await setup.edit("/proc/asound/cards", (text) => text.replace("[Device  ", "[Device_1"));
  assertEquals(await pcms(), ["hw:CARD=Device_1,DEV=0", "plughw:CARD=Device_1,DEV=0"]);
  await setup.edit("/proc/asound/pcm", () => "");
  const { diagnosis } = await assertRejects(() => setup.microphones.find(), NoMicrophoneError);
  assertEquals(diagnosis.code, "microphone_missing");
});

Deno.test("find() reports that there are no sound cards if /proc/asound does not exist yet", async () => {
  await using setup = await setUp(null);
  const error = await assertRejects(() => setup.microphones.find(), NoMicrophoneError);
  assertStringIncludes(error.message, "there are no sound cards");
});

Deno.test("the microphone that delivered sound is kept, also by the next run", async () => {
  await using setup = await setUp("two_equal_usb_microphones");
  const first = await setup.microphones.find();
  assertEquals(first.device?.usb?.path, "1-1.3");
  assertEquals((await readMicrophones(setup.root)).last, null, "there was no sound yet");

  const second = await new SystemMicrophones({ ...setup.options, audioDevice: "usb:1-1.2" }).find();
  await setup.microphones.remember(second);
  assertEquals((await setup.microphones.find()).device?.usb?.path, "1-1.2");
  const nextRun = await new SystemMicrophones(setup.options).find();
  assertEquals([nextRun.device?.usb?.path, nextRun.isStandIn], ["1-1.2", false]);
  assertEquals([...Deno.readDirSync(setup.root)].filter(({ name }) => /tmp/.test(name)), []);

  // The file is written only when it changes, to spare the SD card.
  const written = Deno.statSync(setup.file).ino;
  await setup.microphones.remember(second);
  await new SystemMicrophones(setup.options).remember(second);
  assertEquals(Deno.statSync(setup.file).ino, written);
});

Deno.test("the time of a stand-in is remembered, separately for each stand-in", async () => {
  await using setup = await setUp("two_equal_usb_microphones");
  const own = await setup.microphones.find();
  await setup.microphones.remember(own);
  const all = await Deno.readTextFile(`${setup.root}/proc/asound/pcm`);
  await setup.edit("/proc/asound/pcm", (text) => text.replace(/^00-00.*\n/m, "")); // it is away
  const twin = await setup.microphones.find();
  assertEquals([twin.device?.usb?.path, twin.isStandIn], ["1-1.2", true]);
  assertEquals(await setup.microphones.countStandIn(twin, 1000), 1000);
  // The program restarts in between.
  const again = new SystemMicrophones(setup.options);
  assertEquals(await again.countStandIn(twin, 500), 1500);
  assertEquals((await readMicrophones(setup.root)).last, own.device && identify(own.device));
  assertEquals(await again.countStandIn(own, 70), 70, "another one starts at zero");
  await setup.edit("/proc/asound/pcm", () => all);
  await again.remember(await again.find());
  assertEquals((await readMicrophones(setup.root)).standIn, null);
  assertEquals(await again.countStandIn(twin, 5), 5);
});

Deno.test("find() skips a microphone without sound, and a serial number is not forgotten", async () => {
  await using setup = await setUp("two_equal_usb_microphones");
  const own = await setup.microphones.find();
  await setup.microphones.remember(own);
  const other = await setup.microphones.find(own);
  assertEquals([other.device?.usb?.path, other.isStandIn], ["1-1.2", true]);
  assert(own.device?.usb);
  const device = { ...own.device, usb: { ...own.device.usb, serial: null } };
  await setup.microphones.remember({ ...own, device });
  assertEquals((await readMicrophones(setup.root)).last?.serial, "AB12");
});

Deno.test("a microphone that could not be saved is saved the next time", async () => {
  await using setup = await setUp("one_usb_microphone");
  const microphone = await setup.microphones.find();
  await Deno.mkdir(`${setup.file}.tmp/full`, { recursive: true }); // this blocks the write
  await assertRejects(() => setup.microphones.remember(microphone));
  await Deno.remove(`${setup.file}.tmp`, { recursive: true });
  await setup.microphones.remember(microphone);
  assertEquals((await readMicrophones(setup.root)).last?.path, "1-1.2");
});

Deno.test("a broken microphone.json is treated as missing", async () => {
  for (const text of ["", "{", "null", "[]", '{"name":1}', "\0\0\0\0", '{"path":"1-1.2"}']) {
    await using setup = await setUp("two_equal_usb_microphones");
    await Deno.writeTextFile(setup.file, text);
    const { device, reason } = await setup.microphones.find();
    assertEquals(device?.usb?.path, "1-1.3", text);
    assertStringIncludes(reason, "lowest number");
  }
});

Deno.test("a microphone that is not on USB is a stopgap, unless audio_device names it", async () => {
  for (const [audioDevice, expected] of [[null, true], ["name:HDA", false]] as const) {
    await using setup = await setUp("capture_at_device_1", audioDevice);
    await setup.edit("/proc/asound/pcm", (text) => text.replace(/^03-01.*$/m, ""));
    const { device, isStopgap } = await setup.microphones.find();
    assertEquals([device?.name, isStopgap], ["HDA Intel PCH", expected]);
  }
});

Deno.test("a PCM with a card number that has become another device is a stand-in, under its own name", async () => {
  await using setup = await setUp("two_equal_usb_microphones", "plughw:1,0");
  const { microphones, options } = setup;
  const find = (more = {}) => new SystemMicrophones({ ...options, ...more }).find();
  const rename = (from: string, to: string) =>
    setup.edit("/proc/asound/cards", (text) => text.replace(from, to));
  await rename(" 1 [", " 9 [");
  assertEquals((await find()).name, "plughw:1,0", "no card has this number");
  await rename(" 9 [", " 1 [");
  const first = await microphones.find();
  assertEquals([first.name, first.device?.usb?.path, first.isStandIn], [
    "USB PnP Sound Device",
    "1-1.2",
    false,
  ]);
  await microphones.remember(first);
  assertEquals((await find()).isStandIn, false, "the same one");
  assertEquals((await find({ audioDevice: "plughw:0,0" })).isStandIn, false, "it was chosen anew");
  // The machine starts again, and the kernel finds them in the other order.
  await setup.edit(
    "/microphone.json",
    (text) => text.replace("1-1.2", "1-1.3").replace("AB34", "AB12"),
  );
  const other = await find();
  assertEquals([other.name, other.isStandIn], ["USB PnP Sound Device", true]);
  assertEquals(
    other.reason,
    '"USB PnP Sound Device" (card 1, usb:1-1.2): audio_device "plughw:1,0" names it now, and named ' +
      '"USB PnP Sound Device" at usb:1-1.3 before',
  );
  const again = new SystemMicrophones(options);
  await again.countStandIn(other, 1000);
  assertEquals((await find()).isStandIn, true, "still");
  await again.remember(other); // after a working day
  assertEquals((await find()).isStandIn, false);
  // Another model in the same socket takes the place of the last one.
  await rename("USB PnP Sound Device", "USB Mic");
  await setup.edit("/microphone.json", (text) => text.replace("USB PnP", "Old USB PnP"));
  assertEquals((await find()).isStandIn, false);
});

Deno.test("plugged() is true once for a device that appeared since the last call", async () => {
  await using setup = await setUp("one_usb_microphone");
  await Deno.mkdir(`${setup.root}/dev/snd`, { recursive: true });
  await setup.microphones.find();
  assertEquals(await setup.microphones.plugged(), false);
  await setup.edit("/dev/snd/pcmC1D0c", () => "");
  assertEquals(await setup.microphones.plugged(), true);
  assertEquals(await setup.microphones.plugged(), false);
  await Deno.remove(`${setup.root}/dev/snd/pcmC1D0c`);
  assertEquals(await setup.microphones.plugged(), false);
});

Deno.test("while changes are reported, the system is read only after a report", async () => {
  await using setup = await setUp("one_usb_microphone");
  await Deno.mkdir(`${setup.root}/dev/snd`, { recursive: true });
  let [reports, isWatched] = [0, true];
  const events = {
    sighting: () => ({ count: reports, atMs: 0 }),
    isCurrent: ({ count }: { count: number }) => isWatched && count === reports,
    wait: () => Promise.resolve(),
  };
  const microphones = new SystemMicrophones({ ...setup.options, events });
  const cardId = async () => (await microphones.find()).device?.cardId;
  assertEquals(await cardId(), "Device");

  await setup.edit("/proc/asound/cards", (text) => text.replace("[Device  ", "[Device_1"));
  await setup.edit("/dev/snd/pcmC1D0c", () => "");
  assertEquals([await cardId(), await microphones.plugged()], ["Device", false]);
  reports++;
  assertEquals([await microphones.plugged(), await cardId()], [true, "Device_1"]);

  await setup.edit("/proc/asound/cards", (text) => text.replace("[Device_1", "[Device_2"));
  assertEquals(await cardId(), "Device_1");
  isWatched = false;
  assertEquals(await cardId(), "Device_2", "without reports each call reads the system");
});

Deno.test("a helper that lives and reports nothing hides a plug for a minute only", async () => {
  await using setup = await setUp("one_usb_microphone");
  await Deno.mkdir(`${setup.root}/dev/snd`, { recursive: true });
  let nowMs = 0;
  const events = {
    sighting: () => ({ count: 0, atMs: nowMs }),
    isCurrent: ({ atMs }: { atMs: number }, mostMs = 600_000) => nowMs - atMs < mostMs,
    wait: () => Promise.resolve(),
  };
  const microphones = new SystemMicrophones({ ...setup.options, events });
  const cardId = async () => (await microphones.find()).device?.cardId;
  assertEquals(await cardId(), "Device");
  await setup.edit("/proc/asound/cards", (text) => text.replace("[Device  ", "[Device_1"));
  await setup.edit("/dev/snd/pcmC1D0c", () => "");
  nowMs = 59_000;
  assertEquals([await microphones.plugged(), await cardId()], [false, "Device"]);
  nowMs = 61_000;
  assertEquals([await microphones.plugged(), await cardId()], [true, "Device_1"]);
});

Deno.test("explain() says which process uses it, which group may open it, and what it offers", async () => {
  await using setup = await setUp("one_usb_microphone");
  const { microphones, root } = setup;
  const microphone = await microphones.find();
  const busy = problems.busy("hw:1,0");
  assertStringIncludes(
    inOneLine(await microphones.explain(busy, microphone)),
    "by another program, which this user may not see. Find it with sudo fuser -v",
  );
  await Deno.mkdir(`${root}/proc/asound/card1/pcm0c/sub0`, { recursive: true });
  await setup.edit("/proc/asound/card1/pcm0c/sub0/status", () => "owner_pid   : 77\n");
  // Where the processes of other users are hidden, their control groups are still visible.
  const users = "/sys/fs/cgroup/user.slice/user@1000.service/session.slice/pipewire.service";
  await Deno.mkdir(`${root}${users}`, { recursive: true });
  await setup.edit(`${users}/cgroup.threads`, () => "7\n77\n");
  assertStringIncludes(
    inOneLine(await microphones.explain(busy, microphone)),
    "is in use by pipewire.service (process 77). Stop it for good: sudo systemctl --global mask " +
      "pipewire.socket pipewire.service wireplumber.service, then restart the machine",
  );
  await Deno.mkdir(`${root}/proc/77`, { recursive: true });
  await setup.edit("/proc/77/comm", () => "arecord\n");
  await setup.edit("/proc/77/cgroup", () => "0::/user.slice/user-1000.slice/session-3.scope\n");
  assertEquals(
    inOneLine(await microphones.explain(busy, microphone)),
    "The microphone USB PnP Sound Device is in use by arecord (process 77). " +
      "Stop it: sudo kill 77",
  );
  const cgroup = "1:name=systemd:/\n0::/system.slice/recorder-agent.service\n";
  await setup.edit("/proc/77/cgroup", () => cgroup);
  const own = await microphones.explain(busy, microphone);
  assertStringIncludes(own.message, "is in use by arecord (of recorder-agent, process 77)");
  assert(!/\bkill\b/.test(own.fix), own.fix);

  await Deno.mkdir(`${root}/dev/snd`, { recursive: true });
  await Deno.writeTextFile(`${root}/dev/snd/pcmC1D0c`, "", { mode: 0o600 });
  const { message } = await microphones.explain(problems.forbidden("hw:1,0"), microphone);
  assert(/: \/dev\/snd\/pcmC1D0c belongs to the group \w+ \(mode 600\)$/.test(message), message);

  const format = await microphones.explain(problems.format("hw:1,0"), microphone);
  assertStringIncludes(format.message, "it offers 1 channel at 44100, 48000 Hz as S16_LE");
  const lost = problems.lost(0, "");
  assertEquals(await microphones.explain(lost, microphone), lost);
});
