// Settings on a card that cannot be written, which is a mount here.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { run } from "../../fixtures/command.ts";
import { makeRoot, SET } from "../../fixtures/installed_system.ts";

Deno.test("a card that cannot be written sets the till up, and keeps the file with a warning", async () => {
  await using system = await makeRoot();
  const take = join(system.root, "recorder-agent.yaml");
  const lines = SET.map((setting) => setting.replace("=", ": "));
  const file = [...lines, "ingest_token: a-secret-token", ""].join("\n");
  await Deno.writeTextFile(take, file);
  // Even root may not change what a read-only mount shows.
  await run("mount", ["--bind", take, take]);
  try {
    await run("mount", ["-o", "remount,bind,ro", take]);
    assertEquals(await system.install({ set: [], env: {}, take }), 0, system.said());
  } finally {
    await run("umount", [take]);
  }
  assertMatch(
    system.said(),
    /✘ Wipe and remove .*\n.*still has the token.*Read-only file system/,
  );
  assert(!system.said().includes("a-secret-token"));
  const config = await Deno.readTextFile(join(system.root, "etc/recorder-agent/config.yaml"));
  assertMatch(config, /^point_id: 11111111-/m);
  assertEquals(await Deno.readTextFile(take), file);
});
