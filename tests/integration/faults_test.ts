// Hundreds of schedules of faults with the real spool, recovery, writer, uploader and janitor: kills and
// power cuts at every system call, failing disks, wrong answers of servers. `deno task test:faults` runs
// more of them, and prints what happened to the sound.

import { assert, assertEquals } from "@std/assert";
import { runJobs, runSeeds } from "../faults/jobs.ts";

Deno.test("no fault of 400 schedules loses, doubles or tears a chunk", async () => {
  const { report, failure } = await runJobs({ seed: 1, seeds: 400, jobs: 4 });
  assertEquals(failure, null, failure ?? "");
  assertEquals(report.schedules, 400);
  assertEquals([report.chunks.lost, report.chunks.doubled], [0, 0]);
  // The faults really happened.
  const { chunks, injected } = report;
  assert(report.boots > 1200 && report.faults > 3200 && chunks.accepted > 1200, report.table(0));
  for (
    const kind of [
      "kill",
      "power cut",
      "ENOSPC",
      "EIO rename",
      "422",
      "size limit",
      "fails on one chunk",
      "429",
      "accepted, answer lost",
    ]
  ) {
    assert((injected[kind] ?? 0) > 8, report.table(0));
  }
  const { blamed, evicted, waiting, repeats, begunBehind } = chunks;
  assert(blamed > 2, report.table(0)); // rare: the server must accept another one in between
  for (const some of [evicted, waiting, repeats, begunBehind]) {
    assert(some > 8, report.table(0));
  }
  assert(report.killLossMs <= 1000 && report.powerCutLossMs <= 5000, report.table(0));
});

Deno.test("the same seed repeats the same schedule", async () => {
  const run = async () => {
    const { report, failure } = await runSeeds({ seed: 5, seeds: 3, step: 1 }, 40);
    assertEquals(failure, null, failure ?? "");
    // How many chunks were sealed before a power cut depends on how quickly the disk answers.
    return [report.boots, report.killLossMs, report.powerCutLossMs];
  };
  assertEquals(await run(), await run());
});
