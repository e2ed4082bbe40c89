// What `check` reports about the service and the checks that depend on it, for given answers of systemd.

import { assertEquals, assertMatch } from "@std/assert";
import {
  checkService,
  checkSpool,
  checkUser,
  type Unit,
} from "../../src/commands/check_machine.ts";
import type { Finding } from "../../src/commands/finding.ts";
import { loadConfig } from "../../src/config/config.ts";

const ABSENT: Unit = { LoadState: "not-found" };
const STOPPED: Unit = {
  LoadState: "loaded",
  UnitFileState: "enabled",
  ActiveState: "activating",
  SubState: "auto-restart",
  NRestarts: "7",
};
const RUNNING: Unit = { ...STOPPED, ActiveState: "active", SubState: "running" };
const CONFIG = loadConfig({
  path: "config.yaml",
  env: {},
  readTextFile: () =>
    `point_id: 11111111-1111-1111-1111-111111111111
register_id: 22222222-2222-2222-2222-222222222222
device_id: 33333333-3333-3333-3333-333333333333
ingest_base_url: https://ingest.example.com
ingest_token: s3cret-token
spool_dir: /nonexistent/spool
health_port: 1
`,
});

function inShort(findings: readonly Finding[]): string[] {
  return findings.map(({ name, verdict, because }) =>
    because === null ? `${name} ${verdict}` : `${name} ${verdict} because of ${because}`
  );
}

Deno.test("a service that is not installed fails once; checks of what install would create are skipped", async () => {
  const found = [
    ...await checkService(ABSENT, CONFIG),
    ...await checkUser(ABSENT),
    ...await checkSpool(CONFIG, ABSENT),
  ];
  assertEquals(inShort(found), [
    "service failed",
    "health skipped because of service",
    "user skipped because of service",
    "spool skipped because of service",
  ]);
});

Deno.test("a service that does not run fails once, and its health is skipped", async () => {
  assertEquals(inShort(await checkService(STOPPED, CONFIG)), [
    "service failed",
    "health skipped because of service",
  ]);
});

Deno.test("a service that starts for the first time has not failed; one that was restarted has", async () => {
  const starting = { ...STOPPED, SubState: "start", NRestarts: "0" };
  const health = "health skipped because of service";
  assertEquals(inShort(await checkService(starting, CONFIG)), ["service warning", health]);
  const again = { ...starting, NRestarts: "1" };
  assertEquals(inShort(await checkService(again, CONFIG)), ["service failed", health]);
});

Deno.test("the state of the unit is reported without a configuration, too; only its health is skipped", async () => {
  const dead = { ...STOPPED, ActiveState: "failed", SubState: "failed", NRestarts: "12" };
  const [service] = await checkService(dead, null);
  assertEquals(service?.message, "is failed (failed) after 12 restarts");
  for (const unit of [dead, STOPPED]) {
    assertEquals(inShort(await checkService(unit, null)), [
      "service failed",
      "health skipped because of configuration",
    ]);
  }
  assertEquals(inShort(await checkService({ ...dead, UnitFileState: "disabled" }, null)), [
    "service failed",
    "service failed",
    "health skipped because of configuration",
  ]);
  assertEquals(inShort(await checkService(RUNNING, null)), [
    "service ok",
    "health skipped because of configuration",
  ]);
});

Deno.test("without systemd, and for an installed service, user and spool have checks of their own", async () => {
  const root = await Deno.makeTempDir({ prefix: "check-machine-" });
  await Deno.mkdir(`${root}/etc`);
  await Deno.writeTextFile(`${root}/etc/passwd`, "root:x:0:0:root:/root:/bin/bash\n");
  for (const unit of [null, RUNNING]) {
    assertEquals(inShort(await checkUser(unit, root)), ["user failed"]);
    assertEquals(inShort(await checkSpool(CONFIG, unit)), ["spool warning"]);
  }
  assertEquals(inShort(await checkService(null, CONFIG)), ["service warning"]);
  assertEquals(inShort(await checkService(RUNNING, CONFIG)), ["service ok", "health failed"]);
  await Deno.remove(root, { recursive: true });
});

Deno.test("another user who answers on the port of the service is not believed", async () => {
  const answer = () => Response.json({ status: "ok", recording: true, problems: [] });
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  const config = { ...CONFIG, healthPort: server.addr.port };
  const own = Deno.uid() ?? 0;
  const health = async (uid: string) =>
    (await checkService({ ...RUNNING, UID: uid }, config)).find(({ name }) => name === "health");
  for (const uid of [String(own), "[not set]"]) {
    assertEquals((await health(uid))?.verdict, "ok", uid);
  }
  const foreign = await health(String(own + 1));
  assertEquals(foreign?.verdict, "failed");
  assertMatch(foreign?.message ?? "", /another user answers on port \d+ in place of the service/);
});
