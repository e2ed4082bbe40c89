// Which scenarios run, and in which order.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { SCENARIOS } from "./run.ts";
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

Deno.test("an unknown name is an error that says the name", () => {
  assertThrows(() => chosen("boot", "reboots"), Error, "Cannot run reboots");
});

Deno.test("the names of the scenarios are unique, and each that needs another one stands behind it", () => {
  const names = SCENARIOS.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
  for (const [at, { name, after }] of SCENARIOS.entries()) {
    assert(after === undefined || names.slice(0, at).includes(after), `${name} needs ${after}`);
  }
});
