import { assertEquals } from "@std/assert";
import { activeMs } from "./active_time.ts";

Deno.test("a process that waits for a processor is not active; one that sleeps is, as if it hung", () => {
  const before = { cpuMs: 300, isReady: true };
  assertEquals(activeMs(before, { cpuMs: 320, isReady: true }, 1000), 20, "starved");
  assertEquals(activeMs(before, { cpuMs: 2300, isReady: true }, 1000), 2000, "on two cores");
  assertEquals(activeMs(before, { cpuMs: 300, isReady: false }, 1000), 1000, "asleep");
});
