// The command of the unit that takes settings at boot, run by a shell as systemd would, with a program that notes how
// it was called.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";

const UNIT = new URL("../../packaging/debian/recorder-agent-setup.service", import.meta.url);

/** What the command prints, and the report beside the settings, if the boot partition is there or not. */
async function setUp(hasPartition: boolean) {
  const root = await Deno.makeTempDir({ prefix: "setup-unit-" });
  try {
    const boot = join(root, "boot");
    if (hasPartition) await Deno.mkdir(boot);
    const program = join(root, "recorder-agent");
    await Deno.writeTextFile(program, '#!/bin/sh\necho "$*"; echo warning >&2\n', { mode: 0o755 });
    const unit = (await Deno.readTextFile(UNIT)).replaceAll("\\\n", "");
    const command = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? "";
    const { success, stdout } = await new Deno.Command("/bin/sh", {
      args: [
        "-c",
        command.replaceAll("$$", "$").replaceAll("/boot/firmware", boot)
          .replace("/usr/local/bin/recorder-agent", program),
      ],
    }).output();
    assert(success);
    const report = await Deno.readTextFile(join(boot, "recorder-agent.txt")).catch(() => null);
    return { said: new TextDecoder().decode(stdout), report, boot };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("what install says about settings from the card is beside them, errors included", async () => {
  const { said, report, boot } = await setUp(true);
  assertEquals(report, `install --take ${boot}/recorder-agent.yaml\nwarning\n`);
  assertEquals(said, "");
});

Deno.test("settings on a card that cannot be written are taken all the same, with the report in the journal", async () => {
  const { said, report } = await setUp(false);
  assertMatch(said, /^install --take .*recorder-agent\.yaml\nwarning\n$/);
  assertEquals(report, null);
});
