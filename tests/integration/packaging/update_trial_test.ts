// The script that decides about a new program, run by a shell in which systemctl shows a life that is written
// down here and sleep passes the time: nothing waits, and nothing outside a temporary folder is touched.

import { assertEquals, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import { dirname, relative } from "node:path";
import { join } from "@std/path/join";
import type { Problem } from "../../../src/status/history.ts";
import type { HealthReport } from "../../../src/status/status.ts";
import { Supervision } from "../../../src/web/supervision.ts";
import { LOCK, lockSystem } from "../../../src/commands/install_lock.ts";
import { until } from "../../fixtures/sockets.ts";
import { SimulatedClock } from "../../fixtures/simulated_clock.ts";

const SCRIPT = new URL("../../../packaging/update/update-trial", import.meta.url).pathname;
const DIR = "var/lib/recorder-agent-update";
const FILES = {
  program: "usr/local/bin/recorder-agent",
  unit: "etc/systemd/system/recorder-agent.service",
  config: "etc/recorder-agent/config.yaml",
  dropIn: "etc/systemd/system/recorder-agent.service.d/spool.conf",
};

/** What `systemctl show` says for some seconds. */
interface Phase {
  readonly for: number;
  /** ActiveState, InvocationID, NRestarts, StatusText; null: systemd does not answer. */
  readonly is: readonly [string, string, number, string] | null;
  /** The number of what systemd is about to do. */
  readonly job?: number;
}

const OLD = (text = "Recording MIC since 11-29"): Phase => ({
  for: 1,
  is: ["active", "a", 0, text],
});
const runs = (seconds: number, text: string, invocation = "b"): Phase => ({
  for: seconds,
  is: ["active", invocation, 0, text],
});
const STARTS: Phase = { for: 5, is: ["activating", "b", 0, ""] };

interface Trial {
  /** What the old one does when the trial begins, and what follows. The last phase lasts. */
  readonly life: readonly Phase[];
  /** The files that the update has kept; by default the program. */
  readonly kept?: readonly (keyof typeof FILES)[];
  /** Files that there were not before the update. */
  readonly added?: readonly (keyof typeof FILES)[];
  /** Files that are links, absolute or relative, to others in another folder. */
  readonly linked?: Partial<Record<keyof typeof FILES, "absolute" | "relative">>;
  /** The file that a power cut has left. */
  readonly left?: Readonly<Record<string, string>>;
  /** The power fails before this change of a file, counted from 1; at the next boot nothing is heard. */
  readonly cutAt?: number;
  /** Whether an installation has the lock; it ends the trial, as it fails, before it releases it. */
  readonly isLocked?: boolean;
  /** Whether something holds the lock forever; time passes. */
  readonly isLockedForever?: boolean;
  /** Whether nothing can be written into a file. */
  readonly isDiskFull?: boolean;
}

async function judge(
  {
    life,
    kept = ["program"],
    added = [],
    linked = {},
    left = { trial: "to=0.9.9\n" },
    cutAt = 0,
    isLocked = false,
    isLockedForever = false,
    isDiskFull = false,
  }: Trial,
) {
  const root = await Deno.makeTempDir({ prefix: "update-trial-" });
  try {
    for (const [name, path] of Object.entries(FILES)) {
      await Deno.mkdir(join(root, path, ".."), { recursive: true });
      await Deno.writeTextFile(join(root, path), `new ${name}`);
    }
    for (const [name, kind] of Object.entries(linked)) {
      const path = join(root, FILES[name as keyof typeof FILES]);
      const data = join(root, "data", name);
      await Deno.mkdir(join(root, "data"), { recursive: true });
      await Deno.rename(path, data);
      await Deno.symlink(kind === "absolute" ? data : relative(dirname(path), data), path);
    }
    for (const name of [...kept, ...added]) {
      const path = await Deno.realPath(join(root, FILES[name]));
      await Deno.writeTextFile(`${path}.old`, added.includes(name) ? "" : `old ${name}`);
    }
    await Deno.mkdir(join(root, DIR), { recursive: true });
    for (const [name, text] of Object.entries(left)) {
      await Deno.writeTextFile(join(root, DIR, name), text);
    }
    // Functions come before programs. `sleep` passes the time; `systemctl` runs in a subshell.
    const worldOf = (life: readonly Phase[], cutAt: number) => {
      let endS = 0;
      const phases = life.map(({ for: seconds, is, job = "" }, at) => {
        endS += seconds;
        const isLast = at === life.length - 1;
        const [active, invocation, ends, text] = is ?? [];
        return `${isLast ? "else" : `${at === 0 ? "if" : "elif"} [ $now -lt ${endS} ]; then`}
${is === null ? "return 1" : ""}
  echo 'ActiveState=${active}'; echo 'InvocationID=${invocation}'
  echo 'NRestarts=${ends}'; echo 'Job=${job}'; echo 'StatusText=${text}'`;
      });
      return `now=0 changes=0
sleep() { now=$((now + $1)); }
sync() { :; }
${isDiskFull ? "printf() { false; }" : ""}
${isLockedForever ? `flock() { echo "$*" > ${root}/flocked; return 1; }` : ""}
change() { changes=$((changes + 1)); if [ $changes = ${cutAt} ]; then exit 99; fi; }
mv() { change; command mv "$@"; }
rm() { change; command rm "$@"; }
systemctl() {
case $1 in
show) ${phases.length === 1 ? "if false; then :; " : ""}${phases.join("\n")}
fi ;;
*) echo "$* at $now" >> ${root}/asked ;;
esac
}
`;
    };
    const read = async (path: string) =>
      await Deno.readTextFile(join(root, path)).catch(() => null);
    const modeOf = async (path: string) =>
      ((await Deno.stat(join(root, path)).catch(() => null))?.mode ?? 0) & 0o777;
    const isOpen = async () =>
      await read(`${DIR}/trial`) !== null || await read(`${DIR}/rolling-back`) !== null;
    const run = async (world: string) => {
      await Deno.writeTextFile(join(root, "world"), world);
      return await new Deno.Command("/bin/sh", {
        args: ["-c", `. ${root}/world; . ${SCRIPT}`],
        clearEnv: true,
        env: { UPDATE_ROOT: root, PATH: "/usr/bin:/bin" },
      }).output();
    };
    /** The script is at the lock, or has ended, before the trial goes and the lock is released. */
    const runLocked = async (world: string) => {
      const lock = await lockSystem("/", "install", join(root, LOCK));
      let hasEnded = false;
      const result = run(`${world}
flock() { : > ${root}/reached; command flock "$@"; }`).finally(() => hasEnded = true);
      const reached = join(root, "reached");
      await until("the script is at the lock", () => hasEnded || existsSync(reached));
      await Deno.remove(join(root, DIR, "trial"));
      lock.close();
      return await result;
    };
    await Deno.mkdir(join(root, "run"));
    const world = worldOf(life, cutAt);
    const first = isLocked ? await runLocked(world) : await run(world);
    const wasCut = first.code === 99;
    // ConditionPathExists= of the unit.
    const { code, stdout, stderr } = wasCut && await isOpen()
      ? await run(worldOf([runs(1, "NOT recording", "z")], 0))
      : first;
    const said = new TextDecoder();
    assertEquals(said.decode(stderr).replace(/^The new program fails .*\n/, ""), "");
    return {
      code,
      wasCut,
      said: said.decode(stdout).trim(),
      program: await read(FILES.program),
      unit: await read(FILES.unit),
      config: await read(FILES.config),
      dropIn: await read(FILES.dropIn),
      remains: (await Promise.all(Object.values(FILES).map((path) => read(`${path}.old`))))
        .filter((text) => text !== null),
      links: await Promise.all(
        Object.keys(linked).map((name) =>
          Deno.readLink(join(root, FILES[name as keyof typeof FILES])).then(() => name, () => null)
        ),
      ),
      note: await read(`${DIR}/rolled-back`),
      isOpen: await isOpen(),
      flocked: await read("flocked"),
      lockMode: await modeOf(LOCK),
      noteMode: await modeOf(`${DIR}/rolled-back`),
      restarts: (await read("asked"))?.match(/^restart /gm)?.length ?? 0,
      asked: await read("asked"),
    };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("a new program that records for half a minute stays", async () => {
  const life = [OLD(), STARTS, runs(1, "Recording MIC since 11-29")];
  const { program, note, isOpen, restarts, said } = await judge({ life });
  assertEquals({ program, note, isOpen, restarts, said }, {
    program: "new program",
    note: null,
    isOpen: false,
    restarts: 1,
    said: "The new program 0.9.9 stays",
  });
});

/** What the program tells systemd about this report. */
async function statusOf(report: Partial<HealthReport>): Promise<string> {
  const told: string[] = [];
  const notifier = { send: (text: string) => Promise.resolve(told.push(text) > 0) };
  const supervision = new Supervision({ timeZone: "UTC", notifier }, new SimulatedClock(0));
  const looking = new AbortController();
  const running = supervision.run(
    () => ({ recording: true, in_schedule: true, ...report }) as HealthReport,
    looking.signal,
    AbortSignal.abort(),
  );
  looking.abort();
  await running;
  return /^STATUS=(.*)$/m.exec(told[0] ?? "")?.[1] ?? "";
}

const IDLE = { microphone: "USB: a mic", queue_size: 0, chunks_rejected: 0, last_upload_ts: null };
const BUSY = { microphone: "MIC", queue_size: 12, chunks_rejected: 3, last_upload_ts: 1e9 };
const problem = (code: Problem["code"], message: string) => [{ code, message, since: 0 }];
const SILENT = await statusOf({ ...IDLE, problems: problem("microphone_silent", "only silence") });
const STUCK = await statusOf({ ...BUSY, problems: problem("microphone_stuck", "one value") });
const ECHO = await statusOf({
  ...BUSY,
  problems: problem("upload_failing", `the server answered 500: ${SILENT}`),
});

/** Lives of a new program after that of an old one, and why it goes; null: it stays. */
const LIVES: Readonly<Record<string, readonly [Phase, readonly Phase[], string | null]>> = {
  "cannot be executed": [
    OLD(),
    ["b", "c", "d", "e"].map((id, at) => ({ for: 5, is: ["activating", id, at, ""] })),
    "it ended 3 times",
  ],
  "ends again and again after READY": [
    OLD(),
    ["b", "c", "d", "e"].map((id, at) => ({ for: 20, is: ["active", id, at, "Recording MIC"] })),
    "it ended 3 times",
  ],
  "hears nothing, where the old one did": [
    OLD(),
    [STARTS, runs(1, "NOT recording since 11-29; microphone_missing: none")],
    "it heard nothing for 120 s, and the previous one did",
  ],
  "records silence, where the old one heard sound": [
    OLD(),
    [STARTS, runs(20, "Recording MIC"), runs(1, SILENT)],
    "it heard nothing for 120 s, and the previous one did",
  ],
  "records silence while chunks wait, where the old one heard sound": [
    OLD(),
    [STARTS, runs(1, STUCK)],
    "it heard nothing for 120 s, and the previous one did",
  ],
  "records while a server says what would make it go": [
    OLD(),
    [
      STARTS,
      runs(1, ECHO),
    ],
    null,
  ],
  "never gets ready": [
    OLD(),
    [{ for: 1, is: ["activating", "b", 0, ""] }],
    "it was not ready within 15 minutes",
  ],
  "is refused by systemd, so that the old one continues": [
    OLD(),
    [OLD()],
    "it was not ready within 15 minutes",
  ],
  "hears nothing, like the old one": [
    OLD("NOT recording"),
    [STARTS, runs(1, "NOT recording")],
    null,
  ],
  "comes after one that heard only silence": [
    OLD(SILENT),
    [STARTS, runs(1, "NOT recording")],
    null,
  ],
  "starts when the schedule has just ended": [
    OLD(),
    [STARTS, runs(1, "Outside the schedule")],
    null,
  ],
  "is paused by a person after ten seconds": [
    OLD(),
    [STARTS, runs(10, "Recording MIC"), runs(1, "Paused since 11-29")],
    null,
  ],
  "runs while systemd does not answer now and then": [
    OLD(),
    [1, 2, 3, 4].flatMap(() => [runs(5, "Recording MIC"), { for: 1, is: null }])
      .concat(runs(1, "Recording MIC")),
    null,
  ],
  "ends once": [OLD(), [STARTS, runs(9, "Recording MIC"), runs(1, "Recording MIC", "c")], null],
  "reads a full spool for ten minutes": [
    OLD(),
    [{ for: 600, is: ["activating", "b", 0, ""] }, runs(1, "Recording MIC")],
    null,
  ],
  "finds its microphone after a minute": [
    OLD(),
    [STARTS, runs(60, "NOT recording"), runs(1, "Recording MIC")],
    null,
  ],
};

for (const [what, [old, life, reason]] of Object.entries(LIVES)) {
  Deno.test(`a new program that ${what} ${reason === null ? "stays" : "goes"}`, async () => {
    const { program, note, isOpen, restarts } = await judge({ life: [old, ...life] });
    assertEquals({ program, note, isOpen, restarts }, {
      program: reason === null ? "new program" : "old program",
      note: reason === null ? null : `to=0.9.9\nreason=${reason}\n`,
      isOpen: false,
      restarts: reason === null ? 1 : 2,
    });
  });
}

Deno.test("program, unit, configuration and drop-in come back, as far as the update has changed them", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const all = ["program", "unit", "config", "dropIn"] as const;
  const { program, unit, config, dropIn } = await judge({ life, kept: all });
  assertEquals([program, unit, config, dropIn], all.map((name) => `old ${name}`));
  const some = await judge({ life, kept: ["program", "config"] });
  assertEquals([some.program, some.unit, some.config], ["old program", "new unit", "old config"]);
  assertEquals(some.dropIn, "new dropIn");
});

Deno.test("what there was not before the update is gone after its rollback", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const { program, config, dropIn, remains } = await judge({ life, added: ["config", "dropIn"] });
  assertEquals([program, config, dropIn, remains], ["old program", null, null, []]);
});

Deno.test("a configuration and a unit behind links come back behind them", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const linked = { config: "absolute", unit: "relative" } as const;
  const { config, unit, links } = await judge({
    life,
    linked,
    kept: ["program", "unit", "config"],
  });
  assertEquals([config, unit, links], ["old config", "old unit", ["config", "unit"]]);
});

Deno.test("a trial that a power cut has ended continues with what was known of the old one", async () => {
  const life = [runs(1, "NOT recording")];
  const known = await judge({ life, left: { trial: "to=0.9.9\nbefore=a\nheard=yes\n" } });
  assertEquals([known.program, known.restarts], ["old program", 1]);
  const unheard = await judge({ life, left: { trial: "to=0.9.9\nbefore=a\nheard=no\n" } });
  assertEquals([unheard.program, unheard.restarts], ["new program", 0]);
});

Deno.test("a trial continues at a boot at which the service waits for a minute before it starts", async () => {
  const waits: Phase = { for: 60, is: ["inactive", "", 0, ""], job: 7 };
  const left = { trial: "to=0.9.9\nbefore=a\nheard=yes\n" };
  const deaf = await judge({ life: [waits, STARTS, runs(1, "NOT recording")], left });
  assertEquals([deaf.program, deaf.isOpen], ["old program", false]);
  const good = await judge({ life: [waits, STARTS, runs(1, "Recording MIC")], left });
  assertEquals([good.program, good.isOpen], ["new program", false]);
});

Deno.test("a program that replaces one on trial is measured by what the accepted one heard", async () => {
  const life = [OLD("NOT recording"), STARTS, runs(1, "NOT recording")];
  const known = await judge({ life, left: { trial: "to=0.9.9\nheard=yes\n" } });
  assertEquals([known.program, known.restarts], ["old program", 2]);
  const unknown = await judge({ life, left: { trial: "to=0.9.9\n" } });
  assertEquals([unknown.program, unknown.restarts], ["new program", 1]);
});

Deno.test("a way back that a power cut has ended is finished without another trial", async () => {
  const { program, note, isOpen, asked } = await judge({
    life: [runs(1, "NOT recording")],
    left: { trial: "before=a\nheard=yes\n", "rolling-back": "to=0.9.9\nreason=it ended 3 times\n" },
  });
  assertEquals({ program, note, isOpen, asked }, {
    program: "old program",
    note: "to=0.9.9\nreason=it ended 3 times\n",
    isOpen: false,
    asked: "daemon-reload at 0\nrestart --no-block recorder-agent.service at 0\n",
  });
});

Deno.test("a power cut before any change of a file costs neither the way back nor its report", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const kept = ["program", "unit", "config"] as const;
  const added = ["dropIn"] as const;
  let cuts = 1; // the first change comes before it is noted that the old one heard something
  for (let wasCut = true; wasCut;) {
    const trial = await judge({ life, kept, added, cutAt: cuts + 1 });
    const { program, unit, config, dropIn, remains, note, isOpen } = trial;
    assertEquals([program, unit, config], ["old program", "old unit", "old config"], `cut ${cuts}`);
    assertEquals([dropIn, remains], [null, []], `cut ${cuts}`);
    const reason = "it heard nothing for 120 s, and the previous one did";
    assertEquals([note, isOpen], [`to=0.9.9\nreason=${reason}\n`, false], `cut ${cuts}`);
    wasCut = trial.wasCut;
    if (wasCut) cuts++;
  }
  assertEquals(cuts, 9);
});

Deno.test("a full disk costs neither the trial nor the way back", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const { program, restarts, isOpen } = await judge({ life, isDiskFull: true });
  assertEquals([program, restarts, isOpen], ["old program", 2, false]);
});

Deno.test("systemd that does not answer at first is asked again", async () => {
  const life: Phase[] = [{ for: 3, is: null }, { for: 5, is: ["active", "a", 0, "Recording MIC"] }];
  const { program, restarts } = await judge({ life: [...life, runs(1, "NOT recording")] });
  assertEquals([program, restarts], ["old program", 2]);
});

Deno.test("nothing is judged while an installation replaces files, and nothing after one that has failed", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const { asked, program, code } = await judge({ life, isLocked: true });
  assertEquals([asked, program, code], [null, "new program", 0]);
});

Deno.test("no user but root can hold the lock and so block the way back, also if the judge makes its file", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const { lockMode, noteMode } = await judge({ life });
  assertEquals(lockMode, 0o600);
  assertEquals(noteMode, 0o644, "the service reads it");
  assertEquals((await judge({ life, isLocked: true })).lockMode, 0o600);
});

Deno.test("an installation that hangs delays the decision about what is on trial, and does not prevent it", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const { flocked, program, isOpen } = await judge({ life, isLockedForever: true });
  assertMatch(flocked ?? "", /^--timeout 300 --shared \S+install\.lock true\n$/);
  assertEquals([program, isOpen], ["old program", false]);
});

Deno.test("a service that somebody stops stays stopped, and its trial stays open", async () => {
  const life = [OLD(), STARTS, { for: 1, is: ["inactive", "b", 0, ""] } satisfies Phase];
  const { program, isOpen, restarts } = await judge({ life });
  assertEquals([program, isOpen, restarts], ["new program", true, 1]);
});

Deno.test("without a previous program a failing one stays, and the exit code says so", async () => {
  const life = [OLD(), STARTS, runs(1, "NOT recording")];
  const { program, code, isOpen } = await judge({ life, kept: [] });
  assertEquals([program, code, isOpen], ["new program", 1, false]);
});

Deno.test("without a trial nothing happens", async () => {
  const { code, asked } = await judge({ life: [OLD()], left: {} });
  assertEquals([code, asked], [0, null]);
});
