// Reading described sound systems (fixtures/sound): cards, devices, nodes, holders.

import { assert, assertEquals } from "@std/assert";
import type { CaptureDevice } from "../../../src/microphone/sound_listing.ts";
import {
  readHolders,
  readNodeAccess,
  readSoundNodes,
  readSoundSystem,
  type SoundOptions,
} from "../../../src/microphone/sound_system.ts";
import { soundRoot } from "../../fixtures/sound/root.ts";

async function devicesOf(recording: string): Promise<readonly CaptureDevice[]> {
  await using system = await realRoot(recording);
  return (await readSoundSystem(system)).devices;
}

/** Without a replacement of `find` and `grep`. */
async function realRoot(name: string | null) {
  const { run: _, ...system } = await soundRoot(name);
  return system;
}

Deno.test("readSoundSystem() finds one USB microphone among cards that only play", async () => {
  assertEquals(await devicesOf("one_usb_microphone"), [{
    card: 1,
    device: 0,
    cardId: "Device",
    name: "USB PnP Sound Device",
    alsaName: "hw:CARD=Device,DEV=0",
    usb: { path: "1-1.2", vendorProduct: "0d8c:013c", serial: null },
    offers: {
      channels: [1],
      rates: [44100, 48000],
      altsets: [{ formats: ["S16_LE"], channels: 1, rates: [44100, 48000] }],
    },
  }]);
});

Deno.test("readSoundSystem() distinguishes two equal microphones by path and serial", async () => {
  const devices = await devicesOf("two_equal_usb_microphones");
  assertEquals(devices.map(({ card, cardId, usb }) => [card, cardId, usb?.path, usb?.serial]), [
    [0, "Device", "1-1.3", "AB12"],
    [1, "Device_1", "1-1.2", "AB34"],
  ]);
  assertEquals(devices[0]?.usb?.vendorProduct, devices[1]?.usb?.vendorProduct);
});

Deno.test("readSoundSystem() returns nothing before /proc/asound exists", async () => {
  await using system = await realRoot(null);
  assertEquals(await readSoundSystem(system), { cards: [], devices: [] });
});

Deno.test("readSoundSystem() finds capture at device 1 with its own stream file", async () => {
  const devices = await devicesOf("capture_at_device_1");
  assertEquals(devices.map((device) => device.alsaName), [
    "hw:CARD=PCH,DEV=0",
    "hw:CARD=PCH,DEV=2",
    "hw:CARD=Bar,DEV=1",
  ]);
  assertEquals(devices[0]?.usb, null);
  assertEquals(devices[0]?.offers, null);
  assertEquals(devices[2]?.usb?.path, "1-5.1");
  assertEquals(devices[2]?.offers?.channels, [1, 2]);
  assertEquals(devices[2]?.offers?.rates, [8000, 16000, 32000, 48000]);
  assertEquals(devices[2]?.offers?.altsets.length, 3);
});

Deno.test("readSoundSystem() reads unusual names, truncated characters and continuous rates", async () => {
  const devices = await devicesOf("odd_names");
  assertEquals(devices.map((device) => device.name), [
    "Микрофон [касса",
    "Umik-1  Gain: 18dB",
    "Desk \uFFFD[31mMic : capture 1",
  ]);
  assertEquals(devices[0]?.alsaName, "hw:CARD=default,DEV=0");
  assertEquals(devices[0]?.offers?.rates, { min: 8000, max: 48000 });
});

Deno.test("readSoundSystem() takes the USB path from the long name if there is no sysfs", async () => {
  const devices = await devicesOf("odd_names");
  assertEquals(devices.map((device) => device.usb?.path), [null, "1-1.3.4", null]);
  assertEquals(devices[2]?.usb, { path: null, vendorProduct: null, serial: null });
});

Deno.test("readSoundSystem() lists each card once, even without capture", async () => {
  await using system = await realRoot("pi_without_microphone");
  const { cards } = await readSoundSystem(system);
  assertEquals(cards.map(({ number, id, driver }) => [number, id, driver]), [
    [0, "Headphones", "bcm2835_headpho"],
    [1, "vc4hdmi0", "vc4-hdmi"],
    [2, "vc4hdmi1", "vc4-hdmi"],
  ]);
});

Deno.test("readSoundNodes() returns another line for a node that was created again or given to a group", async () => {
  await using system = await realRoot("one_usb_microphone");
  const snd = `${system.root}/dev/snd`;
  await Deno.mkdir(snd, { recursive: true });
  const isNew = async (change: () => Promise<void>) => {
    const before = await readSoundNodes(system);
    await change();
    return [...await readSoundNodes(system)].some((line) => !before.has(line));
  };
  const node = `${snd}/pcmC1D0c`;
  assertEquals(await isNew(() => Deno.writeTextFile(node, "", { mode: 0o600 })), true);
  assertEquals(await isNew(() => Deno.chmod(node, 0o660)), true);
  assertEquals(
    await isNew(async () => {
      await Deno.writeTextFile(`${node}.new`, "", { mode: 0o660 });
      await Deno.rename(`${node}.new`, node);
    }),
    true,
  );
  assertEquals(await isNew(() => Deno.remove(node)), false);
  assertEquals(await isNew(() => Deno.writeTextFile(`${snd}/pcmC1D0p`, "")), false);
  assertEquals(await isNew(() => Deno.remove(`${system.root}/sys/class/sound/card1`)), false);
});

/** Adds a file, for instance of /proc, to the tree. */
async function add(root: string, path: string, text: string): Promise<void> {
  await Deno.mkdir(`${root}${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
  await Deno.writeTextFile(`${root}${path}`, text);
}

Deno.test("readHolders() returns the process of the thread that ALSA names as the owner", async () => {
  await using system = await realRoot("two_equal_usb_microphones");
  const [first, second] = (await readSoundSystem(system)).devices;
  assert(first !== undefined && second !== undefined);
  await add(system.root, "/proc/asound/card0/pcm0c/sub0/status", "closed\n");
  const running = "state: RUNNING\nowner_pid   : 812\ntrigger_time: 31.4\n";
  await add(system.root, "/proc/asound/card1/pcm0c/sub0/status", running);
  await add(system.root, "/proc/asound/card2/pcm0p/sub0/status", "owner_pid   : 99\n");
  assertEquals(await readHolders(second, system), [{ pid: 812, program: null }]);
  await add(system.root, "/proc/812/status", "Name:\talsa-source\nTgid:\t640\nPid:\t812\n");
  await add(system.root, "/proc/640/comm", "pulseaudio\n");
  const pulse = [{ pid: 640, program: "pulseaudio" }];
  assertEquals(await readHolders(second, system), pulse);
  assertEquals(await readHolders(null, system), pulse);
  assertEquals(await readHolders(first, system), []);
});

Deno.test("readHolders() recognizes a process of the service, seen or hidden", async () => {
  await using system = await realRoot("one_usb_microphone");
  const [device] = (await readSoundSystem(system)).devices;
  assert(device !== undefined);
  await add(system.root, "/proc/asound/card1/pcm0c/sub0/status", "owner_pid   : 812\n");
  const unit = "/sys/fs/cgroup/system.slice/recorder-agent.service";
  await add(system.root, `${unit}/cgroup.threads`, "811\n812\n");
  assertEquals(await readHolders(device, system), [
    { pid: 812, program: "recorder-agent.service", isOwn: true },
  ]);
  await add(system.root, "/proc/812/comm", "ffmpeg\n");
  await add(system.root, "/proc/812/cgroup", "0::/system.slice/recorder-agent.service\n");
  assertEquals(await readHolders(device, system), [{ pid: 812, program: "ffmpeg", isOwn: true }]);
  await Deno.writeTextFile(
    `${system.root}/proc/812/cgroup`,
    "0::/system.slice/not-recorder-agent.service\n",
  );
  assertEquals(await readHolders(device, system), [{
    pid: 812,
    program: "ffmpeg",
    service: { name: "not-recorder-agent.service", isUsers: false },
  }]);
});

Deno.test("readHolders() searches the open files if ALSA does not name an owner", async () => {
  await using system = await realRoot("one_usb_microphone");
  const [device] = (await readSoundSystem(system)).devices;
  assert(device !== undefined);
  await add(system.root, "/proc/77/comm", "arecord\n");
  await Deno.mkdir(`${system.root}/proc/77/fd`);
  await Deno.symlink("/dev/snd/pcmC1D0c", `${system.root}/proc/77/fd/5`);
  await Deno.symlink("/dev/snd/pcmC1D0p", `${system.root}/proc/77/fd/6`);
  assertEquals(await readHolders(device, system), [{ pid: 77, program: "arecord" }]);
  assertEquals(await readHolders(null, system), [{ pid: 77, program: "arecord" }]);
  assertEquals(await readHolders({ ...device, card: 2 }, system), []);
});

Deno.test("the find and grep of the unit tests answer as the real ones", async () => {
  const folder = new URL("../../fixtures/sound/", import.meta.url);
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.endsWith(".txt")).map((name) => name.slice(0, -4));
  assert(names.length > 5);
  for (const name of [...names, null]) {
    await using system = await soundRoot(name);
    const { root } = system;
    const holder = "/proc/asound/card1/pcm0c/sub0/status";
    await add(root, holder, "state: RUNNING\nowner_pid   : 812\n");
    await add(root, "/proc/812/status", "Name:\talsa-source\nTgid:\t640\nPid:\t812\n");
    await add(root, "/sys/fs/cgroup/a.slice/b.service/cgroup.threads", "639\n640\n");
    await add(root, "/dev/snd/pcmC1D0c", "");
    await Deno.mkdir(`${root}/proc/640/fd`, { recursive: true });
    await Deno.symlink("/dev/snd/pcmC1D0c", `${root}/proc/640/fd/5`);
    const ask = async (options: SoundOptions) => {
      const found = await readSoundSystem(options);
      const holders = [null, ...found.devices].map((device) => readHolders(device, options));
      const access = found.devices.map((device) => readNodeAccess(device, options));
      const nodes = [...await readSoundNodes(options)].sort();
      return {
        found,
        nodes,
        holders: await Promise.all(holders),
        access: await Promise.all(access),
      };
    };
    assertEquals(await ask(system), await ask({ root }), name ?? "nothing");
    await Deno.remove(`${root}${holder}`);
    assertEquals(await ask(system), await ask({ root }), `${name}, by its open files`);
  }
});
