// The results of several runs in several guests become one table.

import { assertEquals } from "@std/assert";
import { makeMemoryDir } from "../fixtures/memory_dir.ts";
import { keepResult, readResults, type Result, resultsTable, sourcesOf } from "./results.ts";
import type { Finding } from "./scenario.ts";

function result(program: string, ...findings: Partial<Finding>[]): Result {
  const whole = findings.map((finding) => ({
    what: "",
    value: "",
    limit: "",
    holds: true,
    ...finding,
  }));
  return { program, day: "2026-11-30", findings: whole };
}

Deno.test("a later run of a scenario replaces its result, and those of the others stay", async () => {
  const folder = await makeMemoryDir();
  try {
    assertEquals(await readResults(folder), {});
    await keepResult(folder, "boot", result("1"));
    await keepResult(folder, "kill", result("1"));
    await keepResult(folder, "boot", result("2", { what: "first packet", value: "2.0 s" }));
    const all = await readResults(folder);
    assertEquals(Object.keys(all).sort(), ["boot", "kill"]);
    assertEquals(all["boot"], result("2", { what: "first packet", value: "2.0 s" }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the table has a column for each guest, and every measurement of any of them in its place", () => {
  const [packet, yes] = [{ what: "first packet", limit: "≤ 5 s" }, { limit: "must" }];
  const guests = new Map([
    ["Debian 12", {
      kill: result("0.3.0", { what: "lost", value: "0.6 s", limit: "≤ 1 s" }),
      boot: result(
        "0.3.0",
        { ...packet, value: "2.0 s" },
        { ...yes, what: "at the end", value: "yes" },
      ),
    }],
    ["Debian 13", {
      boot: result(
        "0.3.1",
        { ...packet, value: "2.1 s" },
        { ...packet, value: "6.0 s", holds: false },
        { what: "only here", value: `\`a|b\n${"x".repeat(200)}\`` },
        { ...yes, what: "at the end", value: "yes" },
      ),
    }],
  ]);
  assertEquals(resultsTable(["boot", "kill"], guests).split("\n"), [
    "| scenario | measured | Debian 12 | Debian 13 | limit |",
    "| --- | --- | --- | --- | --- |",
    "| boot | first packet | 2.0 s | ✘ 6.0 s | ≤ 5 s |",
    `| boot | only here | – | \`a\\|b ${"x".repeat(94)}…\` |  |`,
    "| boot | at the end | yes | yes | must |",
    "| kill | lost | 0.6 s | – | ≤ 1 s |",
  ]);
  assertEquals(
    sourcesOf(guests),
    "- Debian 12: 0.3.0; 2026-11-30\n- Debian 13: 0.3.1; 2026-11-30",
  );
});
