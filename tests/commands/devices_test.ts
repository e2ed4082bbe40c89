// The output of `recorder-agent devices` for described sound systems (fixtures/sound).

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { writeMicrophones } from "../../src/microphone/last_microphone.ts";
import { ConfigError } from "../../src/config/config.ts";
import {
  readWantedMicrophone,
  runDevices,
  type WantedMicrophone,
  withMicrophones,
} from "../../src/commands/devices.ts";
import { SystemMicrophones } from "../../src/microphone/microphones.ts";
import { AmixerMissingError, type Mixer } from "../../src/microphone/mixer.ts";
import type { MixerControl } from "../../src/microphone/mixer_listing.ts";
import { soundRoot } from "../fixtures/sound/root.ts";

async function printed(
  recording: string | null,
  last?: string,
  wanted: WantedMicrophone = {},
): Promise<{ code: number; text: string }> {
  await using system = await soundRoot(recording);
  if (last !== undefined) {
    const identity = { path: last, vendorProduct: "0d8c:0014", serial: "AB34" };
    await writeMicrophones(system.root, {
      last: { ...identity, name: "USB PnP Sound Device" },
      standIn: null,
    });
  }
  const lines: string[] = [];
  const { root, run } = system;
  const code = await runDevices({
    root,
    run,
    spoolDir: root,
    ...wanted,
    mixerOf: cardOf,
    print: (text) => lines.push(text),
  });
  return { code, text: lines.join("\n") };
}

/** Card 3 has a control, card 0 has none, and any other one has no amixer. */
function cardOf(card: number): Mixer {
  const level: MixerControl = {
    ...{ numid: 3, name: "Mic Capture Volume", index: 0, kind: "volume", min: 0, max: 35 },
    ...{ values: [22], decibels: { min: -12, max: 23 } },
  };
  return {
    read: () =>
      card === 3
        ? Promise.resolve([level])
        : card === 0
        ? Promise.resolve([])
        : Promise.reject(new AmixerMissingError()),
    set: () => Promise.reject(new Error("devices changes nothing")),
  };
}

Deno.test("runDevices() prints a table, the microphone that would be recorded, and lines to paste", async () => {
  const { code, text } = await printed("capture_at_device_1");
  assertEquals(code, 0);
  assertEquals(
    text,
    `
   CARD  NAME            USB PATH  USB ID     SERIAL  CHANNELS  RATES, HZ
   0     HDA Intel PCH   -         -          -       ?         ?
   0     HDA Intel PCH   -         -          -       ?         ?
*  3     Conference Bar  1-5.1     1235:8016  -       1, 2      8000, 16000, 32000, 48000

* recorded unless audio_device says otherwise: USB microphone "Conference Bar" (card 3, device 1, usb:1-5.1): the only USB microphone.

To select one, paste one of its lines into config.yaml:
HDA Intel PCH (card 0)
  audio_device: "name:HDA Intel PCH"
  audio_device: "hw:CARD=PCH,DEV=0"
  capture_volume, capture_agc: it has no controls for them
HDA Intel PCH (card 0, device 2)
  audio_device: "hw:CARD=PCH,DEV=2"
  capture_volume, capture_agc: it has no controls for them
Conference Bar (card 3, device 1)
  audio_device: "usb:1-5.1"
  audio_device: "usb:1235:8016"
  audio_device: "name:Conference Bar"
  audio_device: "hw:CARD=Bar,DEV=1"
  capture_volume, capture_agc: Mic Capture Volume 63 % (-12 to 23 dB)`
      .slice(1),
  );
});

Deno.test("runDevices() marks the microphone recorded last", async () => {
  const { text } = await printed("two_equal_usb_microphones", "1-1.2");
  assertStringIncludes(text, "*  1     USB PnP Sound Device  1-1.2");
  assertStringIncludes(text, "(card 1, usb:1-1.2): the one recorded last.");
});

Deno.test("runDevices() returns 1 and the reason if there is no microphone", async () => {
  const { code, text } = await printed("no_sound_cards");
  assertEquals(code, 1);
  assert(text.startsWith("Cannot find a microphone: there are no sound cards. Plug in"));
});

Deno.test("runDevices() marks the microphone that audio_device names, whichever was recorded last", async () => {
  const { code, text } = await printed("two_equal_usb_microphones", "1-1.2", {
    audioDevice: "usb:1-1.3",
  });
  assertEquals(code, 0);
  assertEquals(text.match(/^\* +\d .*$/gm)?.map((line) => / (1-1\.\d) /.exec(line)?.[1]), [
    "1-1.3",
  ]);
  assertStringIncludes(text, '* recorded: audio_device is "usb:1-1.3".');
  const pcm = await printed("two_equal_usb_microphones", "1-1.2", { audioDevice: "till" });
  assert(!/^\*/m.test(pcm.text), pcm.text);
  assertStringIncludes(pcm.text, 'Recorded: audio_device is "till"; only ALSA knows');
});

Deno.test("runDevices() lists the microphones even if none is the one that audio_device names", async () => {
  const { code, text } = await printed("two_equal_usb_microphones", "1-1.2", {
    audioDevice: "usb:9-9",
  });
  assertEquals(code, 1);
  assert(!/^\*/m.test(text), text);
  assertStringIncludes(text, 'No microphone matches audio_device "usb:9-9"');
  assertStringIncludes(text, 'audio_device: "usb:1-1.2"');
});

Deno.test("runDevices() says why the configuration was not used", async () => {
  const problems = ["config.yaml: point_id: is missing: expected a UUID"];
  const wrong = await printed("one_usb_microphone", undefined, { problems });
  assertEquals(wrong.code, 0);
  assertStringIncludes(wrong.text, `cannot be used, so this is without it:\n  ${problems[0]}`);
  const forbidden = await printed("one_usb_microphone", undefined, {
    problems: ["config.yaml: the configuration file may not be read by this user"],
  });
  assertStringIncludes(forbidden.text, "Only root can read the configuration");
});

Deno.test("readWantedMicrophone() takes what the configuration says; a file that is named must exist", async () => {
  const file = await Deno.makeTempFile({ suffix: ".yaml" });
  const given = {
    ...{ explicit: file, env: {}, executable: "" },
    installation: {
      config: "/nonexistent/c",
      environment: "/nonexistent/e",
      unit: "/nonexistent/u",
    },
  };
  const id = "11111111-1111-4111-8111-111111111111";
  await Deno.writeTextFile(
    file,
    `point_id: ${id}\nregister_id: ${id}\ndevice_id: ${id}\ningest_base_url: http://127.0.0.1\n` +
      "ingest_token: t\naudio_device: usb:1-1.3\nspool_dir: /srv/sound\n",
  );
  assertEquals(readWantedMicrophone(given), { audioDevice: "usb:1-1.3", spoolDir: "/srv/sound" });
  await Deno.writeTextFile(file, "audio_device: usb:1-1.3\n");
  assertStringIncludes(readWantedMicrophone(given).problems?.[0] ?? "", "point_id: is missing");
  await Deno.remove(file);
  assertThrows(() => readWantedMicrophone(given), ConfigError, "does not exist");
  assertEquals(readWantedMicrophone({ ...given, explicit: undefined }), {});
});

Deno.test("withMicrophones() adds the present microphones to the problem of a bad audio_device only", async () => {
  await using system = await soundRoot("one_usb_microphone");
  const problems = [
    'c.yaml:6:15: audio_device: "usb:zz" names no microphone: expected …',
    'RA_AUDIO_DEVICE: "name:" names no microphone: expected …',
    "c.yaml:7:1: audio_devise: is not a key of the configuration: did you mean audio_device?",
    'c.yaml:8:1: chunk_seconds: "x" is not a number',
  ];
  const present = 'there is "USB PnP Sound Device" (card 1, usb:1-1.2); without capture: ' +
    '"bcm2835 Headphones" (card 0), "vc4-hdmi-0" (card 2), "vc4-hdmi-1" (card 3)';
  assertEquals(await withMicrophones(problems, system), [
    `${problems[0]}; ${present}`,
    `${problems[1]}; ${present}`,
    problems[2],
    problems[3],
  ]);
});

Deno.test("runDevices() says which channel of a microphone with several was found to hear sound", async () => {
  await using system = await soundRoot("stereo_44100_only");
  const { root, run } = system;
  const lines: string[] = [];
  const print = (text: string) => lines.push(text);
  await runDevices({ root, run, spoolDir: root, print });
  assertEquals(lines.join("\n").includes("audio_channel"), false);
  const microphones = new SystemMicrophones({
    ...system,
    audioDevice: null,
    sampleRate: 48_000,
    spoolDir: root,
  });
  const choice = { channels: [1], reason: "one of 2 channels, which are inverted" };
  await microphones.rememberChannels(await microphones.find(), 2, choice);
  await runDevices({ root, run, spoolDir: root, print });
  assertStringIncludes(
    lines.join("\n"),
    "  audio_channel auto: channel 2 of 2, one of 2 channels, which are inverted.\n",
  );
});
