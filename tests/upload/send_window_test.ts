import { assertEquals } from "@std/assert";
import { SendWindow } from "../../src/upload/send_window.ts";

/** This many requests are in flight, none of them answered unless the test says so. */
function flying(inFlight: number, unanswered = inFlight) {
  return { inFlight, unanswered };
}

/** An open window with established connections; answers took `answerMs`, the last one came at 0. */
function openWindow(max: number, answerMs = 0): SendWindow {
  const window = new SendWindow(max, 5000);
  for (let inFlight = 0; inFlight < max; inFlight++) window.begun(flying(inFlight), -1000);
  for (let accepted = 0; accepted < max; accepted++) window.accepted(answerMs, false, 0);
  window.begun(flying(0), -1000);
  window.accepted(answerMs, false, 0);
  return window;
}

Deno.test("the window opens by one with each acceptance, up to its maximum", () => {
  const window = new SendWindow(3, 5000);
  const limits = [window.limit];
  for (let accepted = 0; accepted < 4; accepted++) {
    window.accepted(10, false, 0);
    limits.push(window.limit);
  }
  assertEquals(limits, [1, 2, 3, 3, 3]);
});

Deno.test("anything but an acceptance closes the window to one", () => {
  const window = openWindow(4);
  window.failed();
  assertEquals([window.limit, window.waitMs(flying(1), 1e6)], [1, null]);
  window.accepted(10, false, 0);
  assertEquals(window.limit, 2);
});

Deno.test("a slow answer closes the window by one, and never to less than one", () => {
  const window = openWindow(4);
  const limits = [5000, 5001, 5001, 5001, 5001, 10].map((tookMs) => {
    window.accepted(tookMs, false, 0);
    return window.limit;
  });
  assertEquals(limits, [4, 3, 2, 1, 1, 2]);
});

Deno.test("the width of the window limits the requests in flight, answered or not; the first may always start", () => {
  const window = openWindow(3);
  window.begun(flying(0), 0);
  const waits = [flying(0), flying(1), flying(2), flying(3), flying(3, 1)];
  assertEquals(waits.map((count) => window.waitMs(count, 0)), [0, 0, 0, null, null]);
});

Deno.test("requests start at even intervals: the time of an answer divided by the width", () => {
  const window = openWindow(4, 100);
  window.begun(flying(0), 1000);
  const waits = [1000, 1010, 1025, 1100].map((nowMs) => window.waitMs(flying(1), nowMs));
  assertEquals(waits, [25, 15, 0, 0]);
  window.begun(flying(1), 1030);
  assertEquals(window.waitMs(flying(2), 1040), 15);
});

Deno.test("the window measures the time of answers, without that of making connections", () => {
  const window = openWindow(4, 100);
  window.begun(flying(0), 1000);
  window.accepted(500, true, 0);
  assertEquals(window.waitMs(flying(1), 1000), 25);
  window.accepted(500, false, 0);
  assertEquals(window.waitMs(flying(1), 1000), 50);
  for (let accepted = 0; accepted < 30; accepted++) window.accepted(500, false, 0);
  assertEquals(Math.round(window.waitMs(flying(1), 1000) ?? 0), 125);
});

Deno.test("requests are delayed by the resolution of a timer, 2 ms, and never by less", () => {
  for (const [answerMs, waitMs] of [[7, 0], [7.99, 0], [8, 2], [9, 2.25], [12, 3]] as const) {
    const window = openWindow(4, answerMs);
    window.begun(flying(0), 1000);
    assertEquals(window.waitMs(flying(1), 1000), waitMs, `an answer takes ${answerMs} ms`);
  }
});

Deno.test("a request that needs a new connection starts at once, and no other starts behind it", () => {
  const window = new SendWindow(4, 5000);
  assertEquals(window.begun(flying(0), 0), true);
  for (let accepted = 0; accepted < 3; accepted++) window.accepted(400, false, 0);
  assertEquals(window.begun(flying(0), 1), false);
  assertEquals(window.waitMs(flying(1), 1), 0);
  assertEquals(window.begun(flying(1), 1), true);
  assertEquals([window.limit, window.waitMs(flying(2), 1e3)], [4, null]);
  assertEquals(window.waitMs(flying(1, 0), 1e3), null, "its answer has not been acted on");
  assertEquals(window.begun(flying(0), 1001), false);
  assertEquals(window.waitMs(flying(1), 1001), 100);
  assertEquals(window.begun(flying(1), 1101), false);
  // A request that is answered, but not acted on, has released its connection.
  assertEquals(window.waitMs(flying(2, 1), 1101), 100);
  assertEquals(window.begun(flying(2, 1), 1201), false);
  assertEquals(window.begun(flying(2), 1301), true);
});

Deno.test("idle connections, and those that a failure may have closed, count as new", () => {
  for (const breaks of ["idle", "failure"]) {
    const window = openWindow(4);
    if (breaks === "failure") {
      window.failed();
      for (let accepted = 0; accepted < 3; accepted++) window.accepted(0, false, 0);
    }
    assertEquals(window.begun(flying(0), breaks === "idle" ? 5001 : 0), true, breaks);
    assertEquals(window.waitMs(flying(1), 6000), null, breaks);
  }
  const window = openWindow(4);
  assertEquals([0, 1, 2].map((inFlight) => window.begun(flying(inFlight), 5000)), [
    false,
    false,
    false,
  ]);
});

Deno.test("a connection is idle since its last request or answer, however late on the clock that is", () => {
  const window = new SendWindow(4, 5000);
  assertEquals(window.begun(flying(0), 1e9), true);
  window.accepted(10, true, 1e9 + 10);
  const begun = [1e9 + 10, 1e9 + 5010, 1e9 + 10_010].map((nowMs) => window.begun(flying(0), nowMs));
  assertEquals(begun, [false, false, false], "each request uses it");
  window.accepted(10, false, 1e9 + 12_000);
  assertEquals(window.begun(flying(0), 1e9 + 17_000), false, "an answer uses it");
  assertEquals(window.begun(flying(0), 1e9 + 22_001), true);
});
