import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "node:path";
import { join } from "@std/path/join";
import type { InstallOptions } from "../../../src/commands/install.ts";
import { applySettings } from "../../../src/commands/config_edit.ts";
import { type Ask, readSettings } from "../../../src/commands/install_settings.ts";
import { carryOut, type Step } from "../../../src/commands/install_steps.ts";
import { loadConfig } from "../../../src/config/config.ts";
import { makeRoot, SET, snapshot } from "../../fixtures/installed_system.ts";

Deno.test("install sets up the program, its user, configuration, token and unit", async () => {
  await using system = await makeRoot();
  assertEquals(await system.install(), 0, system.said());
  const passwd = await Deno.readTextFile(join(system.root, "etc/passwd"));
  const [, , uid, gid] = /^recorder-agent:.*$/m.exec(passwd)?.[0].split(":") ?? [];
  assertMatch(await Deno.readTextFile(join(system.root, "etc/group")), /^audio:.*recorder-agent$/m);
  const found = snapshot(system.root);
  const rights = (path: string) => found.get(path)?.replace(/ \d+$/, "");
  assertEquals(rights("/usr/local/bin/recorder-agent"), "755 0:0");
  assertEquals(rights("/etc/recorder-agent"), `750 0:${gid}`);
  assertEquals(rights("/etc/recorder-agent/config.yaml"), `640 0:${gid}`);
  assertEquals(rights("/etc/recorder-agent/token"), "600 0:0");
  assertEquals(rights("/etc/systemd/system/recorder-agent.service"), "644 0:0");
  assert(found.has("/etc/systemd/system/multi-user.target.wants/recorder-agent.service"));
  assert(Number(uid) > 0);

  const text = await Deno.readTextFile(join(system.root, "etc/recorder-agent/config.yaml"));
  assert(!text.includes("a-secret-token"), "the token is in the configuration");
  assert(!system.said().includes("a-secret-token"), "the token was printed");
  const config = loadConfig({
    path: "config.yaml",
    env: { CREDENTIALS_DIRECTORY: "/credentials" },
    readTextFile: (path) => path === "config.yaml" ? text : "a-secret-token\n",
  });
  assertEquals(config.registerId, "22222222-2222-4222-8222-222222222222");
  assertEquals(config.ingestTokenFile, "/credentials/ingest-token");
});

Deno.test("a second install changes nothing; with another program it is an upgrade that keeps the rest", async () => {
  await using system = await makeRoot();
  assertEquals(await system.install(), 0, system.said());
  const first = snapshot(system.root);
  assertEquals(await system.install({ set: [], env: {} }), 0, system.said());
  assertEquals(snapshot(system.root), first);

  await Deno.writeTextFile(system.executable, "#!/bin/sh\necho version two\n");
  assertEquals(await system.install({ set: ["chunk_seconds=30"] }), 0, system.said());
  const config = await Deno.readTextFile(join(system.root, "etc/recorder-agent/config.yaml"));
  assertMatch(config, /^chunk_seconds: 30$/m);
  assertMatch(config, /^point_id: 11111111-/m);
  assertMatch(config, /^# Length of a chunk/m);
  const program = join(system.root, "usr/local/bin/recorder-agent");
  assertStringIncludes(await Deno.readTextFile(program), "version two");
  assertStringIncludes(await Deno.readTextFile(`${program}.old`), "version one");
});

Deno.test("uninstall keeps recordings and configuration; --purge removes everything that belongs to the agent", async () => {
  await using system = await makeRoot();
  const before = [...snapshot(system.root).keys()].sort();
  const spool = join(system.root, "srv/sound");
  assertEquals(await system.install({ set: [...SET, "spool_dir=/srv/sound"] }), 0, system.said());
  const dropIn = "etc/systemd/system/recorder-agent.service.d/spool.conf";
  assertStringIncludes(
    await Deno.readTextFile(join(system.root, dropIn)),
    "ReadWritePaths=/srv/sound",
  );
  for (const sub of ["recording", "outbox", "uploaded", "rejected"]) {
    await Deno.mkdir(join(spool, sub));
  }
  await Deno.writeTextFile(join(spool, "outbox/a.ogg"), "sound");
  await Deno.writeTextFile(join(spool, "mine.txt"), "a foreign file");

  assertEquals(await system.uninstall(), 0, system.said());
  const left = [...snapshot(system.root).keys()];
  assert(left.includes("/srv/sound/outbox/a.ogg"));
  assert(left.includes("/etc/recorder-agent/config.yaml"));
  assert(!left.some((path) => path.includes("recorder-agent.service")), left.join("\n"));
  assert(!left.includes("/usr/local/bin/recorder-agent"));
  assertStringIncludes(system.said(), "/srv/sound");

  // What a power cut left of the agent, and a foreign folder, as on a disk of its own.
  await Deno.writeTextFile(join(spool, "microphone.json.tmp"), "{");
  await Deno.writeTextFile(join(spool, ".check-77"), "");
  await Deno.mkdir(join(spool, "lost+found"));
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  assertMatch(system.said(), /\nThis stays:\n +\/srv\/sound: lost\+found, mine\.txt$/);
  const rest = [...snapshot(system.root).keys()].filter((path) => path.startsWith("/srv/sound/"));
  assertEquals(rest.sort(), ["/srv/sound/lost+found", "/srv/sound/mine.txt"]);
  await Deno.remove(join(spool, "mine.txt"));
  await Deno.remove(join(spool, "lost+found"));
  // The configuration that named this folder is gone.
  assertEquals(await system.install({ set: [...SET, "spool_dir=/srv/sound"] }), 0, system.said());
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  assert(!system.said().includes("stays"), system.said());
  const ours = [...snapshot(system.root).keys()].filter((path) =>
    /recorder-agent|sound/.test(path) && !before.includes(path)
  );
  assertEquals(ours, []);
  const passwd = await Deno.readTextFile(join(system.root, "etc/passwd"));
  assert(!passwd.includes("recorder-agent"), passwd);
});

Deno.test("--purge removes the secrets first and the program last, and names the files of others that stay", async () => {
  await using system = await makeRoot();
  assertEquals(await system.install(), 0, system.said());
  const file = async (path: string, text = "") => {
    await Deno.mkdir(dirname(join(system.root, path)), { recursive: true });
    await Deno.writeTextFile(join(system.root, path), text);
  };
  await file("/etc/recorder-agent/env", "RA_CHUNK_SECONDS=5\n");
  await file("/etc/recorder-agent/token.new", "half a tok");
  await file("/etc/recorder-agent/mine.pem");
  const named = ["ingest_token_file", "tls_ca_file", "tls_client_cert_file", "tls_client_key_file"];
  for (const key of named) await file(`/etc/recorder-agent/${key}`);
  const lines = named.map((key) => `${key}: /etc/recorder-agent/${key}\n`);
  await file("/etc/recorder-agent/config.yaml", lines.join(""));
  const unit = "/etc/systemd/system/recorder-agent.service";
  for (const path of ["/usr/local/bin/recorder-agent", unit]) await file(`${path}.new`);
  // What an update has kept; the previous configuration may hold the token.
  const updated = ["/etc/recorder-agent/config.yaml", unit, `${unit}.d/spool.conf`];
  for (const path of updated) await file(`${path}.old`);
  await file("/etc/systemd/system/recorder-agent.service.d/override.conf");
  for (const sub of ["recording", "outbox", "uploaded", "rejected"]) {
    await file(`/var/lib/recorder-agent/spool/${sub}/a.ogg`);
  }
  await file("/var/lib/recorder-agent/spool/mine.txt");
  const before = snapshot(system.root);
  assertEquals(await system.uninstall({ purge: true, dryRun: true }), 0, system.said());
  const stays = [
    "  /var/lib/recorder-agent/spool: mine.txt",
    "  /etc/recorder-agent: mine.pem",
    "  /etc/systemd/system/recorder-agent.service.d: override.conf",
  ];
  assertEquals(system.said().split("This stays:\n")[1]?.split("\n"), stays);
  const removed = system.said().split("\n").filter((line) => /Remove /.test(line));
  assertEquals(removed, [...new Set(removed)], "each is named once");
  assert(removed.length > 10, system.said());
  assertEquals(snapshot(system.root), before);
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  const steps = system.lines.filter((line) => line.startsWith("  ✔ "));
  assertMatch(steps[0] ?? "", /\/etc\/recorder-agent\/token\.new$/);
  assertMatch(steps[1] ?? "", /\/etc\/recorder-agent\/token$/);
  assertMatch(steps.at(-1) ?? "", /\/usr\/local\/bin\/recorder-agent$/);
  const left = [...snapshot(system.root).keys()].filter((path) => /recorder-agent/.test(path));
  assertEquals(left.sort(), [
    "/etc/recorder-agent",
    "/etc/recorder-agent/mine.pem",
    "/etc/systemd/system/recorder-agent.service.d",
    "/etc/systemd/system/recorder-agent.service.d/override.conf",
    "/var/lib/recorder-agent",
    "/var/lib/recorder-agent/spool",
    "/var/lib/recorder-agent/spool/mine.txt",
  ]);
});

Deno.test("uninstall removes a previous configuration beside the file that a link leads to", async () => {
  for (const purge of [false, true]) {
    await using system = await makeRoot();
    assertEquals(await system.install(), 0, system.said());
    const config = join(system.root, "etc/recorder-agent/config.yaml");
    const data = join(system.root, "data");
    await Deno.mkdir(data);
    await Deno.rename(config, join(data, "till.yaml"));
    await Deno.symlink("/data/till.yaml", config);
    await Deno.writeTextFile(join(data, "till.yaml.old"), "ingest_token: secret\n");
    assertEquals(await system.uninstall({ purge }), 0, system.said());
    assertEquals([...Deno.readDirSync(data)].map(({ name }) => name), ["till.yaml"]);
  }
});

Deno.test("a step that fails leaves the program, so that --purge can be repeated; no secret is left then", async () => {
  await using system = await makeRoot();
  assertEquals(await system.install(), 0, system.said());
  await Deno.remove(join(system.root, "etc/sysusers.d/recorder-agent.conf"));
  await Deno.mkdir(join(system.root, "etc/sysusers.d/recorder-agent.conf/in-the-way"), {
    recursive: true,
  });
  assertEquals(await system.uninstall({ purge: true }), 1);
  const left = [...snapshot(system.root).keys()];
  assert(left.includes("/usr/local/bin/recorder-agent"));
  assert(!left.some((path) => path.startsWith("/etc/recorder-agent")), left.join("\n"));
});

Deno.test("--purge finds a spool that only the variables of the service name, and the usual one beside it", async () => {
  await using system = await makeRoot();
  assertEquals(await system.install(), 0, system.said());
  const env = join(system.root, "etc/recorder-agent/env");
  await Deno.writeTextFile(env, "RA_SPOOL_DIR=/srv/sound\nRA_INGEST_TOKEN_FILE=/nowhere\n");
  for (const dir of ["srv/sound/outbox", "var/lib/recorder-agent/spool"]) {
    await Deno.mkdir(join(system.root, dir), { recursive: true });
  }
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  const left = [...snapshot(system.root).keys()];
  assertEquals(left.filter((path) => /recorder-agent|sound/.test(path)), []);
});

Deno.test("--dry-run lists every step and changes nothing", async () => {
  await using system = await makeRoot();
  const before = snapshot(system.root);
  assertEquals(await system.install({ dryRun: true }), 0, system.said());
  assertEquals(snapshot(system.root), before);
  for (const word of ["/usr/local/bin", "config.yaml", "token", "unit", "user"]) {
    assertStringIncludes(system.said(), word);
  }
  await system.install();
  const installed = snapshot(system.root);
  assertEquals(await system.uninstall({ dryRun: true, purge: true }), 0);
  assertEquals(snapshot(system.root), installed);
});

Deno.test("install reports wrong settings before it changes anything", async () => {
  await using system = await makeRoot();
  const before = snapshot(system.root);
  const cases: [Partial<InstallOptions>, RegExp][] = [
    [{ set: ["point_id=nonsense", ...SET.slice(1)] }, /point_id: "nonsense" is not a UUID/],
    [{ set: [...SET, "ingest_token=a-secret-token"] }, /command line[^]*RA_INGEST_TOKEN=/],
    [{ set: [...SET, "otlp_headers=a=a-secret-token"] }, /command line[^]*RA_OTLP_HEADERS=/],
    [{ set: [...SET, "heartbeat_url=https://a-secret-token"] }, /command line.*RA_HEARTBEAT_URL=/],
    [
      { env: { RA_INGEST_TOKEN: "t", RA_HEARTBEAT_URL: "http://shop.invalid/a-secret-token" } },
      /as heartbeat_url must begin with https:.*"http:\/\/shop\.invalid\/…"/,
    ],
    [{ env: { RA_INGEST_TOKEN: "two\nlines" } }, /control/],
    [{ env: {} }, /without ingest_token/],
    [
      { set: [], env: {} },
      /without point_id, register_id, device_id, ingest_base_url, ingest_token/,
    ],
    [{ set: [...SET, "chunk_second=3"] }, /chunk_second=… .*chunk_seconds/],
    [{ set: ["a-secret-token"] }, /--set … as it must be KEY=VALUE/],
    [{ executable: "" }, /deno task compile/],
    [{ root: join(system.root, "nowhere") }, /nowhere.*does not exist/],
  ];
  for (const [options, expected] of cases) {
    assertEquals(await system.install(options), 1);
    assertMatch(system.said(), expected);
    assert(!/a-secret-token|two\nlines/.test(system.said()), "the token was printed");
    assertEquals(snapshot(system.root), before);
  }
});

Deno.test("two commands do not change a system at the same time", async () => {
  await using system = await makeRoot();
  const before = snapshot(system.root);
  {
    using other = await Deno.open(system.root, { read: true });
    await other.lock(true);
    assertEquals(await system.install(), 1);
    assertMatch(system.said(), /^Cannot install as another install or uninstall must end first/);
    assertEquals(await system.uninstall(), 1);
    assertMatch(system.said(), /^Cannot uninstall as another/);
    assertEquals(snapshot(system.root), before);
  }
  assertEquals(await system.install(), 0, system.said());
});

Deno.test("on a terminal install asks for missing settings and offers new UUIDs", async () => {
  await using system = await makeRoot();
  const asked: string[] = [];
  const ask: Ask = async (question, { suggestion, secret }) => {
    asked.push(`${question.split(",")[0]}${secret ? " hidden" : ""}`);
    // A judge of an update, say, need not wait for the person.
    using other = await Deno.open(system.root, { read: true });
    assert(await other.tryLock(true), "the lock is held while a person is asked");
    if (question.startsWith("ingest_token")) return "typed-token";
    return suggestion ?? "https://ingest.example.com";
  };
  const set = SET.slice(0, 1);
  const env = { RA_CHUNK_SECONDS: "20" };
  assertEquals(await system.install({ set, env, ask }), 0, system.said());
  assertEquals(asked, ["register_id", "device_id", "ingest_base_url", "ingest_token hidden"]);
  const config = await Deno.readTextFile(join(system.root, "etc/recorder-agent/config.yaml"));
  assertMatch(config, /^chunk_seconds: 20$/m);
  assertMatch(config, /^register_id: [0-9a-f-]{36}$/m);
  assertEquals(
    await Deno.readTextFile(join(system.root, "etc/recorder-agent/token")),
    "typed-token\n",
  );
  await using other = await makeRoot();
  assertEquals(await other.install({ set: [], ask: () => Promise.resolve(null) }), 1);
  assertMatch(other.said(), /Nothing was changed/);
});

Deno.test("install asks again after an answer that is not valid, and says what would be right", async () => {
  await using system = await makeRoot();
  const asked: string[] = [];
  const typed = [
    ...["till 4", SET[0]?.split("=")[1] ?? ""],
    ...["ingest.example.com", "", "https://ingest.example.com"],
    ...["two words", "a-secret-token"],
  ];
  const ask: Ask = (question, { suggestion }) => {
    asked.push(question);
    return Promise.resolve(suggestion ?? typed.shift() ?? null);
  };
  assertEquals(await system.install({ set: [], env: {}, ask }), 0, system.said());
  const again = asked.filter((question) => question.includes("\n"))
    .map((question) => question.split(/, (?:UUID|base|Bearer)/)[0]);
  assertEquals(again.length, 4);
  assertMatch(again[0] ?? "", /^point_id: "till 4" is not a UUID: expected .*\npoint_id$/);
  assertMatch(again[1] ?? "", /^ingest_base_url: "ingest.example.com" .*\ningest_base_url$/);
  assertMatch(again[2] ?? "", /^ingest_base_url: has no value: .*\ningest_base_url$/);
  assertMatch(again[3] ?? "", /^ingest_token: the value \(not shown\) .*\ningest_token$/);
});

Deno.test("what a power cut has left of a copy of the program goes, also if another copy is not needed", async () => {
  await using system = await makeRoot();
  const copy = join(system.root, "usr/local/bin/recorder-agent.new");
  assertEquals(await system.install(), 0, system.said());
  await Deno.writeTextFile(copy, "#!/bin/sh\necho ver");
  assertEquals(await system.install(), 0, system.said());
  assertEquals(await Deno.stat(copy).catch(() => null), null);
});

Deno.test("a failed step undoes the earlier steps, in reverse order", async () => {
  await using system = await makeRoot();
  const before = [...snapshot(system.root).keys()].sort();
  await Deno.mkdir(join(system.root, "usr/local/bin/recorder-agent.old/in"), { recursive: true });
  assertEquals(await system.install(), 1);
  assertMatch(system.said(), /Cannot copy the program[^]*undone/);
  const left = [...snapshot(system.root).keys()].filter((path) => !before.includes(path));
  assert(!left.some((path) => /config|token|service|new/.test(path)), left.join("\n"));

  const done: string[] = [];
  const step = (name: string, fails = false): Step => ({
    what: name,
    isDone: () => Promise.resolve(false),
    apply: () => fails ? Promise.reject(new Error("no")) : Promise.resolve(void done.push(name)),
    undo: () => Promise.resolve(void done.push(`undo ${name}`)),
  });
  const failed = await carryOut([step("A"), step("B"), step("C", true), step("D")], {
    dryRun: false,
    print: () => {},
  }).catch((error) => String(error));
  assertEquals(done, ["A", "B", "undo B", "undo A"]);
  assertMatch(String(failed), /Cannot c: no/);
});

Deno.test("settings replace their lines, comments stay, and the token is never written", () => {
  const text = "# The till\nregister_id: old # by hand\ningest_token: abc\n";
  const settings = new Map([["register_id", "new"], ["audio_device", "name:My Mic: 2"], [
    "ingest_token",
    "xyz",
  ]]);
  assertEquals(
    applySettings(text, settings),
    '# The till\nregister_id: new\ningest_token: null\naudio_device: "name:My Mic: 2"\n',
  );
  assertEquals(applySettings("", new Map([["chunk_seconds", "5"]])), "chunk_seconds: 5\n");
  const settled = readSettings(["chunk_seconds=5"], {
    RA_CHUNK_SECONDS: "9",
    RA_SAMPLE_RATE: "16000",
  });
  assertEquals([...settled], [["chunk_seconds", "5"], ["sample_rate", "16000"]]);
});
