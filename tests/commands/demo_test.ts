// The demo's table. The binaries run the whole demo (tests/integration/binaries_test.ts).

import { assertEquals } from "@std/assert";
import { type ChunkName, formatChunkName } from "../../src/chunk/chunk_name.ts";
import { levelOf, playCommand } from "../../src/commands/demo.ts";
import type { HealthReport } from "../../src/status/status.ts";
import { makeName } from "../fixtures/chunks.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

Deno.test("the demo waits until the chunk that was delivered is reported, and shows its level", async () => {
  const clock = new SimulatedClock(0);
  const [before, chunk, after] = [makeName(1), makeName(2), makeName(3)];
  const { key } = chunk;
  const reported = (name: ChunkName, rms_dbfs: number | null): HealthReport["last_chunk"] => ({
    ...{ name: formatChunkName(name), seconds: 5, bytes: 1000, peak_dbfs: -3, rms_dbfs },
    ...{ noise_floor_dbfs: null, clipped_share: null },
  });
  let last: HealthReport["last_chunk"] = null;
  const first = levelOf(key, () => last, clock);
  await clock.advance(200);
  last = reported(before, -20);
  await clock.advance(200);
  last = reported(chunk, -12.5);
  await clock.advance(100);
  assertEquals(await first, -12.5);
  last = reported(chunk, null);
  assertEquals(await levelOf(key, () => last, clock), null, "it has no level");
  last = reported(after, -20);
  const never = levelOf(key, () => last, clock);
  await clock.advance(2000);
  assertEquals(await never, null, "that of another chunk is not shown");
});

Deno.test("the command that the demo prints names its file to a shell, whatever the folder is called", async () => {
  const paths = [
    "demo-recordings/2026-11-23T18-45-00.ogg",
    "/tmp/Anna's till $1/a b.ogg",
    "Касса/а.ogg",
  ];
  for (const path of paths) {
    const args = ["-c", `ffplay() { printf %s "$4"; }; ${playCommand(path)}`];
    const { stdout } = await new Deno.Command("sh", { args }).output();
    assertEquals(new TextDecoder().decode(stdout), path);
  }
});
