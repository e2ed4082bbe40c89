// Pauses on command: what is answered, reported and kept.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { Pausing } from "../../src/agent/pausing.ts";
import { Status } from "../../src/status/status.ts";
import { ids } from "../fixtures/chunks.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog, until } from "../fixtures/temp_spool.ts";

const START = Date.UTC(2026, 10, 29, 12);
const IDLE = { tally: noTally(), totalBytes: 0 };

function noTally() {
  const none = { files: 0, bytes: 0, durationUs: 0 };
  return { outbox: none, uploaded: none, rejected: none };
}

async function rig(spoolDir = Deno.makeTempDirSync({ prefix: "pausing-" }), nowMs = START) {
  const clock = new SimulatedClock(nowMs);
  const status = new Status({ ...ids, version: "1" }, clock);
  const { log, lines } = capturedLog();
  let changes = 0;
  const onChange = () => void changes++;
  const clockSync = { isTrusted: true };
  const pausing = new Pausing({
    clock,
    status,
    log,
    spoolDir,
    clockSync,
    timeZone: "UTC",
    onChange,
  });
  await pausing.takeUp();
  return {
    clock,
    status,
    pausing,
    lines,
    spoolDir,
    changes: () => changes,
    problem: () => status.report(IDLE).problems[0],
  };
}

Deno.test("of commands that come at once the last one is on the disk", async () => {
  for (const last of ["resume", "pause"] as const) {
    const { pausing, spoolDir, lines } = await rig();
    const order = last === "pause" ? ["pause", "resume", "pause"] : ["pause", "pause", "resume"];
    const answers = await Promise.all(
      order.map((command) =>
        pausing.control(command === "pause" ? { command, seconds: 60 } : { command: "resume" })
      ),
    );
    assert(answers.every(({ ok, message }) => ok && !message.includes("disk")), last);
    assertEquals(lines.filter(({ message }) => String(message).includes("cannot")), []);
    assertEquals(existsSync(join(spoolDir, "pause.json")), last === "pause");
    await Deno.remove(spoolDir, { recursive: true });
  }
});

Deno.test("a pause is answered, reported with its end, kept on the disk, and ends by itself", async () => {
  const { clock, pausing, status, spoolDir, problem, lines, changes } = await rig();
  status.schedule(true);
  const stop = new AbortController();
  const running = pausing.run(stop.signal);
  assertEquals(await pausing.control({ command: "pause", seconds: 900 }), {
    ok: true,
    message: "Recording is paused until 2026-11-29 12:15:00",
  });
  assertEquals([pausing.leftMs(), changes(), problem()?.code], [900_000, 1, "recording_paused"]);
  assertEquals(problem()?.retry_at, START / 1000 + 900);
  await clock.advance(60_000);
  assertEquals(status.report(IDLE).status, "degraded", "not an error");
  const file = join(spoolDir, "pause.json");
  assertMatch(await Deno.readTextFile(file), /12:15:00/);
  await clock.advance(850_000);
  await until(() => !existsSync(file));
  assertEquals([pausing.leftMs(), problem()], [0, undefined]);
  assert(lines.some(({ message }) => String(message).startsWith("Resolved after 900 s")));
  stop.abort();
  await running;
  await Deno.remove(spoolDir, { recursive: true });
});

Deno.test("a user who may pause can neither fill the log nor wear the card out, and a resume is always possible", async () => {
  const { clock, pausing, lines, spoolDir } = await rig();
  const pause = () => pausing.control({ command: "pause", seconds: 60 });
  const resume = () => pausing.control({ command: "resume" });
  for (let count = 0; count < 10; count++) {
    assertEquals((await pause()).ok, true);
    assertEquals((await resume()).message, "Recording resumes");
  }
  const before = lines.length;
  for (let count = 0; count < 100; count++) {
    const { ok, message } = await pause();
    assertEquals([ok, pausing.leftMs()], [false, 0]);
    assertMatch(message, /^Cannot pause: 10 pauses within 10 minutes .* try again in 600 s$/);
    await resume();
  }
  assertEquals(lines.length, before);
  await clock.advance(600_000);
  assertEquals((await pause()).ok, true);
  assertEquals((await resume()).message, "Recording resumes");
  await Deno.remove(spoolDir, { recursive: true });
});

Deno.test("a pause that is over at a start does not begin again at one whose clock is in the past", async () => {
  const { pausing, spoolDir } = await rig();
  await pausing.control({ command: "pause", seconds: 3600 });
  const later = await rig(spoolDir, START + 7_200_000);
  assertEquals([later.pausing.leftMs(), later.problem()], [0, undefined]);
  const past = await rig(spoolDir, START);
  assertEquals([past.pausing.leftMs(), past.problem()], [0, undefined]);
  await Deno.remove(spoolDir, { recursive: true });
});

Deno.test("a pause survives a restart; resume ends it for good", async () => {
  const first = await rig();
  await first.pausing.control({ command: "pause", seconds: 3600 });
  const second = await rig(first.spoolDir);
  assertEquals([second.pausing.leftMs(), second.problem()?.code], [3_600_000, "recording_paused"]);
  assertEquals((await second.pausing.control({ command: "resume" })).message, "Recording resumes");
  assertEquals([second.pausing.leftMs(), second.problem()], [0, undefined]);
  const third = await rig(first.spoolDir);
  assertEquals(third.pausing.leftMs(), 0);
  assertEquals(await third.pausing.control({ command: "resume" }), {
    ok: true,
    message: "Recording is not paused",
  });
  assertEquals(third.changes(), 0);
  await Deno.remove(first.spoolDir, { recursive: true });
});

Deno.test("a pause of an earlier run that is over by the synchronized clock ends, on the disk, too", async () => {
  const first = await rig();
  await first.pausing.control({ command: "pause", seconds: 3600 });
  first.pausing.clockTrusted();
  assertEquals([first.pausing.leftMs(), first.changes()], [3_600_000, 1], "of this run");
  const second = await rig(first.spoolDir);
  second.clock.step(8 * 3_600_000);
  assertEquals(second.pausing.leftMs(), 3_600_000);
  second.pausing.clockTrusted();
  assertEquals([second.pausing.leftMs(), second.changes(), second.problem()], [0, 1, undefined]);
  await until(() => !existsSync(join(first.spoolDir, "pause.json")));
  // The next write waits until that one has ended.
  await second.pausing.control({ command: "pause", seconds: 60 });
  await Deno.remove(first.spoolDir, { recursive: true });
});

Deno.test("a pause that the disk does not keep is a pause all the same, and says so", async () => {
  const { pausing } = await rig("/nowhere/at/all");
  const { ok, message } = await pausing.control({ command: "pause", seconds: 60 });
  assert(ok && pausing.leftMs() > 0);
  assertMatch(message, /the disk cannot be written/);
});

function existsSync(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
