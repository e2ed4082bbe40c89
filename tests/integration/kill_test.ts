// SIGKILL once at every kind of moment; `deno task test:kill` kills two hundred times. On a busy machine some
// kills cost more, because sound waits in ffmpeg for a processor: here, the third part that cost least counts.

import { assert, assertEquals } from "@std/assert";
import { defectsOf, judge, MOST_LOST_MS, MOST_OFF_MS, offMs } from "../kill/judge.ts";
import { runKills } from "../kill/kill_runs.ts";

/** The value that a third of all do not exceed. */
function lowerThird(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 3)] ?? NaN;
}

Deno.test("a kill costs less than 1 s of sound, and leaves no broken file, double sound or process", async () => {
  const record = await runKills({ runs: 7, seed: 2026 });
  const verdict = await judge(record);
  assertEquals(new Set(record.lives.map(({ moment }) => moment)).size, 7);
  assertEquals(defectsOf(verdict), []);
  assert(verdict.losses.length >= 3, `${verdict.losses.length} kills happened during a recording`);
  assert(verdict.heard.length >= 3, `${verdict.heard.length} chunks were compared`);
  const lostMs = verdict.losses.map(({ lostMs }) => lostMs);
  assert(lowerThird(lostMs) <= MOST_LOST_MS, `lost, ms: ${lostMs.join(", ")}`);
  const off = verdict.heard.map(offMs);
  assert(lowerThird(off) <= MOST_OFF_MS, `off, ms: ${off.join(", ")}`);
});
