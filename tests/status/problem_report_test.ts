// One problem from its beginning to its end: its lines in the log, and its entry in /health.

import { assertEquals } from "@std/assert";
import { ProblemReport, type ProblemReportDeps } from "../../src/status/problem_report.ts";
import { inOneLine, problems } from "../../src/status/problems.ts";
import { Status } from "../../src/status/status.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);

function start(options: Pick<ProblemReportDeps, "countField"> = {}) {
  const clock = new SimulatedClock(START_MS);
  const status = new Status(
    { pointId: "p", registerId: "r", deviceId: "d", version: "0" },
    clock,
  );
  const logged = capturedLog();
  const none = { files: 0, bytes: 0, durationUs: 0 };
  const tally = { outbox: none, uploaded: none, rejected: none };
  return {
    clock,
    status,
    report: new ProblemReport({ clock, status, log: logged.log, ...options }),
    another: new ProblemReport({ clock, status, log: logged.log }),
    /** The problems in /health. */
    listed: () => status.report({ tally, totalBytes: 0 }).problems,
    /** The lines of the log without their heads. */
    lines: () => logged.lines.map(({ time: _time, part: _part, ...line }) => line),
    [Symbol.dispose]: () => logged[Symbol.dispose](),
  };
}

Deno.test("a problem begins with a line that has its message, fix and code, and an entry", () => {
  using setup = start();
  const diagnosis = problems.missing("hw:1,0");
  setup.report.set(diagnosis);
  const { code, message, fix } = diagnosis;
  assertEquals(setup.lines(), [{ level: "WARNING", message, problem: message, fix, code }]);
  assertEquals(setup.listed(), [{ code, message: inOneLine(diagnosis), since: START_MS / 1000 }]);
  assertEquals(setup.report.isLasting, true);
});

Deno.test("a problem that loses recordings, or stops the health server, begins with an ERROR", () => {
  using setup = start();
  setup.report.set(problems.diskFull());
  setup.another.set(problems.healthPortUnavailable(8042, "in use"));
  assertEquals(setup.lines().map(({ level }) => level), ["ERROR", "ERROR"]);
});

Deno.test("a new message for a lasting problem appears in /health, without another line", async () => {
  using setup = start();
  setup.report.set(problems.uploadFailing("the server answered 500"));
  await setup.clock.advance(5000);
  const later = problems.uploadFailing("no answer");
  setup.report.set(later);
  assertEquals(setup.lines().length, 1);
  assertEquals(setup.listed(), [
    { code: later.code, message: inOneLine(later), since: START_MS / 1000 },
  ]);
});

Deno.test("a resolved problem has one line, with its duration and the number of reports", async () => {
  using setup = start();
  for (let report = 0; report < 3; report++) {
    setup.report.set(problems.missing("hw:1,0"));
    await setup.clock.advance(1020);
  }
  setup.report.clear();
  setup.report.clear();
  const message = "Resolved after 3.1 s: microphone_missing.";
  assertEquals(setup.lines().slice(1), [
    {
      ...{ level: "WARNING", message, resolved: "microphone_missing", lasted_s: 3.1, reported: 3 },
      ends: ["microphone_missing"],
    },
  ]);
  assertEquals([setup.listed(), setup.report.isLasting], [[], false]);
  const [past] = setup.status.history.problems;
  assertEquals([past?.since, past?.until], [START_MS / 1000, START_MS / 1000 + 3.06]);
});

Deno.test("a problem that replaces another is announced, and continues it", async () => {
  using setup = start({ countField: "failed_attempts" });
  setup.report.set(problems.uploadFailing("no answer"));
  await setup.clock.advance(2000);
  const other = problems.uploadMisconfigured("the server answered 401");
  setup.report.set(other);
  assertEquals(setup.listed(), [
    { code: other.code, message: inOneLine(other), since: START_MS / 1000 },
  ]);
  await setup.clock.advance(1000);
  setup.report.clear();
  assertEquals(setup.lines().map(({ message }) => message), [
    "Chunks wait because delivery fails: no answer",
    other.message,
    "Resolved after 3 s: upload_misconfigured.",
  ]);
  assertEquals(setup.lines().at(-1)?.failed_attempts, 2);
  assertEquals(setup.lines().at(-1)?.ends, ["upload_failing", "upload_misconfigured"]);
  assertEquals(setup.status.history.problems.map(({ code }) => code), ["upload_misconfigured"]);
});

Deno.test("a problem that returns begins again, and other problems are unchanged", async () => {
  using setup = start();
  setup.another.set(problems.diskLow(10));
  setup.report.set(problems.missing("hw:1,0"));
  setup.report.clear();
  await setup.clock.advance(60_000);
  setup.report.set(problems.missing("hw:1,0"));
  assertEquals(setup.listed().map(({ code, since }) => [code, since - START_MS / 1000]), [
    ["disk_low", 0],
    ["microphone_missing", 60],
  ]);
  await setup.clock.advance(500);
  setup.report.clear();
  const { lasted_s, reported } = setup.lines().at(-1) ?? {};
  assertEquals([lasted_s, reported], [0.5, 1]);
});
