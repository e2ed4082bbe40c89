import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { readChannels, writeChannels } from "../../src/microphone/known_channels.ts";

Deno.test("channels are remembered per microphone and count, the last 16 of them", async () => {
  const dir = await Deno.makeTempDir();
  const choice = { channels: [2], reason: "a test", ownDbfs: [null, null, -30, null] };
  await writeChannels(dir, "a", 4, choice);
  assertEquals(await readChannels(dir, "a", 4), choice);
  assertEquals(await readChannels(dir, "a", 2), null);
  assertEquals(await readChannels(dir, "b", 4), null);
  for (let n = 0; n < 15; n++) await writeChannels(dir, `m${n}`, 2, choice);
  await writeChannels(dir, "m0", 2, { ...choice, channels: [1] });
  assertEquals((await readChannels(dir, "a", 4))?.channels, [2]);
  assertEquals((await readChannels(dir, "m0", 2))?.channels, [1]);
  await writeChannels(dir, "m99", 2, choice);
  assertEquals(await readChannels(dir, "a", 4), null);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a broken file of channels is the same as none, and is replaced", async () => {
  const dir = await Deno.makeTempDir();
  for (
    const text of [
      "",
      "{",
      "null",
      "[null, 1, {}]",
      '[{"microphone": "a", "count": 2}]',
      '[{"microphone": "a", "count": 2, "channels": [0], "reason": "", "ownDbfs": ["loud"]}]',
    ]
  ) {
    await Deno.writeTextFile(join(dir, "channels.json"), text);
    assertEquals(await readChannels(dir, "a", 2), null, text);
    await writeChannels(dir, "a", 2, { channels: [0, 1], reason: "" });
    assertEquals((await readChannels(dir, "a", 2))?.channels, [0, 1], text);
  }
  await Deno.remove(dir, { recursive: true });
});
