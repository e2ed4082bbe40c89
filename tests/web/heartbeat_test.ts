import { assertEquals } from "@std/assert";
import type { Problem } from "../../src/status/history.ts";
import { heartbeatOf, sendHeartbeats } from "../../src/web/heartbeat.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const URL_ = "https://hc.example/ping/0f1e";
const PROBLEM = { code: "upload_failing", message: "no answer", since: "" } as unknown as Problem;

Deno.test("all is well: the URL itself is pinged", () => {
  assertEquals(heartbeatOf(URL_, { status: "ok", problems: [] }, 0), { to: URL_, text: "ok" });
});

Deno.test("an error is a failure at once, with every problem in words", () => {
  const { to, text } = heartbeatOf(URL_, { status: "error", problems: [PROBLEM] }, 0);
  assertEquals(to, `${URL_}/fail`);
  assertEquals(text, "error\nupload_failing: no answer");
});

Deno.test("a lasting problem is a failure after ten minutes", () => {
  const degraded = { status: "degraded" as const, problems: [PROBLEM] };
  assertEquals(heartbeatOf(URL_, degraded, 599_999).to, URL_);
  assertEquals(heartbeatOf(URL_, degraded, 600_000).to, `${URL_}/fail`);
});

Deno.test("/fail is added to the path, and a query stays", () => {
  const error = { status: "error" as const, problems: [] };
  assertEquals(
    heartbeatOf("https://a.example/p/?x=1", error, 0).to,
    "https://a.example/p/fail?x=1",
  );
});

Deno.test("a monitor that does not answer is a problem until it answers again", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 29), { awaits: "promises" });
  const answers: (number | Error)[] = [200, new Error("connection refused"), 404, 200];
  const reports: string[] = [];
  const stop = new AbortController();
  const running = sendHeartbeats({
    url: URL_,
    intervalMs: 60_000,
    report: () => ({ status: "ok", problems: [] }),
    ping: () => {
      const answer = answers.shift() ?? 200;
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  }, {
    clock,
    problem: {
      set: ({ message }) => void reports.push(message),
      clear: () => void reports.push("resolved"),
    },
  }, stop.signal);
  for (let minute = 0; minute < 4; minute++) await clock.advance(minute === 0 ? 1 : 60_000);
  stop.abort();
  await running;
  const failing = "The monitor cannot be told that this till is well: ";
  assertEquals(reports, [
    "resolved",
    `${failing}connection refused`,
    `${failing}the monitor answered 404`,
    "resolved",
  ]);
});

Deno.test("a monitor that was away for long is told that all is well, not of its own absence", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 29), { awaits: "promises" });
  const own = { code: "heartbeat_failing", message: "no answer", since: "" } as unknown as Problem;
  const hint = { ...own, code: "microphone_too_quiet" as const };
  let isAway = true;
  const pings: string[] = [];
  const stop = new AbortController();
  const running = sendHeartbeats(
    {
      url: URL_,
      intervalMs: 60_000,
      report: () =>
        isAway ? { status: "ok", problems: [] } : { status: "degraded", problems: [own, hint] },
      ping: (url, text) => {
        if (isAway) return Promise.reject(new Error("connection refused"));
        pings.push(`${url} ${text}`);
        return Promise.resolve(200);
      },
    },
    { clock, problem: { set: () => {}, clear: () => {} } },
    stop.signal,
  );
  await clock.advance(1);
  for (let minute = 0; minute < 30; minute++) {
    isAway = minute < 20;
    await clock.advance(60_000);
  }
  stop.abort();
  await running;
  assertEquals(new Set(pings), new Set([`${URL_} ok\nmicrophone_too_quiet: no answer`]));
});

Deno.test("a report that cannot be made is a problem of the heartbeat, and ends nothing", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 29), { awaits: "promises" });
  const said: string[] = [];
  const stop = new AbortController();
  const running = sendHeartbeats(
    {
      url: URL_,
      intervalMs: 60_000,
      report: () => {
        throw new Error("no report");
      },
      ping: () => Promise.resolve(200),
    },
    { clock, problem: { set: ({ message }) => void said.push(message), clear: () => {} } },
    stop.signal,
  );
  await clock.advance(61_000);
  stop.abort();
  await running;
  assertEquals(said.length, 2);
});
