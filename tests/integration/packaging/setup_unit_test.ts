// The command of the unit that takes settings at boot, run by a shell as systemd would, with a program that notes how
// it was called.

import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";

const UNIT = new URL("../../../packaging/debian/recorder-agent-setup.service", import.meta.url);

/** What the command prints, its exit code, and the report beside the settings. */
async function setUp(partition: "writable" | "full" | "missing", exitCode = 0) {
  const root = await Deno.makeTempDir({ prefix: "setup-unit-" });
  try {
    const boot = join(root, "boot");
    if (partition !== "missing") await Deno.mkdir(boot);
    if (partition === "full") await Deno.symlink("/dev/full", join(boot, "recorder-agent.txt"));
    const program = join(root, "recorder-agent");
    // As the program, it ends if its output cannot be written.
    const lines = ["#!/bin/sh -e", 'echo "$*"', "echo warning >&2", `exit ${exitCode}`];
    await Deno.writeTextFile(program, `${lines.join("\n")}\n`, { mode: 0o755 });
    const unit = (await Deno.readTextFile(UNIT)).replaceAll("\\\n", "");
    const command = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? "";
    const { code, stdout } = await new Deno.Command("/bin/sh", {
      args: [
        "-c",
        command.replaceAll("$$", "$").replaceAll("/boot/firmware", boot)
          .replace("/usr/local/bin/recorder-agent", program),
      ],
    }).output();
    const report = partition === "writable"
      ? await Deno.readTextFile(join(boot, "recorder-agent.txt"))
      : null;
    return { code, said: new TextDecoder().decode(stdout), report, boot };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("what install says about settings from the card is beside them and in the journal, errors included", async () => {
  const { code, said, report, boot } = await setUp("writable");
  assertEquals(report, `install --take ${boot}/recorder-agent.yaml\nwarning\n`);
  assertEquals([code, said], [0, report]);
});

Deno.test("settings on a card that is full or cannot be written are taken all the same, with the report in the journal", async () => {
  for (const partition of ["full", "missing"] as const) {
    const { code, said } = await setUp(partition);
    assertMatch(said, /^install --take .*recorder-agent\.yaml\nwarning\n$/, partition);
    assertEquals(code, 0, partition);
  }
});

Deno.test("settings that are not accepted fail the unit, whatever becomes of the report", async () => {
  for (const partition of ["writable", "full"] as const) {
    assertEquals((await setUp(partition, 3)).code, 3, partition);
  }
});
