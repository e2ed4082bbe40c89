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
const JUDGE = "recorder-agent-update.service";

interface System {
  readonly files: Readonly<Record<string, string>>;
  /** The state of the service; by default it is stopped. */
  readonly state?: "active" | "activating" | "inactive";
  /** Units that somebody has disabled. */
  readonly disabled?: readonly string[];
}

/** Runs one of the scripts. Returns its calls, and what is then in a file; null: it does not exist. */
async function runScript(
  [name, ...args]: readonly [string, ...string[]],
  { files, state = "inactive", disabled = [] }: System,
) {
  const root = await Deno.makeTempDir({ prefix: "maintainer-script-" });
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(join(root, path, ".."), { recursive: true });
      await Deno.writeTextFile(join(root, path), text);
    }
    const url = new URL(`../../../packaging/debian/${name}`, import.meta.url);
    const script = (await Deno.readTextFile(url)).replaceAll(
      /\/(usr|etc|var|run|boot)\//g,
      `${root}/$1/`,
    ).replaceAll("@VERSION@", "3");
    const calls = `note() { echo "$*" >> ${root}/calls; }
systemctl() {
  if [ "$1" != is-active ]; then note systemctl "$@"; return; fi
  echo ${state}; [ ${state} = active ]
}
deb-systemd-invoke() { note invoke "$@"; }
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
      calls: (found("calls") ?? "").trim().split("\n").filter((call) => call !== ""),
    };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

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
  const copied = { ...files, "usr/local/bin/recorder-agent": "copied" };
  assertEquals(await keptBy({ files: copied, state: "active" }), ["two", null, null]);
});

Deno.test("an upgrade of a program that has not started yet is a trial, too", async () => {
  const files = { [PROGRAM]: "two", ...LIVE };
  const { kept } = await runScript(UPGRADE, { files, state: "activating" });
  assertEquals(kept, ["two", null, "to=3\n"]);
  const { kept: [, , trial], calls } = await runScript(CONFIGURE, {
    files: { ...files, ...TWO },
    state: "activating",
  });
  assertEquals([trial, calls.at(-1)], ["to=3\n", `systemctl start ${JUDGE}`]);
});

Deno.test("a program on trial that is replaced while it is stopped leaves its trial to the new one", async () => {
  const files = { ...TWO, ...LIVE, [TRIAL]: "to=2\nbefore=a\nheard=yes\n" };
  const { kept: [, , trial], calls } = await runScript(CONFIGURE, { files });
  assertEquals(trial, "to=3\nheard=yes\n");
  assert(!calls.includes(`systemctl start ${JUDGE}`), "nothing that was stopped is started");
});

Deno.test("an upgrade during a trial stops its judge before files are replaced; a rollback that has begun ends first", async () => {
  const onTrial = { ...TWO, ...LIVE, [TRIAL]: "to=2\n" };
  const stopped = `invoke stop ${JUDGE}`;
  const [first] = (await runScript(UPGRADE, { files: onTrial, state: "active" })).calls;
  assertEquals(first, stopped);
  const files = { ...onTrial, [`${UPDATES}/rolling-back`]: "" };
  const { calls } = await runScript(UPGRADE, { files, state: "active" });
  assertEquals(calls.slice(0, 2), [`systemctl start --wait ${JUDGE}`, stopped]);
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
  assertEquals([own.kept[2], own.calls], [null, []]);
  const other = await runScript(abort, { files: { ...TWO, ...LIVE, [TRIAL]: "to=2\n" } });
  assertEquals([other.kept[2], other.calls], ["to=2\n", [`invoke start ${JUDGE}`]]);
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
