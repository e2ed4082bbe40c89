import { assertEquals, assertMatch } from "@std/assert";

Deno.test("without `write` lines go to stderr, and a closed stderr is not an error", async () => {
  const script = `import { startLog } from "${new URL(
    "../../../src/system/log.ts",
    import.meta.url,
  )}";
    const log = startLog({ level: "DEBUG", journal: false });
    log.info("first");
    for (let i = 0; i < 5000; i++) log.info("x".repeat(100));
    console.log("still alive");`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", script],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  assertMatch(new TextDecoder().decode(value), /"message":"first"/);
  assertEquals(await new Response(child.stdout).text(), "still alive\n");
  assertEquals((await child.status).code, 0);
});
