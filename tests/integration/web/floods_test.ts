// The short form of tests/floods/run.ts: the program from source, floods of the same user, a few seconds.

import { assertEquals } from "@std/assert";
import { floodAgent } from "../../floods/flooded_agent.ts";
import { objectionsTo } from "../../floods/run.ts";

Deno.test("no flood of the health port costs the recording anything", async () => {
  const run = await floodAgent({ kinds: ["silence"], seconds: 3 });
  // From source the program holds its compiler, too.
  const floods = run.floods.map((flood) => ({ ...flood, peakRssKb: 0 }));
  assertEquals(objectionsTo({ ...run, floods }), []);
});
