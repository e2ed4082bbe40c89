// The output of `recorder-agent devices` for described sound systems (fixtures/sound).

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { writeMicrophones } from "../../src/microphone/last_microphone.ts";
import { runDevices, withMicrophones } from "../../src/commands/devices.ts";
import { soundRoot } from "../fixtures/sound/root.ts";

async function printed(
  recording: string | null,
  last?: string,
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
  const { root } = system;
  const code = await runDevices({ root, spoolDir: root, print: (text) => lines.push(text) });
  return { code, text: lines.join("\n") };
}

Deno.test("runDevices() prints a table, the microphone that it would take, and lines to paste", async () => {
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

To name one, paste one of its lines into config.yaml:
HDA Intel PCH (card 0)
  audio_device: "name:HDA Intel PCH"
  audio_device: "hw:CARD=PCH,DEV=0"
HDA Intel PCH (card 0, device 2)
  audio_device: "hw:CARD=PCH,DEV=2"
Conference Bar (card 3, device 1)
  audio_device: "usb:1-5.1"
  audio_device: "usb:1235:8016"
  audio_device: "name:Conference Bar"
  audio_device: "hw:CARD=Bar,DEV=1"`
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
