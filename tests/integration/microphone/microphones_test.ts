// Sound systems that give no answer: the agent waits for them in real time.

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { NoMicrophoneError } from "../../../src/microphone/microphone_choice.ts";
import { SystemMicrophones } from "../../../src/microphone/microphones.ts";
import { run } from "../../fixtures/command.ts";
import { withFakePrograms } from "../../fixtures/fake_programs.ts";
import { microphonesRig } from "../../fixtures/microphones_rig.ts";

/** With the real `find` and `grep`: a simulated one never waits. */
async function setUp(...system: Parameters<typeof microphonesRig>) {
  const rig = await microphonesRig(...system);
  const { run: _, ...options } = rig.options;
  return { ...rig, options, microphones: new SystemMicrophones(options) };
}

Deno.test("a card whose serial number cannot be read does not hide other cards", async () => {
  await using setup = await setUp("two_equal_usb_microphones", "usb:1-1.3");
  const blocked = `${await Deno.realPath(`${setup.root}/sys/class/sound/card1/device/..`)}/serial`;
  await Deno.remove(blocked);
  await run("mkfifo", [blocked]); // as the kernel holds a reader while the device is reset
  const { device } = await setup.microphones.find();
  assertEquals([device?.usb?.path, device?.usb?.serial], ["1-1.3", "AB12"]);

  // No change is reported afterwards: what could not be read is read again all the same.
  const events = {
    sighting: () => ({ count: 0, atMs: 0 }),
    isCurrent: () => true,
    wait: () => Promise.resolve(),
  };
  const options = { ...setup.options, audioDevice: "usb:1-1.2", events };
  const microphones = new SystemMicrophones(options);
  assertEquals((await microphones.find()).device?.usb?.serial, null);
  await Deno.remove(blocked);
  await Deno.writeTextFile(blocked, "CD34\n");
  assertEquals((await microphones.find()).device?.usb?.serial, "CD34");
});

Deno.test("a sound system that gives no answer is reported as a problem of its own", async () => {
  await using setup = await setUp("one_usb_microphone");
  await withFakePrograms({ find: "exec sleep 60" }, async () => {
    const { diagnosis } = await assertRejects(() => setup.microphones.find(), NoMicrophoneError);
    assertEquals(diagnosis.code, "sound_system_hangs");
    assertStringIncludes(diagnosis.message, "find gave no answer within 3 s");
  });
});
