// SIGKILL once at every kind of moment; `deno task test:kill` kills two hundred times.

import { assert, assertEquals } from "@std/assert";
import { faultsOf, judge } from "../kill/judge.ts";
import { runKills } from "../kill/kill_runs.ts";

Deno.test("a kill costs at most 1 s of sound, and leaves no broken file, double sound or process", async () => {
  const record = await runKills({ runs: 7, seed: 2026 });
  const verdict = await judge(record);
  assertEquals(new Set(record.lives.map(({ moment }) => moment)).size, 7);
  assertEquals(faultsOf(verdict), []);
  assert(
    verdict.losses.length >= 3,
    `only ${verdict.losses.length} kills happened during a recording`,
  );
  assert(verdict.heard.length >= 3, `only ${verdict.heard.length} chunks were compared`);
});
