// The short form of bench/states.ts: the compiled program in several states concurrently, for two minutes.
// It does not measure speed; its limits allow for other load on the machine.

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { childrenIn, traced } from "../../bench/states/children.ts";
import { type Limits, objectionsTo, summarize, type Window } from "../../bench/states/judge.ts";
import { findStates } from "../../bench/states/table.ts";
import { watch } from "../../bench/states/watch.ts";
import { buildBinaries } from "../fixtures/binaries.ts";

const NAMES = ["recording", "no-microphone", "no-server", "neither", "off-schedule", "503"];
const SECONDS = 105;
const EVERY_S = 2;
const WINDOW: Window = { warmUpS: 40, medianS: 20 };
/**
 * Of anonymous memory. A child process per second whose output was buffered twice cost 110. Garbage that is
 * collected when 2 MB have gathered makes up to 20 in so short a time.
 */
const MOST_SLOPE_KB_S = 40;
/** In such a short time a slope is more reliable than begin and end: these limits are for jumps. */
const LIMITS: Limits = { grownKb: 4 * 1024, aboveKb: 6 * 1024, descriptors: 3 };

Deno.test("no state grows, keeps descriptors or starts programs at an interval", async (t) => {
  await using binaries = await buildBinaries();
  const watched = await watch(findStates(NAMES), {
    chunkSeconds: 5,
    program: binaries.x64,
    seconds: SECONDS,
    everyS: EVERY_S,
  });
  for (const { state, samples, failure } of watched) {
    await t.step(state.words, () => {
      assertEquals(failure, null);
      const summary = summarize(samples, WINDOW);
      const slope = summary.slopeKbS < MOST_SLOPE_KB_S
        ? []
        : [`${state.name}: it grows by ${summary.slopeKbS.toFixed(1)} kB per second`];
      assertEquals([...slope, ...objectionsTo(state, summary, LIMITS)], []);
    });
  }
});

Deno.test("every program that a process starts is counted, and the process itself is unchanged", async () => {
  const dir = await Deno.makeTempDir({ prefix: "states-test-" });
  const trace = join(dir, "trace");
  const script = "for i in 1 2 3; do grep -q root /etc/passwd; done; setpriv -- find /dev/null; " +
    "no-such-program 2>&-; echo $$";
  const [program = "", ...args] = [...traced(trace), "sh", "-c", script];
  const child = new Deno.Command(program, { args, stdout: "piped", stderr: "inherit" }).spawn();
  const stdout = new TextDecoder().decode((await child.output()).stdout);
  assertEquals(stdout, `/dev/null\n${child.pid}\n`);
  const children = childrenIn(await Deno.readTextFile(trace), child.pid);
  assertEquals(Object.fromEntries(children), { grep: 3, find: 1 });
  await Deno.remove(dir, { recursive: true });
});
