// The unit file: what the service cannot do without. systemd itself judges it in tests/integration.

import { assertMatch } from "@std/assert";

const UNIT = new URL("../../recorder-agent.service", import.meta.url);

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
