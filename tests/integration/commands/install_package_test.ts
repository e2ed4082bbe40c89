// `install` on a system with the Debian package, alone and beside a program that was copied.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import {
  PACKAGED_PROGRAM,
  PACKAGED_UNIT,
  refuseSecond,
} from "../../../src/commands/install_package.ts";
import { exists } from "../../../src/system/disk.ts";
import { makeRoot, snapshot } from "../../fixtures/installed_system.ts";

const WANTS = "/etc/systemd/system/multi-user.target.wants/recorder-agent.service";

/** Puts what the package brings into the system. */
async function unpack({ root }: { root: string }): Promise<void> {
  for (
    const [path, text] of [[PACKAGED_PROGRAM, "packaged"], [PACKAGED_UNIT, "[Unit]\n"]] as const
  ) {
    await Deno.mkdir(join(root, path, ".."), { recursive: true });
    await Deno.writeTextFile(join(root, path), text);
  }
  const accounts = (name: string, line: string) =>
    Deno.writeTextFile(join(root, "etc", name), line, { append: true });
  await accounts("group", "recorder-agent:x:999:\n");
  await accounts("passwd", "recorder-agent:x:999:999::/var/lib/recorder-agent:/usr/sbin/nologin\n");
}

Deno.test("with the package, install writes configuration and token and enables the unit of the package", async () => {
  await using system = await makeRoot();
  await unpack(system);
  assertEquals(await system.install(), 0, system.said());
  const found = [...snapshot(system.root).keys()];
  assert(found.includes("/etc/recorder-agent/config.yaml"));
  assert(found.includes("/etc/recorder-agent/token"));
  assertEquals(await Deno.readLink(join(system.root, WANTS)), PACKAGED_UNIT);
  assert(!found.some((path) => path.startsWith("/usr/local")), found.join("\n"));
  assert(!found.includes("/etc/systemd/system/recorder-agent.service"));
  assertEquals(await Deno.readTextFile(join(system.root, PACKAGED_PROGRAM)), "packaged");
});

Deno.test("the package takes over from a copied program, which becomes its previous one", async () => {
  await using system = await makeRoot();
  assertEquals(await system.install(), 0, system.said());
  await unpack(system);
  assertEquals(await system.install({ set: [], env: {} }), 0, system.said());
  assertEquals(await Deno.readLink(join(system.root, WANTS)), PACKAGED_UNIT);
  const judge = WANTS.replace("recorder-agent.service", "recorder-agent-update.service");
  assertEquals(
    await Deno.readLink(join(system.root, judge)),
    PACKAGED_UNIT.replace("recorder-agent.service", "recorder-agent-update.service"),
  );
  const old = await Deno.readTextFile(join(system.root, `${PACKAGED_PROGRAM}.old`));
  assertEquals(old, "#!/bin/sh\necho version one\n");
  const left = [...snapshot(system.root).keys()].filter((path) =>
    /^\/usr\/local\/.*recorder-agent|^\/etc\/systemd\/system\/recorder-agent/.test(path)
  );
  assertEquals(left, []);
  const config = await Deno.readTextFile(join(system.root, "etc/recorder-agent/config.yaml"));
  assertMatch(config, /^point_id: 11111111-/m);
});

Deno.test("a power cut in a takeover leaves a program that starts at the next boot", async () => {
  for (let cut = 1, isDone = false; !isDone; cut++) {
    await using system = await makeRoot();
    assertEquals(await system.install(), 0, system.said());
    await unpack(system);
    let steps = 0;
    const print = (line: string) => {
      if (!line.startsWith("  ✔ ") || ++steps < cut) return;
      throw new Error("power");
    };
    isDone = await system.install({ set: [], env: {}, print }) === 0;
    const has = (path: string) => exists(join(system.root, path));
    const unit = "/etc/systemd/system/recorder-agent.service";
    assert(
      await has(WANTS) && (await has("/usr/local/bin/recorder-agent") || !await has(unit)),
      `${cut}`,
    );
    // And it is continued.
    assertEquals(await system.install({ set: [], env: {} }), 0, system.said());
    assertEquals(await Deno.readLink(join(system.root, WANTS)), PACKAGED_UNIT, `${cut}`);
  }
});

Deno.test("uninstall of a package purges what it is told to, and names the command that removes the package", async () => {
  await using system = await makeRoot();
  await unpack(system);
  assertEquals(await system.install(), 0, system.said());
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  assertMatch(system.said(), /sudo apt-get purge recorder-agent/);
  const left = [...snapshot(system.root).keys()];
  assert(left.includes(PACKAGED_PROGRAM) && left.includes(PACKAGED_UNIT));
  assert(!left.some((path) => path.startsWith("/etc/recorder-agent")), left.join("\n"));
  assert(!left.includes(WANTS));
});

Deno.test("a copied program is refused beside the package, with both ways out", () => {
  refuseSecond(PACKAGED_PROGRAM);
  const error = assertThrows(() => refuseSecond("/home/pi/recorder-agent"), Error);
  assertMatch(error.message, /apt-get install \.\/recorder-agent_.*apt-get remove recorder-agent/);
});
