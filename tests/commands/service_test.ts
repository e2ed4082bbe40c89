// The unit file, checked with systemd itself.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";

const UNIT = new URL("../../recorder-agent.service", import.meta.url);

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

Deno.test("the sandbox keeps the exposure at 1.5 or less", async () => {
  const { code, stdout } = await new Deno.Command("systemd-analyze", {
    args: ["security", "--offline=true", "--no-pager", UNIT.pathname],
  }).output();
  const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(
    new TextDecoder().decode(stdout),
  ) ?? [];
  assertEquals(code, 0);
  assert(Number(exposure) <= 1.5, `${exposure}`);
});

Deno.test("the unit starts after network and sound, always restarts, and stops gracefully", async () => {
  const unit = await Deno.readTextFile(UNIT);
  for (
    const line of [
      /^After=network.target sound.target$/m,
      /^Restart=always$/m,
      /^StartLimitIntervalSec=0$/m,
      /^User=recorder-agent$/m,
      /^SupplementaryGroups=audio$/m,
      /^StateDirectory=recorder-agent /m,
      /^ConfigurationDirectory=recorder-agent$/m,
      /^KillMode=mixed$/m,
      /^TimeoutStopSec=15$/m,
      /^Type=notify$/m,
      /^WatchdogSec=3min$/m, // tests/system/notify_socket_test.ts shows that it is enough
      /^RuntimeDirectory=recorder-agent$/m,
      /^LoadCredential=ingest-token:\/etc\/recorder-agent\/token$/m,
      /^SetCredential=ingest-token:/m, // without it a missing file would prevent the start of the unit
      /^SystemCallFilter=capset$/m, // without it setpriv could not start ffmpeg
      /^Wants=modprobe@snd.service$/m, // without it DeviceAllow=char-alsa has no effect
    ]
  ) assertMatch(unit, line);
});
