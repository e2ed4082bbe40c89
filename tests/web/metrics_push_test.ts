import { assertEquals } from "@std/assert";
import type { Diagnosis } from "../../src/status/problems.ts";
import { readOtlp } from "../fixtures/otlp_message.ts";
import { MetricsPush } from "../../src/web/metrics_push.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const NOON = Date.UTC(2026, 10, 29, 12);

/** A receiver that answers as the script says, then 200; a Error is a failure of the network. */
async function pushing(
  script: (number | Error)[],
  minutes: number,
  during?: (c: SimulatedClock) => void,
) {
  const clock = new SimulatedClock(NOON, { awaits: "promises" });
  const reports: string[] = [];
  const requests: number[][] = [];
  const problem = {
    set: ({ message }: Diagnosis) => void reports.push(message),
    clear: () => void reports.push("resolved"),
  };
  let collected = 0;
  const push = new MetricsPush({
    intervalMs: 60_000,
    resource: {},
    collect: () => [{ type: "gauge", name: "n", help: "", samples: [[collected++]] }],
    push: (body) => {
      const { metrics } = readOtlp(body).resourceMetrics[0].scopeMetrics[0];
      requests.push(
        metrics.map((metric: { gauge: { dataPoints: { timeUnixNano: string }[] } }) =>
          (Number(metric.gauge.dataPoints[0]?.timeUnixNano) / 1e6 - NOON) / 60_000
        ),
      );
      const answer = script.shift() ?? 200;
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  }, { clock, problem });
  const stop = new AbortController();
  const running = push.run(stop.signal);
  for (let minute = 0; minute < minutes; minute++) {
    await clock.advance(minute === 0 ? 1 : 60_000);
    during?.(clock);
  }
  stop.abort();
  await running;
  return { reports, requests };
}

Deno.test("each interval is one request with its own time", async () => {
  const { requests } = await pushing([], 3);
  assertEquals(requests, [[0], [1], [2]]);
});

Deno.test("what an outage held back is sent oldest first when it is over, each with its own time", async () => {
  const down = new Error("connection refused");
  const { requests, reports } = await pushing([down, down, 503, 200], 4);
  assertEquals(requests, [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]);
  assertEquals(reports.at(-1), "resolved");
  assertEquals(reports[0], "Metrics wait because they cannot be pushed: connection refused");
});

Deno.test("after a long outage, the backlog goes in bounded requests", async () => {
  const { requests } = await pushing(Array(40).fill(new Error("down")), 41);
  assertEquals(requests.slice(40).map(({ length }) => length), [15, 15, 11]);
});

Deno.test("metrics that the receiver refuses forever are dropped and reported", async () => {
  const { requests, reports } = await pushing([400], 2);
  assertEquals(requests, [[0], [1]]);
  assertEquals(reports, [
    "Metrics wait because they cannot be pushed: the receiver answered 400",
    "resolved",
  ]);
});

Deno.test("a clock that is corrected during an outage corrects the times of what waits", async () => {
  let minute = 0;
  const { requests } = await pushing([new Error("down")], 2, (clock) => {
    if (minute++ === 0) clock.step(120 * 60_000);
  });
  assertEquals(requests, [[0], [120, 121]]);
});
