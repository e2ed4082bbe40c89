// The maintainer scripts of the Debian package, run with their paths below a temporary folder, and with functions in
// the place of the programs of systemd and of Debian, which note how they are called. tests/package has the real
// ones.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";

const PROGRAM = "usr/bin/recorder-agent";
const UNIT = "usr/lib/systemd/system/recorder-agent.service";
const UPDATES = "var/lib/recorder-agent-update";
const TRIAL = `${UPDATES}/trial`;
const CONFIG = "etc/recorder-agent/config.yaml";
const LIVE = { "run/systemd/system/x": "" };
const UNITS = new URL("../../../packaging/debian", import.meta.url);
const JUDGE = "recorder-agent-update.service";

interface System {
  readonly files: Readonly<Record<string, string>>;
  /** Links to some of them. */
  readonly links?: Readonly<Record<string, string>>;
  /** What systemd says of the service. */
  readonly state?: string;
  /** Units that somebody has disabled. */
  readonly disabled?: readonly string[];
  /** Whether a judge begins a rollback just before it is stopped. */
  readonly decidesLate?: boolean;
}

/**
 * Runs one of the scripts. Returns its calls, which of the files are left, and what is then in those of an update;
 * null: it does not exist.
 */
async function runScript(
  [name, ...args]: readonly [string, ...string[]],
  { files, links = {}, state = "inactive", disabled = [], decidesLate = false }: System,
) {
  const root = await Deno.makeTempDir({ prefix: "maintainer-script-" });
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(join(root, path, ".."), { recursive: true });
      await Deno.writeTextFile(join(root, path), text);
    }
    for (const [path, to] of Object.entries(links)) {
      await Deno.mkdir(join(root, path, ".."), { recursive: true });
      await Deno.symlink(join(root, to), join(root, path));
    }
    const url = new URL(`../../../packaging/debian/${name}`, import.meta.url);
    const script = (await Deno.readTextFile(url)).replaceAll(
      /\/(usr|etc|var|run|boot)\//g,
      `${root}/$1/`,
    ).replaceAll("@VERSION@", "3");
    const calls = `note() { echo "$*" >> ${root}/calls; }
systemctl() { note systemctl "$@"; if [ "$1" = is-active ]; then echo ${state}; false; fi; }
deb-systemd-invoke() { note invoke "$@"; ${
      decidesLate ? `: > ${root}/${UPDATES}/rolling-back;` : ""
    } }
systemd-sysusers() { :; }
install() { :; }
sync() { :; }
deb-systemd-helper() {
  if [ "$2" != was-enabled ]; then note helper "$@"; return; fi
  case " ${disabled.join(" ")} " in *" $3 "*) false ;; esac
}
`;
    // A function of the shell has no hyphen in its name.
    const named = (text: string) =>
      text.replaceAll(
        /(deb-)?systemd-(helper|invoke|sysusers)/g,
        (name) => name.replaceAll("-", "_"),
      );
    const { success, stderr } = await new Deno.Command("/bin/sh", {
      args: ["-c", named(calls + script), name, ...args],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const read = (path: string) => Deno.readTextFileSync(join(root, path));
    const found = (path: string) => {
      try {
        return read(path);
      } catch {
        return null;
      }
    };
    const paths = [PROGRAM, UNIT].map((path) => `${path}.old`).concat(TRIAL);
    return {
      kept: paths.map(found),
      left: Object.keys(files).filter((path) => found(path) !== null),
      calls: (found("calls") ?? "").trim().split("\n").filter((call) => call !== ""),
    };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const COPIED = {
  "usr/local/bin/recorder-agent": "copied",
  "etc/systemd/system/recorder-agent.service": "",
};
const UPGRADE = ["preinst", "upgrade", "2"] as const;
const CONFIGURE = ["postinst", "configure", "2"] as const;
const TWO = { [PROGRAM]: "two", [`${PROGRAM}.old`]: "one", [UNIT]: "unit two" };

Deno.test("an upgrade keeps the program and the unit that it replaces", async () => {
  const { kept } = await runScript(UPGRADE, { files: TWO });
  assertEquals(kept, ["two", "unit two", null]);
});

Deno.test("an upgrade during a trial keeps the program that was accepted last", async () => {
  const files = { ...TWO, [`${UNIT}.old`]: "unit one", [TRIAL]: "to=2\n" };
  const { kept } = await runScript(UPGRADE, { files });
  assertEquals(kept, ["one", "unit one", "to=2\n"]);
});

Deno.test("an upgrade asks for the trial before the program is replaced, unless another one is in charge", async () => {
  const files = { [PROGRAM]: "two", ...LIVE };
  const keptBy = async (system: System) => (await runScript(UPGRADE, system)).kept;
  assertEquals(await keptBy({ files, state: "active" }), ["two", null, "to=3\n"]);
  assertEquals(await keptBy({ files }), ["two", null, null]);
  const copied = { ...files, ...COPIED };
  assertEquals(await keptBy({ files: copied, state: "active" }), ["two", null, null]);
});

Deno.test("an upgrade during a trial stops its judge before files are replaced; a rollback that has begun ends first", async () => {
  const onTrial = { ...TWO, ...LIVE, [TRIAL]: "to=2\n" };
  const stopped = `invoke stop ${JUDGE}`;
  const [first] = (await runScript(UPGRADE, { files: onTrial, state: "active" })).calls;
  assertEquals(first, stopped);
  const files = { ...onTrial, [`${UPDATES}/rolling-back`]: "" };
  const { calls } = await runScript(UPGRADE, { files, state: "active" });
  assertEquals(calls.slice(0, 2), [stopped, `systemctl start --wait ${JUDGE}`]);
  // The judge may decide until it is stopped.
  const late = await runScript(UPGRADE, { files: onTrial, state: "active", decidesLate: true });
  assertEquals(late.calls.slice(0, 2), [stopped, `systemctl start --wait ${JUDGE}`]);
});

Deno.test("a service that starts again by itself starts no judge between the two steps of an upgrade", async () => {
  const files = { ...TWO, ...LIVE, [CONFIG]: "" };
  const before = (await runScript(UPGRADE, { files, state: "activating" })).calls;
  const after = (await runScript(CONFIGURE, { files, state: "activating" })).calls;
  const at = (calls: readonly string[], call: string) => {
    assert(calls.includes(call), `${call} in ${calls.join(", ")}`);
    return calls.indexOf(call);
  };
  assert(
    at(before, `invoke stop ${JUDGE}`) < at(before, `systemctl mask --runtime --quiet ${JUDGE}`),
  );
  assert(
    at(after, `systemctl unmask --runtime --quiet ${JUDGE}`) <
      at(after, `systemctl start ${JUDGE}`),
  );
  const copied = await runScript(UPGRADE, { files: { ...files, ...COPIED }, state: "active" });
  assert(!copied.calls.some((call) => call.includes("mask")), "the judge of a copied program");
});

Deno.test("a program that gets ready, or ends again and again, is replaced on trial, too", async () => {
  const files = { ...TWO, ...LIVE, [CONFIG]: "" };
  for (const state of ["active", "activating", "deactivating", "reloading"]) {
    const before = await runScript(UPGRADE, { files, state });
    assertEquals(before.kept[2], "to=3\n", state);
    const { calls, kept } = await runScript(CONFIGURE, { files, state });
    assertEquals([calls.at(-1), kept[2]], [`systemctl start ${JUDGE}`, "to=3\n"], state);
  }
  for (const state of ["inactive", "failed", "unknown"]) {
    assertEquals((await runScript(UPGRADE, { files, state })).kept[2], null, state);
    assertEquals((await runScript(CONFIGURE, { files, state })).kept[2], null, state);
  }
});

Deno.test("a program on trial that is replaced while it is stopped leaves its trial to the new one", async () => {
  const files = { ...TWO, ...LIVE, [TRIAL]: "to=2\nbefore=a\nheard=yes\n" };
  const { kept: [, , trial], calls } = await runScript(CONFIGURE, { files });
  assertEquals(trial, "to=3\nheard=yes\n");
  assert(!calls.includes(`systemctl start ${JUDGE}`), "nothing that was stopped is started");
});

Deno.test("an upgrade during a trial is judged by what the last accepted program heard", async () => {
  const trialAfter = async (trial: string) => {
    const files = { ...TWO, ...LIVE, [TRIAL]: trial };
    return (await runScript(CONFIGURE, { files, state: "active" })).kept[2];
  };
  assertEquals(await trialAfter("to=2\nbefore=a\nheard=yes\n"), "to=3\nheard=yes\n");
  assertEquals(await trialAfter("to=2\nbefore=a\nheard=no\n"), "to=3\n");
});

Deno.test("an upgrade that is aborted ends its own trial, and lets that of the program that stays continue", async () => {
  const abort = ["postrm", "abort-upgrade", "2"] as const;
  const own = await runScript(abort, { files: { ...TWO, ...LIVE, [TRIAL]: "to=3\n" } });
  const unmasked = `systemctl unmask --runtime --quiet ${JUDGE}`;
  assertEquals([own.kept[2], own.calls], [null, [unmasked]]);
  const other = await runScript(abort, { files: { ...TWO, ...LIVE, [TRIAL]: "to=2\n" } });
  assertEquals([other.kept[2], other.calls], ["to=2\n", [unmasked, `invoke start ${JUDGE}`]]);
});

Deno.test("an upgrade enables no unit that somebody has disabled", async () => {
  const files = { ...TWO, ...LIVE, [CONFIG]: "" };
  const helped = async (system: System) =>
    (await runScript(CONFIGURE, system)).calls.filter((call) => call.startsWith("helper"));
  const setup = "recorder-agent-setup.service";
  assertEquals(await helped({ files }), [`helper enable ${JUDGE}`, `helper enable ${setup}`]);
  assertEquals(await helped({ files, disabled: [JUDGE] }), [
    `helper update-state ${JUDGE}`,
    `helper enable ${setup}`,
  ]);
});

Deno.test("what is installed again after it was removed is started; an upgrade starts nothing that was stopped", async () => {
  const started = "invoke start recorder-agent.service";
  const files = { [PROGRAM]: "two", ...LIVE, [CONFIG]: "" };
  const { calls } = await runScript(CONFIGURE, { files });
  assertEquals(calls.at(-1), started);
  assert(!calls.includes("helper enable recorder-agent.service"), "it may have been disabled");
  const upgrade = await runScript(CONFIGURE, { files: { ...files, ...TWO } });
  assert(!upgrade.calls.includes(started));
  const first = await runScript(["postinst", "configure", ""], { files });
  assertEquals(first.calls.slice(-2), ["helper enable recorder-agent.service", started]);
});

Deno.test("a purge leaves the recordings, and no token beside them", async () => {
  const state = "var/lib/recorder-agent";
  const chunk = `${state}/spool/outbox/a.ogg`;
  const files = {
    [chunk]: "",
    [`${state}/last_good_config.json`]: "a-token",
    "etc/recorder-agent/token": "a-token",
    [CONFIG]: "",
  };
  assertEquals((await runScript(["postrm", "purge"], { files })).left, [chunk]);
});

Deno.test("a purge removes the links of LEDs, and leaves what an operator has put beside them", async () => {
  const wants = "etc/systemd/system/recorder-agent.service.wants";
  const own = `${wants}/till-display.service`;
  const drop = "etc/systemd/system/recorder-agent.service.d/nice.conf";
  const files = {
    [`${wants}/recorder-agent-led@ACT.service`]: "",
    [own]: "",
    [drop]: "",
    [CONFIG]: "",
  };
  assertEquals((await runScript(["postrm", "purge"], { files })).left, [own, drop]);
});

Deno.test("before a removal nothing of the package runs any more, a setup that waits included", async () => {
  const { calls } = await runScript(["prerm", "remove"], { files: LIVE, state: "active" });
  const services = (await Array.fromAsync(Deno.readDir(UNITS))).map(({ name }) => name)
    .filter((name) => name.endsWith(".service"));
  assert(services.length > 0);
  for (const name of [...services, JUDGE, "recorder-agent.service"]) {
    assert(calls.some((call) => call.startsWith("invoke stop ") && call.includes(name)), name);
  }
});

Deno.test("what an update has kept goes with the next one and with a purge, also beside the file that a link leads to", async () => {
  const dropIn = "etc/systemd/system/recorder-agent.service.d/spool.conf";
  const [data, linked] = ["var/data/till.yaml", "var/data/spool.conf"];
  const old = [`${CONFIG}.old`, `${dropIn}.old`, `${data}.old`, `${linked}.old`];
  for (const script of [UPGRADE, ["postrm", "purge"]] as const) {
    const plain = Object.fromEntries(
      [CONFIG, dropIn, ...old.slice(0, 2)].map((path) => [path, ""]),
    );
    const { left } = await runScript(script, { files: { ...TWO, ...plain } });
    assertEquals(left.filter((path) => old.includes(path)), [], script[0]);
    const behind = Object.fromEntries([data, linked, ...old.slice(2)].map((path) => [path, ""]));
    const links = { [CONFIG]: data, [dropIn]: linked };
    const found = (await runScript(script, { files: { ...TWO, ...behind }, links })).left;
    assertEquals(found.filter((path) => path.startsWith("var/")), [data, linked], script[0]);
  }
});

Deno.test("a copied program without its unit is in charge of nothing", async () => {
  const does = async (script: readonly [string, ...string[]], copied: Record<string, string>) => {
    const files = { [PROGRAM]: "two", ...LIVE, [CONFIG]: "", ...copied };
    const { kept, calls, left } = await runScript(script, { files, state: "active" });
    return kept[2] !== null || calls.some((call) => call.includes(" stop ")) ||
      !left.includes(CONFIG);
  };
  const { "usr/local/bin/recorder-agent": program } = COPIED;
  for (const script of [UPGRADE, ["prerm", "remove"], ["postrm", "purge"]] as const) {
    assertEquals(await does(script, COPIED), false, script[0]);
    assert(await does(script, { "usr/local/bin/recorder-agent": program }), script[0]);
  }
});
