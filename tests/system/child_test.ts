import { assert, assertEquals, assertRejects } from "@std/assert";
import { HangingError, killIfRunning, outputOf, spawnBound } from "../../src/system/child.ts";

Deno.test("outputOf() returns what a program writes, and whether it succeeded", async () => {
  const { success, stdout } = await outputOf("sh", ["-c", "printf hello; exit 3"]);
  assertEquals([success, new TextDecoder().decode(stdout)], [false, "hello"]);
  await assertRejects(() => outputOf("no-such-program", []), Deno.errors.NotFound);
});

Deno.test("a program that hangs is killed and reported", async () => {
  const startMs = performance.now();
  await assertRejects(
    () => outputOf("sleep", ["60"], { limitMs: 200 }),
    Error,
    "sleep gave no answer within 0.2 s",
  );
  assert(performance.now() - startMs < 5000);
});

Deno.test("a program that is killed gives no answer, whatever it has written", async () => {
  await assertRejects(
    () => outputOf("sh", ["-c", "echo half; kill -KILL $$"]),
    HangingError,
    "sh was killed (SIGKILL)",
  );
});

Deno.test("killing a program that has ended is not an error", async () => {
  const child = spawnBound("true", [], { stdout: "null", stderr: "null" });
  await child.status;
  killIfRunning(child);
});
