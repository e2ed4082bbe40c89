// The unit file, judged by systemd itself.

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

Deno.test("the sandbox leaves an exposure of 1.5 at most", async () => {
  const { code, stdout } = await new Deno.Command("systemd-analyze", {
    args: ["security", "--offline=true", "--no-pager", UNIT.pathname],
  }).output();
  const [, exposure] = /Overall exposure level for \S+: ([\d.]+)/.exec(
    new TextDecoder().decode(stdout),
  ) ?? [];
  assertEquals(code, 0);
  assert(Number(exposure) <= 1.5, `${exposure}`);
});

Deno.test("the unit starts after network and sound, restarts for ever, and stops gently", async () => {
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
      /^SetCredential=ingest-token:/m, // a missing file would keep the unit from starting
      /^SystemCallFilter=capset$/m, // setpriv would start no ffmpeg
      /^Wants=modprobe@snd.service$/m, // and DeviceAllow=char-alsa would mean nothing
    ]
  ) assertMatch(unit, line);
});
