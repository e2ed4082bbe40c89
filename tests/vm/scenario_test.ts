// Tests the choice of scenarios.

import { assertEquals, assertThrows } from "@std/assert";
import { chooseScenarios, type Scenario } from "./scenario.ts";

const run = () => Promise.resolve();
const ALL: readonly Scenario[] = [
  { name: "boot", what: "", run },
  { name: "takeover", what: "", run },
  { name: "rollback", what: "", after: "takeover", run },
  { name: "first-boot", what: "", after: "takeover", run },
];
const chosen = (...names: string[]) => chooseScenarios(ALL, names).map(({ name }) => name);

Deno.test("scenarios run in the order in which they are named", () => {
  assertEquals(chosen("takeover", "boot"), ["takeover", "boot"]);
});

Deno.test("a scenario runs after the one that it needs, which runs once", () => {
  assertEquals(chosen("boot", "rollback", "first-boot"), [
    "boot",
    "takeover",
    "rollback",
    "first-boot",
  ]);
  assertEquals(chosen("rollback", "takeover"), ["takeover", "rollback"]);
});

Deno.test("a scenario that does not exist is named", () => {
  assertThrows(() => chosen("boot", "reboots"), Error, "Cannot run reboots");
});
