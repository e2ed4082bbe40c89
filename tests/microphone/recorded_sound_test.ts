// The sound system of a real kernel, as tests/vm recorded it: what is found, and what stays the same
// when two equal microphones change their numbers.

import { assertEquals } from "@std/assert";
import { chooseMicrophone, identify } from "../../src/microphone/microphone_choice.ts";
import { readSoundSystem } from "../../src/microphone/sound_system.ts";
import { soundRoot } from "../fixtures/sound/root.ts";

async function systemOf(recording: string) {
  await using system = await soundRoot(recording);
  return await readSoundSystem(system);
}

Deno.test("the only microphone of a real kernel is found with path, make, serial and offers", async () => {
  const { devices } = await systemOf("guest_one_usb_microphone");
  assertEquals(devices.map(({ cardId, usb, offers }) => [cardId, usb, offers?.rates]), [
    ["Device", { path: "1-1", vendorProduct: "0d8c:0014", serial: "AB12" }, [
      48000,
    ]],
  ]);
});

Deno.test("the sound system of a real kernel is empty after the only microphone was unplugged", async () => {
  assertEquals(await systemOf("guest_after_unplug"), { cards: [], devices: [] });
});

Deno.test("two equal microphones, replugged in the other order, swap ids and keep their paths", async () => {
  const before = await systemOf("guest_two_equal_usb_microphones");
  const after = await systemOf("guest_two_replugged_in_the_other_order");
  const places = ({ devices }: typeof before) =>
    devices.map(({ cardId, usb }) => [cardId, usb?.path]);
  assertEquals(places(before), [["Device", "1-1"], ["Device_1", "1-2"]]);
  assertEquals(places(after), [["Device", "1-2"], ["Device_1", "1-1"]]);

  const [first] = before.devices;
  const last = first === undefined ? null : identify(first);
  assertEquals(chooseMicrophone({ kind: "any" }, after, { last }).device.cardId, "Device_1");
});
