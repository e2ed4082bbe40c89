// A card that cannot be written, or is full, which is a mount here.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { replaceFile } from "../../../src/commands/install_files.ts";
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

Deno.test("a full disk keeps nothing of a program or a file for which it has no room", async () => {
  await using system = await makeRoot();
  const { root, executable } = system;
  const bin = join(root, "usr/local/bin");
  await Deno.mkdir(bin, { recursive: true });
  await run("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", bin]);
  try {
    const large = new Uint8Array(1 << 20);
    await Deno.writeFile(executable, large);
    assertEquals(await system.install(), 1);
    assertMatch(system.said(), /Cannot copy the program[^]*No space left.*\n.*undone/);
    await replaceFile(join(bin, "file"), large, { mode: 0o600, uid: 0, gid: 0 })
      .then(() => assert(false), (error) => assertMatch(`${error}`, /No space left/));
    assertEquals([...Deno.readDirSync(bin)], []);
  } finally {
    await run("umount", [bin]);
  }
});

Deno.test("output that cannot be written ends neither an installation nor its removal halfway", async () => {
  const fixture = new URL("../../fixtures/installed_system.ts", import.meta.url);
  const script = `import { makeRoot } from "${fixture}";
await using system = await makeRoot();
const unit = system.root + "/etc/systemd/system/recorder-agent.service";
const isThere = () => Deno.stat(unit).then(() => true, () => false);
const installed = [await system.install({ print: undefined }), await isThere()];
const removed = [await system.uninstall({ print: undefined }), await isThere()];
console.error(JSON.stringify([installed, removed]));`;
  const { stderr } = await new Deno.Command("/bin/sh", {
    args: ["-c", 'exec "$0" eval --no-check "$1" > /dev/full', Deno.execPath(), script],
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "[[0,true],[0,false]]\n");
});
