// Work that is tied to a signal for a while.

import { assertEquals, assertRejects } from "@std/assert";
import { onAbort, untilAborted } from "../../src/system/on_abort.ts";

Deno.test("work ends with its signal, at once if that has aborted, and not after it is done", () => {
  const said: string[] = [];
  const first = new AbortController();
  {
    using _ = onAbort(first.signal, () => said.push("during"));
  }
  using _ = onAbort(first.signal, () => said.push("second"));
  first.abort();
  using _late = onAbort(first.signal, () => said.push("late"));
  assertEquals(said, ["second", "late"]);
});

Deno.test("a promise that never ends is given up with the reason of the signal", async () => {
  const stop = new AbortController();
  const never = untilAborted(new Promise(() => {}), stop.signal);
  stop.abort(new Error("enough"));
  await assertRejects(() => never, Error, "enough");
  await assertRejects(() => untilAborted(Promise.resolve(1), stop.signal), Error, "enough");
  assertEquals(await untilAborted(Promise.resolve(1), new AbortController().signal), 1);
});
