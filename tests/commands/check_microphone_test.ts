// What `check` says about the microphone of described sound systems (fixtures/sound).

import { assertEquals } from "@std/assert";
import { checkMicrophone } from "../../src/commands/check_microphone.ts";
import { soundRoot } from "../fixtures/sound/root.ts";

Deno.test("without a configuration the microphone is not opened: the service may be recording it", async () => {
  await using system = await soundRoot("one_usb_microphone");
  const found = await checkMicrophone(null, system);
  assertEquals(found.slice(1).map(({ name, verdict, because }) => [name, verdict, because]), [
    ["microphone", "ok", null],
    ["level", "skipped", "configuration"],
  ]);
});
