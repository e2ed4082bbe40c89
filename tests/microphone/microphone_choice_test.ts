// The values of audio_device, and the choice among microphones of described sound systems (fixtures/sound).

import { type AudioDevice, parseAudioDevice } from "../../src/config/audio_device.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  audioDeviceTexts,
  type Choice,
  chooseMicrophone,
  choosePcm,
  describePresent,
  deviceOfPcm,
  identify,
  isSame,
  type MicrophoneIdentity,
  NoMicrophoneError,
} from "../../src/microphone/microphone_choice.ts";
import {
  type CaptureDevice,
  parseSoundSystem,
  parseUsbSockets,
  type SoundSystem,
} from "../../src/microphone/sound_listing.ts";
import { readSoundSystem } from "../../src/microphone/sound_system.ts";
import { soundRoot } from "../fixtures/sound/root.ts";

async function systemOf(recording: string | null): Promise<SoundSystem> {
  await using root = await soundRoot(recording);
  return await readSoundSystem(root);
}

function wanted(text: string | null): Exclude<AudioDevice, { kind: "pcm" }> {
  const parsed = parseAudioDevice(text);
  assert(parsed !== null && parsed.kind !== "pcm", `${text}`);
  return parsed;
}

function choose(
  system: SoundSystem,
  text: string | null = null,
  last: MicrophoneIdentity | null = null,
  standIn: MicrophoneIdentity | null = null,
): Choice {
  return chooseMicrophone(wanted(text), system, { last, standIn });
}

function refusal(system: SoundSystem, text: string | null = null): string {
  return assertThrows(() => choose(system, text), NoMicrophoneError).message;
}

/** The two equal microphones without serial number: number 0 in socket 1-1.3, number 1 in 1-1.2. */
async function twins(): Promise<SoundSystem> {
  const { cards, devices } = await systemOf("two_equal_usb_microphones");
  return {
    cards,
    devices: devices.map(({ usb, ...device }) => ({
      ...device,
      usb: usb && { ...usb, serial: null },
    })),
  };
}

function identityOf(system: SoundSystem, index: number): MicrophoneIdentity {
  const device = system.devices[index];
  assert(device !== undefined);
  return identify(device);
}

/** The system without the device in this socket. */
function without({ cards, devices }: SoundSystem, path: string): SoundSystem {
  return { cards, devices: devices.filter(({ usb }) => usb?.path !== path) };
}

Deno.test("parseAudioDevice() reads sockets, makes, serial numbers, names and PCMs", () => {
  const id = { kind: "usb_id", vendorProduct: "0d8c:0014" } as const;
  const cases: [string | null, AudioDevice | null][] = [
    [null, { kind: "any" }],
    ["usb:1-1.2", { kind: "usb_path", path: "1-1.2" }],
    ["usb:3-2", { kind: "usb_path", path: "3-2" }],
    ["usb:0D8C:0014", { ...id, serial: null }],
    ["usb:0d8c:0014:a b:ö", { ...id, serial: "a b:ö" }],
    ["name: USB PnP ", { kind: "name", text: "USB PnP" }],
    ["plughw:1,0", { kind: "pcm", pcm: "plughw:1,0" }],
    ["usbmic", { kind: "pcm", pcm: "usbmic" }],
    ...[
      "usb:",
      "usb:zz",
      "usb:1",
      "usb:1-",
      "usb:1-1.",
      "usb:0d8c",
      "usb:0d8c:14",
      "usb:0d8c:0014:",
    ]
      .map((text): [string, null] => [text, null]),
    ["name:", null],
    ["name: ", null],
  ];
  for (const [text, expected] of cases) assertEquals(parseAudioDevice(text), expected, `${text}`);
});

Deno.test("chooseMicrophone() keeps the one recorded last, whatever its number", async () => {
  const system = await twins();
  for (const index of [0, 1]) {
    const { device, reason, isExpected } = choose(system, null, identityOf(system, index));
    assertEquals([device, isExpected], [system.devices[index], true]);
    assertStringIncludes(reason, "the one recorded last");
  }
  // After replugging in the other order, numbers and ids are swapped; the socket identifies each.
  const swapped: SoundSystem = {
    ...system,
    devices: system.devices.map((device) => ({
      ...device,
      card: 1 - device.card,
      alsaName: `hw:CARD=${device.card === 0 ? "Device_1" : "Device"},DEV=0`,
    })),
  };
  const { device } = choose(swapped, null, identityOf(system, 0));
  assertEquals([device.usb?.path, device.alsaName], ["1-1.3", "hw:CARD=Device_1,DEV=0"]);
});

Deno.test("chooseMicrophone() takes another as a stand-in while the last one is away", async () => {
  const system = await twins();
  const last = identityOf(system, 0);
  const twin = choose(without(system, "1-1.3"), null, last);
  assertEquals([twin.device.usb?.path, twin.isExpected], ["1-1.2", false]);
  assertStringIncludes(twin.reason, "like the one recorded last, which was at usb:1-1.3");

  const other = choose(await systemOf("capture_at_device_1"), null, last);
  assertEquals([other.device.name, other.isExpected], ["Conference Bar", false]);
  assertStringIncludes(other.reason, '"USB PnP Sound Device" at usb:1-1.3, is away');
});

Deno.test("chooseMicrophone() does not call a USB microphone the stand-in of one that is not on USB", async () => {
  const mixed = await systemOf("capture_at_device_1");
  const onboard = identityOf(mixed, 0);
  const { device, isExpected, reason } = choose(mixed, null, onboard);
  assertEquals([device.name, isExpected], ["Conference Bar", true]);
  assertStringIncludes(reason, ": the only USB microphone");
  const alone = choose(without(mixed, "1-5.1"), null, onboard);
  assertEquals([alone.device.name, alone.isExpected], ["HDA Intel PCH", true]);
});

Deno.test("chooseMicrophone() distinguishes a twin in another socket from the one that audio_device meant", async () => {
  const system = await twins();
  const last = identityOf(system, 0);
  for (const text of ["usb:0d8c:0014", "name:USB PnP Sound Device", "name:usb pnp"]) {
    const { device, isExpected, reason } = choose(without(system, "1-1.3"), text, last);
    assertEquals([device.usb?.path, isExpected], ["1-1.2", false], text);
    assertStringIncludes(reason, '"USB PnP Sound Device" at usb:1-1.3, is away');
    // The one recorded before is of another make: audio_device was changed since then.
    const other = { ...last, vendorProduct: "1b3f:2008", name: "Old" };
    assertEquals(choose(without(system, "1-1.3"), text, other).isExpected, true);
  }
  // audio_device names the socket itself.
  assertEquals(choose(without(system, "1-1.3"), "usb:1-1.2", last).isExpected, true);
  // The name of one can be part of the name of another.
  const webcam = { ...system.devices[1], name: "HD Webcam USB PnP Sound Device" };
  const devices = [webcam as CaptureDevice];
  const text = "name:USB PnP Sound Device";
  assertEquals(choose({ ...system, devices }, text, last).isExpected, false);
  // A microphone with exactly this name is not a stand-in for one whose name contains it.
  assertEquals(
    choose(without(system, "1-1.2"), text, identify(webcam as CaptureDevice)).isExpected,
    true,
  );
});

Deno.test("chooseMicrophone() keeps its socket if the serial number cannot be read", async () => {
  const { cards, devices } = await systemOf("two_equal_usb_microphones");
  const system = {
    cards,
    // The twin has the serial number of the last one: some makes have the same number on every device.
    devices: devices.map((device) => ({
      ...device,
      usb: device.usb && { ...device.usb, serial: device.usb.path === "1-1.3" ? null : "AB12" },
    })),
  };
  const last = { ...identityOf(system, 0), serial: "AB12" };
  for (const text of [null, "name:USB PnP"]) {
    const { device, isExpected } = choose(system, text, last);
    assertEquals([device.usb?.path, isExpected], ["1-1.3", true]);
  }
  const { device } = choose(system, "usb:0d8c:0014", { ...last, serial: null });
  assertEquals(device.usb?.path, "1-1.3", "also if it could not be read then");
});

Deno.test("chooseMicrophone() keeps the stand-in, whatever else is plugged in", async () => {
  const system = await twins();
  const last = { ...identityOf(system, 0), path: "1-1.4" };
  for (const index of [0, 1]) {
    const standIn = identityOf(system, index);
    for (const text of [null, "usb:0d8c:0014", "name:USB PnP"]) {
      const { device, isExpected } = choose(system, text, last, standIn);
      assertEquals([device.usb?.path, isExpected], [standIn.path, false], `${text}`);
    }
    const other = { path: "1-1.4", vendorProduct: "1b3f:2008", serial: null, name: "Old" };
    assertEquals(choose(system, null, other, standIn).device.usb?.path, standIn.path);
  }
});

Deno.test("chooseMicrophone() finds the last one in another socket by its serial number, as a stand-in", async () => {
  const system = await systemOf("two_equal_usb_microphones");
  const moved = { ...identityOf(system, 1), path: "1-1.4" };
  const { device, isExpected } = choose(system, null, moved);
  // Some makes have the same serial number on every device.
  assertEquals([device.usb?.serial, isExpected], ["AB34", false]);
});

Deno.test("chooseMicrophone() takes a replacement in the socket of the last one at once", async () => {
  const system = await twins();
  const replaced = { path: "1-1.2", vendorProduct: "1b3f:2008", serial: null, name: "Old" };
  const { device, reason, isExpected } = choose(system, null, replaced);
  assertEquals([device.usb?.path, isExpected], ["1-1.2", true]);
  assertStringIncludes(reason, 'in the socket of the last one, "Old"');
});

Deno.test("chooseMicrophone() takes the microphone that audio_device names", async () => {
  const system = await systemOf("two_equal_usb_microphones");
  const pathOf = (text: string) => choose(system, text).device.usb?.path;
  assertEquals(pathOf("usb:1-1.2"), "1-1.2");
  assertEquals(pathOf("usb:0d8c:0014:AB12"), "1-1.3");
  const odd = await systemOf("odd_names");
  assertEquals(choose(odd, "name:МИКРОФОН [касса").device.card, 0);
  assertEquals(choose(odd, "name:gain: 18db").device.card, 1);
  // A card with several capture devices is one microphone.
  const mixed = await systemOf("capture_at_device_1");
  assertEquals(choose(mixed, "name:HDA").device.device, 0);
  assertEquals(choose(mixed, "name:HDA").isExpected, true);
});

Deno.test("chooseMicrophone() lists the present microphones if none or several match", async () => {
  const one = await systemOf("one_usb_microphone");
  const present = 'there is "USB PnP Sound Device" (card 1, usb:1-1.2); without capture: ' +
    '"bcm2835 Headphones" (card 0), "vc4-hdmi-0" (card 2), "vc4-hdmi-1" (card 3)';
  for (const text of ["usb:1-1.4", "usb:1b3f:2008", "usb:0d8c:013c:AB", "name:hdmi"]) {
    const message = refusal(one, text);
    assertStringIncludes(message, `No microphone matches audio_device "${text}": ${present}`);
  }
  const none = await systemOf("pi_without_microphone");
  assertStringIncludes(refusal(none, "usb:1-1.4"), "none of the 3 sound cards can capture (card 0");

  const system = await twins();
  for (const text of ["name:usb pnp", "name:USB PnP Sound Device", "usb:0d8c:0014"]) {
    assertEquals(
      refusal(system, text),
      `audio_device "${text}" matches 2 microphones: "USB PnP Sound Device" (card 0, usb:1-1.3), ` +
        '"USB PnP Sound Device" (card 1, usb:1-1.2). ' +
        "Name one by the socket that it is plugged into, usb:PATH",
    );
    // A till that has recorded continues: a second microphone must not stop it.
    const { device } = choose(system, text, identityOf(system, 1));
    assertEquals(device.usb?.path, "1-1.2");
  }
});

Deno.test("audioDeviceTexts() returns only values that match this microphone and no other", async () => {
  const texts = ({ devices }: SoundSystem, index = 0) => {
    const device = devices[index];
    return device === undefined ? [] : audioDeviceTexts(device, devices);
  };
  assertEquals(texts(await systemOf("one_usb_microphone")), [
    "usb:1-1.2",
    "usb:0d8c:013c",
    "name:USB PnP Sound Device",
    "hw:CARD=Device,DEV=0",
  ]);
  assertEquals(texts(await twins(), 1), ["usb:1-1.2", "hw:CARD=Device_1,DEV=0"]);
  assertEquals(texts(await systemOf("two_equal_usb_microphones"), 1)[1], "usb:0d8c:0014:AB34");
  const mixed = await systemOf("capture_at_device_1");
  assertEquals(texts(mixed, 1), ["hw:CARD=PCH,DEV=2"]); // device 0 of this card has priority
  // parseAudioDevice() reads each of them, and each selects this microphone.
  for (const recording of ["one_usb_microphone", "odd_names", "two_equal_usb_microphones"]) {
    const system = await systemOf(recording);
    for (const device of system.devices) {
      for (const text of audioDeviceTexts(device, system.devices).slice(0, -1)) {
        assertEquals(choose(system, text).device, device, text);
      }
    }
  }
});

Deno.test("a microphone without a name is not selected by its name", async () => {
  const [device] = (await systemOf("one_usb_microphone")).devices;
  assert(device !== undefined);
  const nameless = { ...device, name: " " };
  assertEquals(audioDeviceTexts(nameless, [nameless]), [
    "usb:1-1.2",
    "usb:0d8c:013c",
    "hw:CARD=Device,DEV=0",
  ]);
});

Deno.test("deviceOfPcm() finds the device behind hw: and plughw:", async () => {
  const { devices } = await systemOf("capture_at_device_1");
  for (const pcm of ["hw:3,1", "plughw:CARD=Bar,DEV=1", "hw:Bar,1", "hw:3,1,0"]) {
    assertEquals(deviceOfPcm(pcm, devices)?.name, "Conference Bar", pcm);
  }
  for (const pcm of ["hw:3", "hw:CARD=Bar", "default", "usbmic", "hw:7,0"]) {
    assertEquals(deviceOfPcm(pcm, devices), null, pcm);
  }
});

Deno.test("the name of one device cannot hide the microphone on another socket", () => {
  const cards = [
    " 1 [Evil           ]: USB-Audio - x",
    " 2 [gone           ]: Loopback - y", // still the name of the first card
    "                      at usb-3f980000.usb-1.1, full speed",
    " 2 [Device         ]: USB-Audio - USB PnP Sound Device",
    "                      USB PnP Sound Device at usb-3f980000.usb-1.2, full speed",
  ];
  const system = parseSoundSystem(
    new Map([
      ["/proc/asound/cards", cards],
      ["/proc/asound/pcm", ["02-00: USB Audio : USB Audio : capture 1"]],
      ["/proc/asound/card2/usbid", ["0d8c:0014"]],
    ]),
    parseUsbSockets(["card2 ../../devices/platform/usb1/1-1/1-1.2/1-1.2:1.0/sound/card2"]),
  );
  const { device } = chooseMicrophone({ kind: "any" }, system, { last: null });
  assertEquals([device.alsaName, device.usb?.path], ["hw:2,0", "1-1.2"]);
});

/** A card with one microphone; with a socket it is on USB. */
function cardOf(number: number, name: string, path: string | null, driver = "USB-Audio") {
  const [id, device] = [`C${number}`, 0];
  const usb = path === null ? null : { path, vendorProduct: "0d8c:0014", serial: null };
  return {
    card: { number, id, driver, name, longName: name },
    device: {
      card: number,
      device,
      cardId: id,
      name,
      alsaName: `hw:CARD=${id},DEV=0`,
      usb,
      offers: null,
    },
  };
}

function systemWith(...all: ReturnType<typeof cardOf>[]): SoundSystem {
  return { cards: all.map(({ card }) => card), devices: all.map(({ device }) => device) };
}

Deno.test("a name that is exactly that of one microphone selects it, also if another one contains it", () => {
  const [long, exact] = [cardOf(0, "USB Mic Pro", "1-1.2"), cardOf(1, "USB Mic", "1-1.3")];
  for (const system of [systemWith(long, exact), systemWith(exact, long)]) {
    assertEquals(choose(system, "name:usb mic").device.name, "USB Mic");
    assertEquals(choose(system, "name:pro").device.name, "USB Mic Pro");
    assertStringIncludes(refusal(system, "name:USB"), "matches 2 microphones");
  }
});

Deno.test("sound that programs play is not a microphone, whatever other cards there are", () => {
  const [loop, line] = [
    cardOf(0, "Loopback PCM", null, "Loopback"),
    cardOf(1, "Line in", null, "HDA-Intel"),
  ];
  for (const system of [systemWith(loop, line), systemWith(line, loop)]) {
    assertEquals(choose(system).device.name, "Line in");
  }
  assertStringIncludes(
    refusal(systemWith(loop)),
    'there is only "Loopback PCM" (card 0), which is not a microphone and is recorded only if ' +
      "audio_device names it",
  );
  assertStringIncludes(refusal({ cards: [], devices: [] }), "there are no sound cards");
  assertStringIncludes(
    refusal({ cards: [line.card], devices: [] }),
    'the only sound card can play, but not capture (card 1 "Line in")',
  );
});

Deno.test("of microphones that are not on USB the one recorded last is kept, too", () => {
  const system = systemWith(cardOf(0, "Front", null, "HDA"), cardOf(1, "Rear", null, "HDA"));
  const { device, reason, isExpected } = choose(system, null, identityOf(system, 1));
  assertEquals([device.name, isExpected], ["Rear", true]);
  assertEquals(reason, 'microphone "Rear" (card 1): the one recorded last, not on USB');
});

Deno.test("the reason of a choice says what else could be recorded, and how", () => {
  const [a, b] = [cardOf(0, "A", "1-1.2"), cardOf(1, "B", "1-1.3")];
  assertEquals(
    choose(systemWith(a)).reason,
    'USB microphone "A" (card 0, usb:1-1.2): the only USB microphone',
  );
  assertEquals(
    choose(systemWith(a, b)).reason,
    'USB microphone "A" (card 0, usb:1-1.2): the lowest number of 2 USB microphones; to record ' +
      'another one, "B" (card 1, usb:1-1.3), set audio_device to a line of "recorder-agent devices"',
  );
  const front = cardOf(0, "Front", null, "HDA");
  assertEquals(
    choose(systemWith(front)).reason,
    'microphone "Front" (card 0): the only microphone, not on USB',
  );
  const away = { path: "1-1.4", vendorProduct: "1b3f:2008", serial: null, name: "Old" };
  assertEquals(
    choose(systemWith(a, b), null, away, identify(b.device)).reason,
    'USB microphone "B" (card 1, usb:1-1.3): recorded since; the one recorded last, "Old" at ' +
      "usb:1-1.4, is away",
  );
  const second = { ...a.device, device: 2 };
  assertEquals(
    describePresent({ cards: [a.card, b.card], devices: [second] }),
    'there is "A" (card 0, device 2, usb:1-1.2); without capture: "B" (card 1)',
  );
  assertEquals(
    describePresent(systemWith(a, b)),
    'there is "A" (card 0, usb:1-1.2), "B" (card 1, usb:1-1.3)',
  );
});

Deno.test("a microphone is the same in its socket, unless its name, model or serial number is another", () => {
  const one = { path: "1-1.2", vendorProduct: "0d8c:0014", serial: "AB12", name: "A" };
  const same: Partial<MicrophoneIdentity>[] = [{}, { serial: null }, { vendorProduct: null }];
  for (const change of same) {
    assertEquals(isSame(one, { ...one, ...change }), true, JSON.stringify(change));
    assertEquals(isSame({ ...one, ...change }, one), true, JSON.stringify(change));
  }
  const others: Partial<MicrophoneIdentity>[] = [
    ...[{ path: "1-1.3" }, { path: null }, { name: "B" }],
    ...[{ serial: "AB34" }, { vendorProduct: "1b3f:2008" }],
  ];
  for (const change of others) {
    assertEquals(isSame(one, { ...one, ...change }), false, JSON.stringify(change));
  }
  // Without a socket, what cannot be read does not count as the same.
  const nowhere = { ...one, path: null };
  assertEquals(isSame(nowhere, nowhere), true);
  for (const change of [{ serial: null }, { vendorProduct: null }]) {
    assertEquals(isSame(nowhere, { ...nowhere, ...change }), false, JSON.stringify(change));
    assertEquals(isSame({ ...nowhere, ...change }, nowhere), false, JSON.stringify(change));
  }
});

Deno.test("what a PCM names is expected, unless it named one in another socket when it was recorded last", async () => {
  const { devices } = await twins();
  const [other, own] = devices;
  assert(other !== undefined && own !== undefined);
  const isExpected = (known: Parameters<typeof choosePcm>[2], all = devices) =>
    choosePcm("plughw:1,0", all, known)?.isExpected;
  const pcm = "plughw:1,0";
  assertEquals(isExpected({ last: null }), true);
  assertEquals(isExpected({ last: identify(own), pcm }), true);
  assertEquals(isExpected({ last: identify(other), pcm }), false);
  for (const before of [null, "plughw:0,0"]) {
    assertEquals(isExpected({ last: identify(other), pcm: before }), true, "another setting");
  }
  const replaced = { ...identify(own), name: "an older model", vendorProduct: "0d8c:0001" };
  assertEquals(isExpected({ last: replaced, pcm }), true, "in the same socket");
  // Where the system does not say which socket it is, the name decides.
  const bare = devices.map((device) => ({ ...device, usb: null }));
  const named = (name: string) => ({ path: null, vendorProduct: null, serial: null, name });
  assertEquals(isExpected({ last: named(own.name), pcm }, bare), true);
  assertEquals(isExpected({ last: named("Webcam"), pcm }, bare), false);
  assertEquals(choosePcm("plughw:7,0", devices, { last: null }), null);
  assertEquals(choosePcm("shop_array", devices, { last: null }), null);
});
