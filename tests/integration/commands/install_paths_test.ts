import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { join } from "@std/path/join";
import { quoteForUnit } from "../../../src/commands/install_drop_in.ts";
import { contentsOf, pathIn, under } from "../../../src/commands/install_root.ts";
import { folderStep, removeStep } from "../../../src/commands/install_steps.ts";
import { removeIfThere } from "../../../src/system/disk.ts";
import { run } from "../../fixtures/command.ts";
import { ENV, makeRoot, SET, snapshot } from "../../fixtures/installed_system.ts";

const SPOOL_FOLDERS = ["recording", "outbox", "uploaded", "rejected"];
const NOBODY = 65534;

/** Writes a file below the root, with its folders. */
async function write(root: string, path: string, text = ""): Promise<void> {
  await Deno.mkdir(dirname(join(root, path)), { recursive: true });
  await Deno.writeTextFile(join(root, path), text);
}

async function makeSpool(root: string, path: string): Promise<void> {
  for (const sub of SPOOL_FOLDERS) await write(root, `${path}/${sub}/a.ogg`, "sound");
}

Deno.test("folders of the system, homes, and folders with files of others are refused as spool_dir", async () => {
  await using system = await makeRoot();
  const { root } = system;
  await write(root, "/srv/shop/prices.db");
  await write(root, "/mnt/usb/photos/1.jpg");
  await write(root, "/data/lock"); // the name of a file of a spool, but of another program
  await write(root, "/srv/file");
  await Deno.mkdir(join(root, "srv/linked"));
  await Deno.symlink("/srv/shop", join(root, "srv/linked/outbox"));
  await Deno.symlink("/etc", join(root, "srv/innocent"));
  await Deno.mkdir(join(root, "home"));
  await Deno.symlink("../home/pi", join(root, "srv/relative"));
  await Deno.mkdir(join(root, "var/lib/shop/jobs"), { recursive: true });
  await makeSpool(root, "/usr/share/spool");
  const before = snapshot(root);
  const refused: [string, RegExp][] = [
    ...["/", "/etc", "/etc/recorder-agent", "/usr/lib/x", "/boot/spool", "/run/spool", "/proc/1"]
      .map((dir): [string, RegExp] => [dir, /folder of the system/]),
    ...["/usr/share/spool", "/dev/shm/spool", "/var/lib/recorder-agent/../../../etc"]
      .map((dir): [string, RegExp] => [dir, /folder of the system/]),
    ...["/home", "/home/pi", "/home/pi/spool", "/root", "/tmp/spool", "/var/tmp/spool"]
      .map((dir): [string, RegExp] => [dir, /service can see/]),
    ...["/srv", "/mnt", "/media", "/var", "/var/lib", "/var/lib/recorder-agent/.."]
      .map((dir): [string, RegExp] => [dir, /folder of many programs/]),
    ...["/var/spool/cron/crontabs", "/var/lib/systemd/linger", "/var/lib/dpkg/updates/new"]
      .map((dir): [string, RegExp] => [dir, /folder of the system/]),
    ["/var/lib/shop/jobs", /empty folder below \/var/],
    ["/srv/shop", /has "prices\.db"/],
    ["/mnt/usb", /has "photos"/],
    ["/data", /has "lock"/],
    ["/srv/file", /must be a folder, and is not/],
    ["/srv/linked", /has "outbox"/],
    ["/srv/innocent/x", /which is "\/etc\/x"/],
    ["/srv/relative", /which is "\/home\/pi"/],
  ];
  for (const [dir, expected] of refused) {
    assertEquals(await system.install({ set: [...SET, `spool_dir=${dir}`] }), 1, dir);
    assertMatch(system.said(), expected, dir);
    assertMatch(system.said(), /^Cannot use spool_dir "[^]*choose a new or empty folder/, dir);
    assertEquals(snapshot(root), before, dir);
  }
});

Deno.test("a new folder, an empty disk, and a spool that is there already are accepted as spool_dir", async () => {
  for (
    const [dir, make] of [
      ["/srv/new", () => Promise.resolve()],
      ["/recordings", () => Promise.resolve()],
      ["/var/lib/recordings", () => Promise.resolve()],
      ["/srv/empty", (root: string) => Deno.mkdir(join(root, "srv/empty"), ANY)],
      ["/mnt/disk", (root: string) => Deno.mkdir(join(root, "mnt/disk/lost+found"), ANY)],
      ["/mnt", (root: string) => makeSpool(root, "/mnt")],
      ["/mnt/old", async (root: string) => {
        await makeSpool(root, "/mnt/old");
        await write(root, "/mnt/old/note.txt");
      }],
    ] as const
  ) {
    await using system = await makeRoot();
    await make(system.root);
    const options = { set: [...SET, `spool_dir=${dir}`] };
    assertEquals(await system.install(options), 0, system.said());
    const { mode } = await Deno.stat(join(system.root, dir));
    assertEquals((mode ?? 0) & 0o777, 0o700, dir);
    assertEquals(await system.install(options), 0, "again");
  }
});
const ANY = { recursive: true };

Deno.test("the folder of an earlier installation is not created on the card while its disk is not mounted", async () => {
  const disk = "mnt/disk";
  for (const spool of ["/mnt/disk", "/mnt/disk/spool"]) {
    await using system = await makeRoot();
    const mounted = join(system.root, disk);
    const set = [...SET, `spool_dir=${spool}`];
    await Deno.mkdir(mounted, ANY);
    assertEquals(await system.install({ set }), 0, system.said());
    assertEquals(await system.install({ set }), 0, "before the first start of the service");
    // What the mount point has below the disk.
    await Deno.rename(mounted, join(system.root, "disk"));
    await Deno.mkdir(mounted);
    const before = snapshot(system.root);
    assertEquals(await system.install({ set: ["chunk_seconds=30"], env: {} }), 1, spool);
    assertMatch(system.said(), /its disk must be mounted.*remove .*spool\.conf and try again$/);
    assertEquals(snapshot(system.root), before);
    // To another place it may move.
    assertEquals(await system.install({ set: ["spool_dir=/srv/new"], env: {} }), 0, system.said());
    assertEquals(await system.install({ set }), 0, "and to a new disk");
    // A copy of the disk, with a spool of another user.
    await Deno.remove(mounted, ANY);
    await makeSpool(system.root, spool);
    assertEquals(await system.install({ set }), 0, system.said());
  }
});

Deno.test("a disk of a till of 0.2.0 that is not mounted is noticed, too, whatever the name of the folder", async () => {
  for (
    const spool of ["/mnt/disk/spool", "/mnt/disk/a spool", '/mnt/disk/100% "b" \\', "/srv/link"]
  ) {
    await using system = await makeRoot();
    await Deno.mkdir(join(system.root, "srv"));
    await Deno.symlink("/mnt/disk/linked", join(system.root, "srv/link"));
    await Deno.mkdir(join(system.root, "mnt/disk"), ANY);
    assertEquals(await system.install({ set: [...SET, `spool_dir=${spool}`] }), 0, system.said());
    const update = { set: ["chunk_seconds=30"], env: {} };
    await Deno.remove(join(system.root, "mnt/disk"), ANY);
    assertEquals(await system.install(update), 1, `${spool} of this release`);
    await write(
      system.root,
      "/etc/systemd/system/recorder-agent.service.d/spool.conf",
      `[Service]\nReadWritePaths=${spool.replaceAll("%", "%%")}\n`,
    );
    assertEquals(await system.install(update), 1, spool);
    assertMatch(system.said(), /its disk must be mounted/);
    assert(!existsSync(join(system.root, "mnt/disk")));
  }
});

Deno.test("a failed install gives folders and files their owner, mode and content back", async () => {
  await using system = await makeRoot();
  const { root } = system;
  await Deno.mkdir(join(root, "mnt/disk"), { recursive: true });
  await Deno.chown(join(root, "mnt/disk"), NOBODY, 7);
  await Deno.chmod(join(root, "mnt/disk"), 0o1777);
  await write(root, "/etc/systemd/system/recorder-agent.service", "an older unit");
  await Deno.chown(join(root, "etc/systemd/system/recorder-agent.service"), NOBODY, 7);
  const rights = (path: string) => {
    const { mode, uid, gid } = Deno.lstatSync(join(root, path));
    return `${((mode ?? 0) & 0o7777).toString(8)} ${uid}:${gid}`;
  };
  // The drop-in comes after the folder.
  await write(root, "/etc/systemd/system/recorder-agent.service.d/spool.conf/in-the-way");
  assertEquals(await system.install({ set: [...SET, "spool_dir=/mnt/disk"] }), 1);
  assertMatch(system.said(), /undone/);
  assertEquals(rights("mnt/disk"), `1777 ${NOBODY}:7`);
  assertEquals(rights("etc/systemd/system/recorder-agent.service"), `644 ${NOBODY}:7`);
  const unit = join(root, "etc/systemd/system/recorder-agent.service");
  assertEquals(await Deno.readTextFile(unit), "an older unit");
});

Deno.test("a masked unit is replaced, and is masked again when the install fails", async () => {
  await using system = await makeRoot();
  const unit = join(system.root, "etc/systemd/system/recorder-agent.service");
  await Deno.mkdir(dirname(unit), { recursive: true });
  await Deno.symlink("/dev/null", unit);
  const wants = "/etc/systemd/system/recorder-agent.service.d/spool.conf/in-the-way";
  await write(system.root, wants);
  assertEquals(await system.install({ set: [...SET, "spool_dir=/srv/x"] }), 1);
  assertEquals(await Deno.readLink(unit), "/dev/null");
  assert((await Deno.stat("/dev/null")).isCharDevice);
});

Deno.test("paths are resolved inside the root: links, absolute and relative, and .. never leave it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "root-test-" });
  try {
    const root = join(dir, "image");
    await Deno.mkdir(join(root, "a/b"), { recursive: true });
    await Deno.symlink("/outside", join(root, "absolute"));
    await Deno.symlink("../../../../../outside", join(root, "a/b/relative"));
    await Deno.symlink("absolute/x", join(root, "chain"));
    await Deno.symlink("circle", join(root, "circle"));
    const cases: [string, string][] = [
      ["/absolute/file", "/outside/file"],
      ["/a/b/relative/file", "/outside/file"],
      ["/chain/file", "/outside/x/file"],
      ["/../../etc/passwd", "/etc/passwd"],
      ["/a/../../b", "/b"],
      ["/absolute/../y", "/y"],
      ["//a/./b/", "/a/b"],
      ["/not/there/../yet", "/not/yet"],
    ];
    for (const [path, expected] of cases) {
      assertEquals(pathIn(root, path), expected, path);
      assertEquals(contentsOf(root, path), join(root, expected), path);
    }
    assertEquals(under(root, "/absolute"), join(root, "absolute"));
    assertEquals(under(root, "/chain/file"), join(root, "outside/x/file"));
    assertThrows(() => pathIn(root, "/circle/x"), Error, "in a circle");
    // Another user's link could lead root anywhere.
    await Deno.mkdir(join(root, "state"));
    await Deno.symlink("/etc", join(root, "state/spool"));
    await run("chown", ["-h", String(NOBODY), join(root, "state/spool")]);
    assertThrows(() => pathIn(root, "/state/spool/outbox"), Error, "belongs to another user");
    assertEquals(under(root, "/state/spool"), join(root, "state/spool"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("install and uninstall --purge never change the machine of an image with absolute links", async () => {
  await using system = await makeRoot();
  const { root } = system;
  const host = join(dirname(root), "host");
  const places = [
    "etc/recorder-agent",
    "etc/systemd",
    "usr/local/bin",
    "etc/sysusers.d",
  ];
  for (const [at, place] of places.entries()) {
    await write(host, `/${at}/keep`, "of this machine");
    await Deno.mkdir(dirname(join(root, place)), { recursive: true });
    await Deno.symlink(join(host, String(at)), join(root, place));
  }
  const before = snapshot(host);
  assertEquals(await system.install(), 0, system.said());
  assertEquals(snapshot(host), before);
  const installed = [...snapshot(join(root, host)).keys()];
  for (const path of ["/0/config.yaml", "/0/token", "/1/system/recorder-agent.service"]) {
    assert(installed.includes(path), `${path} is not in the image: ${installed.join(" ")}`);
  }
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  assertEquals(snapshot(host), before);
  const left = [...snapshot(join(root, host)).keys()];
  assert(!left.some((path) => /token|config|service$/.test(path)), left.join(" "));

  // The accounts of an image are written by programs that would follow its links on this machine.
  await Deno.rename(join(root, "etc"), join(root, "real-etc"));
  await Deno.symlink(join(host, "0"), join(root, "etc"));
  assertEquals(await system.install(), 1);
  assertMatch(system.said(), /\/etc\/passwd must be a file that is not behind a link/);
  assertEquals(snapshot(host), before);
});

Deno.test("what an image has in the place of a draft or a backup is never written through", async () => {
  await using system = await makeRoot();
  const { root } = system;
  const host = join(dirname(root), "host");
  for (const name of ["program", "passwd-", "group+", "shadow.123"]) await write(host, `/${name}`);
  const before = snapshot(host);
  await Deno.mkdir(join(root, "usr/local/bin"), { recursive: true });
  await Deno.symlink(join(host, "program"), join(root, "usr/local/bin/recorder-agent.new"));
  assertEquals(await system.install(), 0, system.said());
  assertEquals(snapshot(host), before);
  assertEquals(await Deno.readTextFile(join(host, "program")), "");
  // userdel would write the accounts of the image, which are its words, into each of these.
  for (const name of ["passwd-", "group+", "shadow.123"]) {
    await removeIfThere(join(root, "etc", name));
    await Deno.symlink(join(host, name), join(root, "etc", name));
    assertEquals(await system.uninstall({ purge: true }), 1, name);
    assert(system.said().includes(`/etc/${name} must be a file`), system.said());
    assertEquals(await system.install(), 1, name);
    assert(system.said().includes(`/etc/${name} must be a file`), system.said());
    assertEquals(await Deno.readTextFile(join(host, name)), "");
    await Deno.remove(join(root, "etc", name));
  }
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
});

Deno.test("a link that appears on the way after the plan was made leads root nowhere", async () => {
  await using system = await makeRoot();
  const { root } = system;
  await write(root, "/victim/lock", "keep");
  const before = snapshot(join(root, "victim"));
  for (const link of ["/state/spool", "/state"]) {
    await Deno.mkdir(join(root, "state/spool"), { recursive: true });
    const steps = [
      folderStep(root, "/state/spool/lock", { mode: 0o700 }),
      removeStep(root, "/state/spool/lock", {
        recursive: true,
        owner: { uid: NOBODY, gid: NOBODY },
      }),
    ];
    await Deno.remove(join(root, link), { recursive: true });
    await Deno.symlink(join(root, "victim"), join(root, link));
    await run("chown", ["-h", String(NOBODY), join(root, link)]);
    for (const { apply } of steps) await assertRejects(apply, Error, "belongs to another user");
    await Deno.remove(join(root, link));
  }
  assertEquals(snapshot(join(root, "victim")), before);
});

Deno.test("--purge with .. in spool_dir removes the spool that the service uses, and nothing beside it", async () => {
  await using system = await makeRoot();
  const { root } = system;
  await makeSpool(root, "/srv/spool");
  await write(root, "/srv/outbox/precious");
  const set = [...SET, "spool_dir=/srv/spool/deep/.."];
  assertEquals(await system.install({ set }), 0, system.said());
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  const left = [...snapshot(root).keys()].filter((path) => path.startsWith("/srv"));
  assertEquals(left, ["/srv", "/srv/outbox", "/srv/outbox/precious"]);
});

Deno.test("--purge deletes nothing in a folder that is not a spool, and lists it", async () => {
  await using system = await makeRoot();
  const { root } = system;
  assertEquals(await system.install(), 0, system.said());
  await write(root, "/srv/shop/lock", "of another program");
  await write(root, "/srv/shop/outbox/mail");
  await write(root, "/srv/shop/orders");
  const config = join(root, "etc/recorder-agent/config.yaml");
  await Deno.writeTextFile(config, "spool_dir: /srv/shop\nmistake: 1\n");
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  assertStringIncludes(system.said(), "/srv/shop: not a spool, it has lock, orders, outbox");
  assertEquals(await Deno.readTextFile(join(root, "srv/shop/lock")), "of another program");
  assertEquals(await Deno.readTextFile(join(root, "srv/shop/outbox/mail")), "");
});

Deno.test("--purge with a configuration that does not say where the recordings are changes nothing", async () => {
  for (const text of ["spool_dir: [\n", "spool_dir: relative\n", "- a list\n", "spool_dir: 7\n"]) {
    await using system = await makeRoot();
    assertEquals(await system.install(), 0, system.said());
    await makeSpool(system.root, "/var/lib/recorder-agent/spool");
    await Deno.writeTextFile(join(system.root, "etc/recorder-agent/config.yaml"), text);
    const before = snapshot(system.root);
    assertEquals(await system.uninstall({ purge: true }), 1, text);
    assertMatch(
      system.said(),
      /Cannot find the recordings as .*config\.yaml must say where they are/,
    );
    assertEquals(snapshot(system.root), before);
    // Without --purge the recordings stay anyway.
    assertEquals(await system.uninstall(), 0, system.said());
    assert(
      [...snapshot(system.root).keys()].includes("/var/lib/recorder-agent/spool/outbox/a.ogg"),
    );
  }
});

Deno.test("--purge removes a token in the configuration before anything else, also when it cannot finish", async () => {
  await using system = await makeRoot();
  const { root } = system;
  assertEquals(await system.install(), 0, system.said());
  const config = join(root, "etc/recorder-agent/config.yaml");
  await Deno.writeTextFile(
    config,
    `"ingest_token" : "very-secret" # ours\nspool_dir: /srv/spool\n`,
  );
  await makeSpool(root, "/srv/spool");
  await Deno.remove(join(root, "usr/local/bin/recorder-agent"));
  await write(root, "/usr/local/bin/recorder-agent/in-the-way");
  await Deno.remove(join(root, "etc/systemd/system/recorder-agent.service"));
  await write(root, "/etc/systemd/system/recorder-agent.service/in-the-way");
  assertEquals(await system.uninstall({ purge: true }), 1);
  const steps = system.lines.filter((line) => /✔|✘/.test(line));
  assertMatch(steps[0] ?? "", /token$/);
  assertMatch(steps[1] ?? "", /Keep only spool_dir in .*config\.yaml$/);
  assert(![...snapshot(root).keys()].some((path) => path.startsWith("/etc/recorder-agent")));
});

Deno.test("what is in the spool of another user is removed as that user, who could lead root elsewhere", async () => {
  await using system = await makeRoot();
  const { root } = system;
  await Deno.chmod(dirname(root), 0o755);
  assertEquals(await system.install({ set: [...SET, "spool_dir=/srv/spool"] }), 0, system.said());
  const spool = join(root, "srv/spool");
  const { uid, gid } = await Deno.stat(spool);
  await makeSpool(root, "/srv/spool");
  for (const path of [...snapshot(spool).keys()]) {
    await Deno.chown(join(spool, path), uid ?? 0, gid);
  }
  await write(root, "/srv/precious/keep");
  await Deno.remove(join(spool, "uploaded"), { recursive: true });
  await Deno.symlink(join(root, "srv/precious"), join(spool, "uploaded"));
  // Of root, in a folder of the service: only as that user it stays.
  await write(root, "/srv/spool/outbox/root/keep");
  assertEquals(await system.uninstall({ purge: true }), 1, system.said());
  assertMatch(system.said(), /outbox[^]*root\/keep.*Permission denied/);
  await Deno.remove(join(spool, "outbox/root"), { recursive: true });
  assertEquals(await system.uninstall({ purge: true }), 0, system.said());
  const left = [...snapshot(join(root, "srv")).keys()];
  assertEquals(left, ["/precious", "/precious/keep"]);
});

Deno.test("a path is quoted for systemd: spaces, percent signs, quotes and backslashes", () => {
  const cases: [string, string][] = [
    ["/srv/spool", "/srv/spool"],
    ["/mnt/usb disk", '"/mnt/usb disk"'],
    ["/mnt/100%", "/mnt/100%%"],
    ["/mnt/a 5%", '"/mnt/a 5%%"'],
    [`/mnt/the "best" one`, String.raw`"/mnt/the \"best\" one"`],
    ["/mnt/it's", `"/mnt/it's"`],
    [String.raw`/mnt/a\b`, String.raw`"/mnt/a\\b"`],
    ["/mnt/касса", `"/mnt/касса"`],
    ["/mnt/$HOME;x", '"/mnt/$HOME;x"'],
  ];
  for (const [path, expected] of cases) assertEquals(quoteForUnit(path), expected);
});

Deno.test("install refuses an unencrypted server beyond this machine unless the configuration allows it", async () => {
  await using system = await makeRoot();
  const set = (...more: string[]) => [...SET.slice(0, 3), ...more];
  const http = "ingest_base_url=http://ingest.example.com";
  assertEquals(await system.install({ set: set(http) }), 1);
  assertMatch(
    system.said(),
    /ingest_base_url must begin with https:\/\/.*allow_insecure_http: true/,
  );
  const before = snapshot(system.root);
  assertEquals(await system.install({ set: set(http, "allow_insecure_http=true") }), 0);
  assert(snapshot(system.root).size > before.size);
});

Deno.test("a setting that a variable of the service overrides is refused, with its place", async () => {
  await using system = await makeRoot();
  await write(
    system.root,
    "/etc/recorder-agent/env",
    "RA_INGEST_TOKEN_FILE=/x\nRA_CHUNK_SECONDS=5\n",
  );
  assertEquals(await system.install(), 1);
  assertMatch(system.said(), /Cannot set ingest_token as .*\/env .*RA_INGEST_TOKEN_FILE/);
  assertEquals(await system.install({ set: [...SET, "chunk_seconds=9"], env: {} }), 1);
  assertMatch(system.said(), /Cannot set chunk_seconds as .*RA_CHUNK_SECONDS/);
  // The spool that the variables name is the one that is prepared.
  await write(system.root, "/etc/recorder-agent/env", "RA_SPOOL_DIR=/srv/named\n");
  assertEquals(await system.install({ env: ENV }), 0, system.said());
  assert((await Deno.stat(join(system.root, "srv/named"))).isDirectory);
});

Deno.test("the drop-in names no folder any more when the spool is back in its usual place", async () => {
  await using system = await makeRoot();
  const dropIn = join(system.root, "etc/systemd/system/recorder-agent.service.d/spool.conf");
  assertEquals(await system.install({ set: [...SET, "spool_dir=/srv/a b"] }), 0, system.said());
  assertEquals(
    await Deno.readTextFile(dropIn),
    '[Service]\nReadWritePaths="/srv/a b"\nNoExecPaths="/srv/a b"\n',
  );
  const usual = ["spool_dir=/var/lib/recorder-agent/spool"];
  assertEquals(await system.install({ set: usual, env: {} }), 0, system.said());
  assertEquals(await Deno.readTextFile(dropIn), "[Service]\n");
});

Deno.test("--purge that failed midway still knows the spool the next time, and holds no secret meanwhile", async () => {
  for (const place of ["config", "variables"] as const) {
    await using system = await makeRoot();
    const { root } = system;
    assertEquals(await system.install(), 0, system.said());
    await makeSpool(root, "/srv/spool");
    const lines = { config: `{ spool_dir: /srv/spool, ingest_token: secret }\n`, variables: "" };
    await write(root, "/etc/recorder-agent/config.yaml", lines[place]);
    const variables = "RA_SPOOL_DIR=/srv/spool\nRA_INGEST_TOKEN=secret\n";
    await write(root, "/etc/recorder-agent/env", place === "variables" ? variables : "");
    // A folder of the spool that its owner cannot empty.
    await Deno.chmod(dirname(root), 0o755);
    for (const path of ["", ...snapshot(join(root, "srv/spool")).keys()]) {
      await Deno.chown(join(root, "srv/spool", path), NOBODY, NOBODY);
    }
    await write(root, "/srv/spool/outbox/root/keep");
    assertEquals(await system.uninstall({ purge: true }), 1, system.said());
    const config = join(root, "etc/recorder-agent/config.yaml");
    assertEquals(await Deno.readTextFile(config), 'spool_dir: "/srv/spool"\n');
    const names = [...Deno.readDirSync(dirname(config))].map(({ name }) => name);
    assertEquals(names, ["config.yaml"]);
    await Deno.remove(join(root, "srv/spool/outbox/root"), { recursive: true });
    assertEquals(await system.uninstall({ purge: true }), 0, system.said());
    assert(!snapshot(root).has("/srv/spool"), system.said());
    assert(!snapshot(root).has("/etc/recorder-agent"), system.said());
  }
});
