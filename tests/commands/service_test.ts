// The unit file: the settings that the service needs. tests/integration checks it with systemd itself.

import { assertEquals, assertMatch } from "@std/assert";

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
      /^BindPaths=-\/dev\/snd$/m, // without it PrivateDevices= would hide every microphone
    ]
  ) assertMatch(unit, line);
});

Deno.test("nothing can be started in any folder that the service may write to", async () => {
  const unit = await Deno.readTextFile(UNIT);
  const valuesOf = (key: string) =>
    [...unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].flatMap(([, text = ""]) =>
      text.split(" ")
    );
  const writable = [
    ...valuesOf("StateDirectory").map((name) => `/var/lib/${name}`),
    ...valuesOf("RuntimeDirectory").map((name) => `/run/${name}`),
    ...["CacheDirectory", "LogsDirectory", "ReadWritePaths"].flatMap(valuesOf),
    ...["/tmp", "/var/tmp", "/dev/shm"], // PrivateTmp= and PrivateDevices= mount them
  ];
  const closed = valuesOf("NoExecPaths").filter((path) => path !== "/");
  const isClosed = (path: string) =>
    closed.some((folder) => path === folder || path.startsWith(`${folder}/`));
  assertEquals(writable.filter((path) => !isClosed(path)), []);
  const readOnly = valuesOf("BindReadOnlyPaths"); // ProtectSystem= does not hold for them
  assertEquals(valuesOf("ExecPaths").filter((path) => !readOnly.includes(path)), []);
});
