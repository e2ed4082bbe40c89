// The zoo of machines: what is recorded on each, why, and what `recorder-agent devices` prints. New hardware is
// one row. tests/fixtures/zoo.ts has the zoo of what a microphone does once it is opened.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { runDevices } from "../../src/commands/devices.ts";
import type { ChannelSetting } from "../../src/microphone/channel_choice.ts";
import { writeMicrophones } from "../../src/microphone/last_microphone.ts";
import {
  type MicrophoneIdentity,
  NoMicrophoneError,
} from "../../src/microphone/microphone_choice.ts";
import { SystemMicrophones } from "../../src/microphone/microphones.ts";
import { HOSTILE, isHarmless } from "../fixtures/hostile_text.ts";
import { type Card, machineRoot } from "../fixtures/sound/machine.ts";

interface Machine {
  readonly machine: string;
  readonly cards: readonly Card[];
  readonly audioDevice?: string;
  readonly audioChannel?: ChannelSetting;
  readonly last?: MicrophoneIdentity;
  readonly hasSysfs?: false;
  /** The reason for the choice, or why there is none. */
  readonly choice: string;
  readonly isStandIn?: true;
  /** The first way to open it. */
  readonly opens?: string;
  /** The rows of the table of `devices`, and the lines to paste for the one that is chosen. */
  readonly table: readonly string[];
  readonly paste?: readonly string[];
}

const HEADPHONES: Card = {
  ...{ id: "Headphones", driver: "bcm2835_headpho", name: "bcm2835 Headphones", captures: [] },
};
const HDMI: Card = { id: "vc4hdmi0", driver: "vc4-hdmi", name: "vc4-hdmi-0", captures: [] };
const HAT: Card = {
  id: "sndrpigooglevoi",
  driver: "RPi-simple",
  name: "snd_rpi_googlevoicehat_soundcar",
};
const LOOPBACK: Card = { id: "Loopback", driver: "Loopback", name: "Loopback", captures: [0, 1] };

function usbMic(path: string, more: Partial<Card> & { serial?: string | null } = {}): Card {
  const { serial = null, ...card } = more;
  return { id: "Device", name: "USB PnP Sound Device", usb: { path, serial }, ...card };
}

function webcam(path: string): Card {
  const offers = [{ channels: 2, rates: "16000, 24000, 32000, 48000" }];
  return {
    id: "C920",
    name: "HD Pro Webcam C920",
    usb: { path, id: "046d:082d", serial: "1A2B", offers },
  };
}

function knownAt(path: string): MicrophoneIdentity {
  return { path, vendorProduct: "0d8c:0014", serial: null, name: "USB PnP Sound Device" };
}

const MACHINES: readonly Machine[] = [
  {
    machine: "a Raspberry Pi 4 with one USB microphone",
    cards: [HEADPHONES, HDMI, usbMic("1-1.2")],
    choice: 'USB microphone "USB PnP Sound Device" (card 2, usb:1-1.2): the only USB microphone',
    opens: "hw:CARD=Device,DEV=0 1@48000",
    table: ["* | 2 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000"],
    paste: [
      'audio_device: "usb:1-1.2"',
      'audio_device: "usb:0d8c:0014"',
      'audio_device: "name:USB PnP Sound Device"',
      'audio_device: "hw:CARD=Device,DEV=0"',
    ],
  },
  {
    machine: "a Pi with two equal microphones, never recorded",
    cards: [usbMic("1-1.3"), usbMic("1-1.2", { id: "Device_1" })],
    choice:
      'USB microphone "USB PnP Sound Device" (card 0, usb:1-1.3): the lowest number of 2 USB microphones; to record another one, "USB PnP Sound Device" (card 1, usb:1-1.2), set audio_device to a line of "recorder-agent devices"',
    table: [
      "* | 0 | USB PnP Sound Device | 1-1.3 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
      "1 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
    paste: ['audio_device: "usb:1-1.3"', 'audio_device: "hw:CARD=Device,DEV=0"'],
  },
  {
    machine: "a Pi with two equal microphones, of which the second was recorded last",
    cards: [usbMic("1-1.3"), usbMic("1-1.2", { id: "Device_1" })],
    last: knownAt("1-1.2"),
    choice: 'USB microphone "USB PnP Sound Device" (card 1, usb:1-1.2): the one recorded last',
    opens: "hw:CARD=Device_1,DEV=0 1@48000",
    table: [
      "0 | USB PnP Sound Device | 1-1.3 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
      "* | 1 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  {
    machine: "a Pi with a webcam and a microphone, nothing configured",
    cards: [HEADPHONES, webcam("1-1.1"), usbMic("1-1.2")],
    choice:
      'USB microphone "HD Pro Webcam C920" (card 1, usb:1-1.1): the lowest number of 2 USB microphones; to record another one, "USB PnP Sound Device" (card 2, usb:1-1.2), set audio_device to a line of "recorder-agent devices"',
    opens: "hw:CARD=C920,DEV=0 2@48000",
    table: [
      "* | 1 | HD Pro Webcam C920 | 1-1.1 | 046d:082d | 1A2B | 2 | 16000, 24000, 32000, 48000",
      "2 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  {
    machine: "a Pi with a webcam and a microphone that audio_device names",
    cards: [HEADPHONES, webcam("1-1.1"), usbMic("1-1.2")],
    audioDevice: "name:usb pnp",
    choice: 'audio_device "name:usb pnp" matches it',
    table: [
      "1 | HD Pro Webcam C920 | 1-1.1 | 046d:082d | 1A2B | 2 | 16000, 24000, 32000, 48000",
      "* | 2 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  {
    machine: "a Pi whose microphone is away, with a webcam",
    cards: [webcam("1-1.1")],
    last: knownAt("1-1.2"),
    choice:
      'USB microphone "HD Pro Webcam C920" (card 0, usb:1-1.1): the only USB microphone; the one recorded last, "USB PnP Sound Device" at usb:1-1.2, is away',
    isStandIn: true,
    table: [
      "* | 0 | HD Pro Webcam C920 | 1-1.1 | 046d:082d | 1A2B | 2 | 16000, 24000, 32000, 48000",
    ],
  },
  {
    machine: "a Pi with snd-aloop as card 0 and a HAT microphone as card 1",
    cards: [LOOPBACK, HAT],
    choice:
      'microphone "snd_rpi_googlevoicehat_soundcar" (card 1): the only microphone, not on USB',
    opens: "hw:CARD=sndrpigooglevoi,DEV=0 1@48000",
    table: [
      "0 | Loopback | - | - | - | ? | ?",
      "0 | Loopback | - | - | - | ? | ?",
      "* | 1 | snd_rpi_googlevoicehat_soundcar | - | - | - | ? | ?",
    ],
  },
  {
    machine: "a Pi with a HAT microphone and one on USB",
    cards: [HAT, usbMic("1-1.2")],
    choice: 'USB microphone "USB PnP Sound Device" (card 1, usb:1-1.2): the only USB microphone',
    table: [
      "0 | snd_rpi_googlevoicehat_soundcar | - | - | - | ? | ?",
      "* | 1 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  ...["Loopback", "Dummy", "UAC2_Gadget"].map((driver): Machine => ({
    machine: `a machine that has only the virtual card of ${driver}`,
    cards: [{ id: driver, driver, name: driver }],
    choice:
      `there is only "${driver}" (card 0), which is not a microphone and is recorded only if ` +
      "audio_device names it",
    table: [`0 | ${driver} | - | - | - | ? | ?`],
  })),
  {
    machine: "a Pi Zero whose USB gadget audio_device names",
    cards: [{ id: "UAC2Gadget", driver: "UAC2_Gadget", name: "UAC2_Gadget" }, HAT],
    audioDevice: "name:UAC2_Gadget",
    choice: 'audio_device "name:UAC2_Gadget" matches it',
    table: [
      "* | 0 | UAC2_Gadget | - | - | - | ? | ?",
      "1 | snd_rpi_googlevoicehat_soundcar | - | - | - | ? | ?",
    ],
  },
  {
    machine: "a PC whose sound card has several capture devices",
    cards: [{ id: "PCH", driver: "HDA-Intel", name: "HDA Intel PCH", captures: [0, 2, 6] }],
    choice: 'microphone "HDA Intel PCH" (card 0): the only microphone, not on USB',
    opens: "hw:CARD=PCH,DEV=0 1@48000",
    table: [
      "* | 0 | HDA Intel PCH | - | - | - | ? | ?",
      "0 | HDA Intel PCH | - | - | - | ? | ?",
      "0 | HDA Intel PCH | - | - | - | ? | ?",
    ],
    paste: ['audio_device: "name:HDA Intel PCH"', 'audio_device: "hw:CARD=PCH,DEV=0"'],
  },
  {
    machine: "a PC with a USB interface that captures at device 1 only",
    cards: [
      { id: "PCH", driver: "HDA-Intel", name: "HDA Intel PCH" },
      usbMic("1-5.1", { name: "Conference Bar", captures: [1] }),
    ],
    choice:
      'USB microphone "Conference Bar" (card 1, device 1, usb:1-5.1): the only USB microphone',
    opens: "hw:CARD=Device,DEV=1 1@48000",
    table: [
      "0 | HDA Intel PCH | - | - | - | ? | ?",
      "* | 1 | Conference Bar | 1-5.1 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  {
    machine: "a Pi whose USB buses were renumbered by an update of its kernel",
    cards: [HEADPHONES, usbMic("3-1.2")],
    last: knownAt("1-1.2"),
    choice:
      'USB microphone "USB PnP Sound Device" (card 1, usb:3-1.2): like the one recorded last, which was at usb:1-1.2',
    isStandIn: true,
    table: ["* | 1 | USB PnP Sound Device | 3-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000"],
  },
  {
    machine: "a Pi whose two microphones have the same serial number",
    cards: [
      usbMic("1-1.3", { serial: "0001" }),
      usbMic("1-1.2", { id: "Device_1", serial: "0001" }),
    ],
    audioDevice: "usb:0d8c:0014:0001",
    choice: 'audio_device "usb:0d8c:0014:0001" matches 2 microphones',
    table: [
      "0 | USB PnP Sound Device | 1-1.3 | 0d8c:0014 | 0001 | 1 | 8000, 16000, 44100, 48000",
      "1 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | 0001 | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  {
    machine: "a Pi whose two microphones have serial numbers of their own",
    cards: [
      usbMic("1-1.3", { serial: "AB12" }),
      usbMic("1-1.2", { id: "Device_1", serial: "AB34" }),
    ],
    audioDevice: "usb:0d8c:0014:AB34",
    choice: 'audio_device "usb:0d8c:0014:AB34" matches it',
    table: [
      "0 | USB PnP Sound Device | 1-1.3 | 0d8c:0014 | AB12 | 1 | 8000, 16000, 44100, 48000",
      "* | 1 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | AB34 | 1 | 8000, 16000, 44100, 48000",
    ],
    paste: [
      'audio_device: "usb:1-1.2"',
      'audio_device: "usb:0d8c:0014:AB34"',
      'audio_device: "hw:CARD=Device_1,DEV=0"',
    ],
  },
  {
    machine: "a machine with an audio interface of 32 channels",
    cards: [{
      ...{ id: "X32", name: "X-USB" },
      usb: {
        path: "2-1",
        id: "1397:00d4",
        offers: [{ channels: 32, rates: "44100, 48000", format: "S32_LE" }],
      },
    }],
    choice: 'USB microphone "X-USB" (card 0, usb:2-1): the only USB microphone',
    opens: "plughw:CARD=X32,DEV=0 32@48000",
    table: ["* | 0 | X-USB | 2-1 | 1397:00d4 | - | 32 | 44100, 48000"],
  },
  {
    machine: "a Pi with an array of two or six channels, of which the fourth is wanted",
    cards: [{
      ...{ id: "Array", name: "ReSpeaker 4 Mic Array" },
      usb: {
        ...{ path: "1-1.4", id: "2886:0018" },
        offers: [{ channels: 2, rates: "16000" }, { channels: 6, rates: "16000" }],
      },
    }],
    audioChannel: 4,
    choice: 'USB microphone "ReSpeaker 4 Mic Array" (card 0, usb:1-1.4): the only USB microphone',
    opens: "hw:CARD=Array,DEV=0 6@16000",
    table: ["* | 0 | ReSpeaker 4 Mic Array | 1-1.4 | 2886:0018 | - | 2, 6 | 16000"],
  },
  {
    machine: "a Pi with a microphone behind three hubs",
    cards: [HEADPHONES, usbMic("1-1.4.3.2")],
    choice:
      'USB microphone "USB PnP Sound Device" (card 1, usb:1-1.4.3.2): the only USB microphone',
    table: [
      "* | 1 | USB PnP Sound Device | 1-1.4.3.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
    paste: ['audio_device: "usb:1-1.4.3.2"'],
  },
  {
    machine: "a machine without /sys",
    cards: [HEADPHONES, usbMic("1-1.4.3.2")],
    hasSysfs: false,
    choice:
      'USB microphone "USB PnP Sound Device" (card 1, usb:1-1.4.3.2): the only USB microphone',
    table: [
      "* | 1 | USB PnP Sound Device | 1-1.4.3.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000",
    ],
  },
  ...["Mic für 2", "my mic", "a,b"].map((id): Machine => ({
    machine: `a Pi whose microphone has the card id "${id}", which ALSA would misread`,
    cards: [usbMic("1-1.2", { id })],
    choice: 'USB microphone "USB PnP Sound Device" (card 0, usb:1-1.2): the only USB microphone',
    opens: "hw:0,0 1@48000",
    table: ["* | 0 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000"],
  })),
  {
    machine: "a Pi whose microphone captures in continuous rates and other formats",
    cards: [{
      ...{ id: "Mic", name: "Mic" },
      usb: {
        path: "1-1",
        offers: [{ channels: 1, rates: "8000 - 96000 (continuous)", format: "S24_3LE" }],
      },
    }],
    choice: 'USB microphone "Mic" (card 0, usb:1-1): the only USB microphone',
    opens: "plughw:CARD=Mic,DEV=0 1@48000",
    table: ["* | 0 | Mic | 1-1 | 0d8c:0014 | - | 1 | 8000 to 96000"],
  },
  {
    machine: "a Pi without a microphone",
    cards: [HEADPHONES, HDMI],
    choice:
      'none of the 2 sound cards can capture (card 0 "bcm2835 Headphones", card 1 "vc4-hdmi-0"). Plug in a ' +
      "USB microphone, or set audio_device (RA_AUDIO_DEVICE) to an ALSA PCM, for example plughw:1,0",
    table: [],
  },
  {
    machine: "a machine with a USB speaker alone",
    cards: [usbMic("1-1.2", { name: "USB Audio", captures: [] })],
    choice: 'the only sound card can play, but not capture (card 0 "USB Audio")',
    table: [],
  },
  {
    machine: "a machine without sound cards",
    cards: [],
    choice: "Cannot find a microphone: there are no sound cards. Plug in",
    table: [],
  },
  {
    machine: "a machine without the microphone that audio_device names",
    cards: [HEADPHONES, usbMic("1-1.2")],
    audioDevice: "usb:1-1.4",
    choice:
      'No microphone matches audio_device "usb:1-1.4": there is "USB PnP Sound Device" (card 1, ' +
      'usb:1-1.2); without capture: "bcm2835 Headphones" (card 0)',
    table: ["1 | USB PnP Sound Device | 1-1.2 | 0d8c:0014 | - | 1 | 8000, 16000, 44100, 48000"],
  },
];

for (const row of MACHINES) {
  const { machine, cards, audioDevice = null, last, hasSysfs = true } = row;
  Deno.test(`on ${machine}, the right microphone is recorded and devices says so`, async () => {
    await using system = await machineRoot(cards, hasSysfs);
    const { root, run } = system;
    if (last !== undefined) await writeMicrophones(root, { last, standIn: null });
    const { audioChannel = "auto" } = row;
    const options = { root, run, audioDevice, audioChannel, sampleRate: 48_000, spoolDir: root };
    const found = await new SystemMicrophones(options).find().catch((error) => {
      if (error instanceof NoMicrophoneError) return error;
      throw error;
    });
    const lines: string[] = [];
    const print = (text: string) => lines.push(...text.split("\n"));
    const mixerOf = () => ({ read: () => Promise.resolve([]), set: () => Promise.resolve() });
    const code = await runDevices({ root, run, audioDevice, spoolDir: root, mixerOf, print });
    const table = lines.filter((line) => /^[* ]? {2}\d+ {2}/.test(line))
      .map((line) => line.trim().replaceAll(/ {2,}/g, " | "));
    assertEquals(table, [...row.table]);
    if (found instanceof NoMicrophoneError) {
      assertStringIncludes(found.message, row.choice);
      assertEquals([row.opens, code], [undefined, 1]);
      return;
    }
    assertEquals([found.reason, code], [row.choice, 0]);
    assertEquals(found.isStandIn ?? false, row.isStandIn ?? false);
    const [source] = found.attempts;
    if (row.opens !== undefined && source?.kind === "alsa") {
      assertEquals(`${source.pcm} ${source.channels}@${source.sampleRate}`, row.opens);
    }
    const { device } = found;
    const at = lines.findIndex((line) => line.startsWith(`${device?.name} (card ${device?.card}`));
    const paste = lines.slice(at + 1).slice(0, row.paste?.length ?? 0);
    assertEquals(paste.map((line) => line.trim()), [...row.paste ?? []]);
  });
}

Deno.test("a hostile name and serial number of a microphone are printable, and never a line of their own", async () => {
  const hostile = HOSTILE.replaceAll(/[\r\n\0]/g, "");
  const card = usbMic("1-1.2", { name: hostile.slice(0, 40), serial: hostile });
  await using system = await machineRoot([card]);
  const lines: string[] = [];
  const mixerOf = () => ({ read: () => Promise.resolve([]), set: () => Promise.resolve() });
  const print = (text: string) => lines.push(...text.split("\n"));
  assertEquals(await runDevices({ ...system, spoolDir: system.root, mixerOf, print }), 0);
  assertEquals(lines.filter((line) => !isHarmless(line)), []);
});
