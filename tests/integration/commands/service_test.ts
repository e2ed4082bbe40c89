// The unit file, checked with systemd itself.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";

const UNIT = new URL("../../../recorder-agent.service", import.meta.url);

Deno.test("systemd finds nothing wrong with recorder-agent.service", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "recorder-agent.service");
  const unit = await Deno.readTextFile(UNIT);
  // The program is not installed where the tests run.
  await Deno.writeTextFile(path, unit.replace("/usr/local/bin/recorder-agent", "/usr/bin/true"));
  const { code, stderr } = await new Deno.Command("systemd-analyze", { args: ["verify", path] })
    .output();
  await Deno.remove(dir, { recursive: true });
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(code, 0);
});

Deno.test("the exposure of the unit is 1.3 or less: 1.3 with systemd 252 and with 257", async () => {
  const { code, stdout } = await new Deno.Command("systemd-analyze", {
    args: ["security", "--offline=true", "--no-pager", UNIT.pathname],
  }).output();
  const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(
    new TextDecoder().decode(stdout),
  ) ?? [];
  assertEquals(code, 0);
  assert(Number(exposure) <= 1.3, `${exposure}`);
});

Deno.test("a start of the service continues a trial that a stop has interrupted", async () => {
  assertMatch(await Deno.readTextFile(UNIT), /^Wants=recorder-agent-update\.service$/m);
});
