// `install` as an update: what a power cut in the middle of it leaves, and what happens while an earlier update is not
// decided yet.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import { fileSteps } from "../../src/commands/install.ts";
import { makePlan, readAnswers } from "../../src/commands/install_plan.ts";
import { lockSystem } from "../../src/commands/install_lock.ts";
import { awaitDecision, lockDecided, putOnTrial } from "../../src/commands/install_update.ts";
import { ENV, makeRoot, SET } from "../fixtures/installed_system.ts";

/** A system with one of the files of an open update, or none. */
async function updating(name: string | null) {
  const system = await makeRoot();
  const path = join(system.root, "var/lib/recorder-agent-update", name ?? "rolled-back");
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeTextFile(path, "to=2\n");
  const ran: string[] = [];
  return {
    ran,
    makePackaged: async () => {
      const unit = join(system.root, "usr/lib/systemd/system/recorder-agent.service");
      await Deno.mkdir(join(unit, ".."), { recursive: true });
      await Deno.writeTextFile(unit, "");
    },
    /** @param states of the service and of the judge, second by second; the last ones stay. */
    wait: (decide: () => Promise<void>, states: (readonly [string, string])[] = []) =>
      awaitDecision(system.root, () => {}, {
        run: async (command) => {
          ran.push(command.slice(1).join(" "));
          await decide();
        },
        stateOf: (unit) => {
          const [service, judge] = states[0] ?? ["inactive", "inactive"];
          return Promise.resolve(unit === "recorder-agent.service" ? service : judge);
        },
        second: () => {
          ran.push("a second");
          if (states.length > 1) states.shift();
          return Promise.resolve();
        },
      }),
    decide: () => Deno.remove(path),
    [Symbol.asyncDispose]: () => system[Symbol.asyncDispose](),
  };
}

const STARTED = "start --wait recorder-agent-update.service";

Deno.test("install waits for the decision about a program on trial, and for a rollback, before it changes anything", async () => {
  for (const name of ["trial", "rolling-back"]) {
    await using update = await updating(name);
    await update.wait(update.decide);
    assertEquals(update.ran, [STARTED], name);
  }
});

Deno.test("a decision that is an error, as there is no previous program, is one all the same", async () => {
  await using update = await updating("trial");
  await update.wait(async () => {
    await update.decide();
    throw new Error("exit 1");
  });
});

Deno.test("install waits for nothing if no update is open", async () => {
  await using update = await updating(null);
  await update.wait(update.decide);
  assertEquals(update.ran, []);
});

Deno.test("install refuses to replace a program that stays on trial, and says how to continue", async () => {
  await using update = await updating("trial");
  const error = await assertRejects(() => update.wait(() => Promise.resolve()), Error);
  assertMatch(error.message, /the service is stopped.*systemctl start.*sudo rm .*\/trial$/);
  const failed = () => Promise.reject(new Error("no bus"));
  assertMatch((await assertRejects(() => update.wait(failed), Error)).message, /no bus/);
});

Deno.test("install waits while an upgrade has stopped the judge, starts it not itself, and waits for what is on trial then", async () => {
  await using update = await updating("trial");
  await update.makePackaged();
  const [judged, upgrading] = [["active", "active"], ["active", "inactive"]] as const;
  const states = [judged, upgrading, upgrading, judged];
  await update.wait(() => {
    if (states.length === 1) return update.decide();
    states.shift(); // an upgrade begins
    return Promise.reject(new Error("canceled"));
  }, states);
  assertEquals(update.ran, [STARTED, "a second", "a second", STARTED]);
});

Deno.test("install begins no trial between the two steps of an upgrade of the package, which begins it itself", async () => {
  await using update = await updating("trial");
  await update.makePackaged();
  const upgrading = ["active", "inactive"] as const;
  await update.wait(update.decide, [upgrading, upgrading, ["activating", "activating"]]);
  assertEquals(update.ran, ["a second", "a second", STARTED]);
});

Deno.test("without a package there is no upgrade to wait for when the judge cannot be started", async () => {
  await using update = await updating("trial");
  const missing = () => Promise.reject(new Error("Unit not found"));
  const error = await assertRejects(() => update.wait(missing, [["active", "inactive"]]), Error);
  assertMatch(error.message, /must be decided first: Unit not found/);
  assertEquals(update.ran, [STARTED]);
});

Deno.test("an upgrade that never ends, or that ends the trial, does not hold install", async () => {
  await using update = await updating("trial");
  await update.makePackaged();
  const canceled = () => Promise.reject(new Error("canceled"));
  const error = await assertRejects(() => update.wait(canceled, [["active", "inactive"]]), Error);
  assertMatch(error.message, /must be decided first: canceled/);
  assertEquals(update.ran.filter((command) => command === STARTED).length, 1);
  await update.wait(async () => {
    await update.decide();
    throw new Error("canceled");
  }, [["active", "inactive"]]);
});

Deno.test("install replaces nothing of an update that begins while a person is asked, and lets its judge have the lock", async () => {
  await using system = await makeRoot();
  const { root } = system;
  const dir = join(root, "var/lib/recorder-agent-update");
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(join(dir, "trial"), "to=2\n");
  const ran: string[] = [];
  const run = async (command: readonly string[]) => {
    ran.push(command.slice(1).join(" "));
    using _judge = await lockSystem(root, "install");
    await Deno.remove(join(dir, "trial"));
  };
  const idle = { run, stateOf: () => Promise.resolve("inactive"), second: () => Promise.resolve() };
  const lock = () => lockSystem(root, "install");
  using _held = await lockDecided(root, () => {}, lock, idle);
  assertEquals(ran, [STARTED]);
  await assertRejects(lock, Error, "must end first");
});

Deno.test("install reports success only if the new program stays, not if its trial was interrupted or it was rolled back", async () => {
  const decide = async (end: (dir: string) => Promise<void>) => {
    await using system = await makeRoot();
    const dir = join(system.root, "var/lib/recorder-agent-update");
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeTextFile(join(dir, "trial"), "to=2\n");
    // Of an earlier update.
    await Deno.writeTextFile(join(dir, "rolled-back"), "to=1\nreason=old\n");
    const ran: string[] = [];
    const result = await putOnTrial(system.root, async (command) => {
      ran.push(command.slice(1).join(" "));
      if (ran.length === 2) await end(dir);
    }).then(() => "success", (error) => error.message);
    assertEquals(ran, ["daemon-reload", STARTED]);
    return result;
  };
  const accept = (dir: string) => Deno.remove(join(dir, "trial"));
  assertEquals(await decide(accept), "success");
  assertMatch(
    await decide(() => Promise.resolve()),
    /not decided.*systemctl start recorder-agent$/,
  );
  const rollBack = async (dir: string) => {
    await accept(dir);
    await Deno.writeTextFile(join(dir, "rolled-back"), "to=2\nreason=it ended 3 times\n");
  };
  assertMatch(await decide(rollBack), /rolled back .*: it ended 3 times; .*until the next update$/);
});

const DROP_IN = "etc/systemd/system/recorder-agent.service.d/spool.conf";
/** Files that an update changes. */
const PATHS = [
  "usr/local/bin/recorder-agent",
  "etc/recorder-agent/config.yaml",
  "etc/systemd/system/recorder-agent.service",
  DROP_IN,
];
/** What ends a trial. */
const JUDGE = [
  "usr/local/lib/recorder-agent/update-trial",
  "etc/systemd/system/recorder-agent-update.service",
  "etc/systemd/system/multi-user.target.wants/recorder-agent-update.service",
];

/**
 * An update that also moves the spool, null is its usual place, step by step. After each, `look` gets the files before
 * the update, as they are, and as a rollback would leave them; null: there is none.
 */
async function updateStepwise(
  { from, to, isLinked = false }: { from: string | null; to: string | null; isLinked?: boolean },
  look: (
    what: string,
    files: Record<"before" | "now" | "back", (string | null)[]>,
    isOnTrial: boolean,
    hasJudge: boolean,
  ) => void,
) {
  await using system = await makeRoot();
  const { root, executable } = system;
  const spool = (path: string | null) => `spool_dir=${path ?? "/var/lib/recorder-agent/spool"}`;
  const config = join(root, "etc/recorder-agent/config.yaml");
  if (isLinked) {
    await Deno.mkdir(join(root, "data"));
    await Deno.mkdir(join(config, ".."));
    await Deno.writeTextFile(join(root, "data/till.yaml"), "");
    await Deno.symlink("/data/till.yaml", config);
  }
  assertEquals(await system.install({ set: from === null ? SET : [...SET, spool(from)] }), 0);
  const place = (path: string) =>
    join(root, isLinked && path.endsWith("config.yaml") ? "data/till.yaml" : path);
  const read = (path: string) => Deno.readTextFile(path).catch(() => null);
  const judge = JUDGE.map((path) => join(root, path));
  // The releases before 0.3.0 have none.
  for (const path of judge) await Deno.remove(path);
  // The unit of the release before, and what the update to that one has kept.
  await Deno.writeTextFile(join(root, "etc/systemd/system/recorder-agent.service"), "[Unit]\n");
  const kept = PATHS.slice(0, from === null ? 3 : 4);
  for (const path of kept) await Deno.writeTextFile(`${place(path)}.old`, "older");
  const before = await Promise.all(PATHS.map((path) => read(place(path))));
  await Deno.writeTextFile(executable, "#!/bin/sh\necho version two\n");
  const options = { root, set: [spool(to)], env: ENV, dryRun: false, executable, ask: null };
  const settings = await readAnswers(options);
  assert(settings !== null);
  const plan = await makePlan(root, settings);
  const hasDropIn = from !== null;
  const facts = { hasDropIn, hasPackage: false, hasCopy: true, isUpdate: true };
  for (const { what, isDone, apply } of await fileSteps(options, facts, plan)) {
    if (await isDone()) continue;
    await apply();
    const now = await Promise.all(PATHS.map((path) => read(place(path))));
    const old = await Promise.all(PATHS.map((path) => read(`${place(path)}.old`)));
    // packaging/update/update-trial
    const back = now.map((text, at) => old[at] === "" ? null : old[at] ?? text);
    const isOnTrial = await read(join(root, "var/lib/recorder-agent-update/trial")) !== null;
    const found = await Promise.all(judge.map((path) => Deno.lstat(path).catch(() => null)));
    look(what, { before, now, back }, isOnTrial, !found.includes(null));
  }
}

Deno.test("a power cut in an update is followed by a trial, with what was accepted last as the way back", async () => {
  const moves = [
    { from: null, to: "/srv/new" },
    { from: "/srv/old", to: "/srv/new" },
    { from: "/srv/old", to: null },
    { from: "/srv/old", to: "/srv/new", isLinked: true },
  ];
  for (const move of moves) {
    let replaced = 0;
    const name = JSON.stringify(move);
    let last: (string | null)[] = [];
    await updateStepwise(move, (what, { before, now, back }, isOnTrial) => {
      last = now.map((text, at) => text === before[at] ? null : PATHS[at] ?? null);
      if (now.every((text, at) => text === before[at])) return;
      replaced++;
      assert(isOnTrial, `${name}: ${what}`);
      assertEquals(back, before, `${name}: ${what}`);
    });
    assert(replaced >= PATHS.length, name);
    assertEquals(last, PATHS, `${name}: all of them are replaced`);
  }
});

Deno.test("a power cut in the first update from a release without a judge leaves no trial without one", async () => {
  let looks = 0;
  await updateStepwise({ from: null, to: null }, (what, _files, isOnTrial, hasJudge) => {
    if (!isOnTrial) return;
    looks++;
    assert(hasJudge, what);
  });
  assert(looks > 2);
});

Deno.test("an update that leaves the drop-in alone keeps none, not even that of an earlier one", async () => {
  await updateStepwise(
    { from: "/srv/old", to: "/srv/old" },
    (what, { before, back }, isOnTrial) => {
      if (isOnTrial) assertEquals(back[3], before[3], what);
    },
  );
});
