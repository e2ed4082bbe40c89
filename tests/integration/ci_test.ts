import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";

const COUNT = join(import.meta.dirname ?? ".", "../../.ci/count");

/** What `.ci/count` makes of the output of a gate. */
async function count(...lines: string[]): Promise<string> {
  const child = new Deno.Command("bash", { args: [COUNT], stdin: "piped", stdout: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
  await writer.close();
  const { code, stdout } = await child.output();
  assertEquals(code, 0);
  return new TextDecoder().decode(stdout);
}

Deno.test("the gate counts the tests of all its runs together", async () => {
  const unit = "ok | 712 passed (3 steps) | 0 failed (25s)";
  const system = "FAILED | 98 passed | 2 failed | 1 ignored (6m3s)";
  assertEquals(
    await count("Task ok …", unit, "", "Task …", system),
    "810 passed, 2 failed, 1 skipped\n",
  );
  assertEquals(await count(unit, unit), "1424 passed, 0 failed\n");
});

Deno.test("the gate counts a single run, and its colours do not matter", async () => {
  assertEquals(await count("FAILED | 5 passed | 1 failed (1s)"), "5 passed, 1 failed\n");
  const coloured =
    "\u001b[0m\u001b[32mok\u001b[0m | 3 passed | 0 failed \u001b[38;5;245m(1s)\u001b[0m";
  assertEquals(await count(coloured), "3 passed, 0 failed\n");
});

Deno.test("a gate that never came to a test has no count", async () => {
  assertEquals(await count("error: Found 1 not formatted file in 278 files"), "");
  assertEquals(await count(), "");
});
