// The live part of the status page: which client gets which event, and that no client can block it.

import { assert, assertEquals } from "@std/assert";
import { MAX_CLIENTS, PageEvents } from "../../src/web/page_events.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

function start() {
  const clock = new SimulatedClock(0);
  const parts: Record<string, string> = { now: "a", today: "b" };
  const made = { parts: 0, levels: 0 };
  const peaks: number[] = [];
  const events = new PageEvents({
    clock,
    program: () => "1",
    parts: () => {
      made.parts++;
      return { ...parts };
    },
    levels: () => {
      made.levels++;
      return peaks.splice(0);
    },
  });
  return { clock, parts, peaks, made, events };
}

type Stream = ReadableStream<Uint8Array>;

/** Collects the events of a client, as "event data". */
function follow(stream: Stream | null): { told: string[]; end: Promise<void> } {
  const told: string[] = [];
  const read = async () => {
    for await (const bytes of stream ?? []) {
      const [, event, data] = /^event:(.*)\ndata:(.*)\n/.exec(new TextDecoder().decode(bytes)) ??
        [];
      told.push(`${event} ${data}`);
    }
  };
  return { told, end: read() };
}

Deno.test("a client gets everything once, then the changes, and a heartbeat", async () => {
  const { clock, parts, peaks, events } = start();
  const { told, end } = follow(events.open());
  await clock.advance(0);
  assertEquals(told.splice(0), ["hello 1", 'parts {"now":"a","today":"b"}']);
  peaks.push(-20, -21);
  await clock.advance(200);
  assertEquals(told.splice(0), ["levels [-20,-21]"]);
  parts.now = "c";
  await clock.advance(800);
  assertEquals(told.splice(0), ['parts {"now":"c"}']);
  await clock.advance(1000);
  assertEquals(told.splice(0), ["parts {}"]);
  await events.close();
  await end;
  assertEquals(events.clients, 0);
});

Deno.test("without clients no part of the page is rendered", async () => {
  const { clock, made, events } = start();
  await clock.advance(10_000);
  assertEquals(made, { parts: 0, levels: 0 });
  const stream = events.open();
  await clock.advance(1000);
  await stream?.cancel();
  await clock.advance(1000);
  const { parts, levels } = made;
  assert(parts > 0 && levels > 0);
  await clock.advance(10_000);
  assertEquals([made, clock.sleepers], [{ parts, levels }, 0]);
  const { told, end } = follow(events.open());
  await clock.advance(0);
  assertEquals(told.length, 2, "and then it starts again");
  await events.close();
  await end;
});

Deno.test("a client that does not read is dropped after a few messages; the others continue", async () => {
  const { clock, parts, peaks, events } = start();
  const mute = events.open();
  const { told, end } = follow(events.open());
  for (let second = 0; second < 30; second++) {
    parts.now = `at ${second}`;
    peaks.push(-second);
    await clock.advance(1000);
    assertEquals(events.clients, second < 19 ? 2 : events.clients);
  }
  assertEquals(events.clients, 1);
  assert(told.some((text) => text.includes("at 29")));
  let held = 0;
  let failure = "";
  try {
    for await (const _ of mute ?? []) held++;
  } catch (error) {
    failure = String(error);
  }
  assert(held <= 6, `${held} messages`);
  assertEquals(failure, "Error: the client does not read");
  await events.close();
  await end;
});

Deno.test("a client that resumes reading after a while has the present state of every part", async () => {
  const { clock, parts, peaks, events } = start();
  const stream = events.open();
  for (let second = 0; second < 8; second++) {
    parts.now = `at ${second}`;
    peaks.push(-10);
    await clock.advance(1000);
  }
  const { told, end } = follow(stream);
  await clock.advance(2000);
  const last = told.filter((text) => text.startsWith("parts")).join(" ");
  assert(last.includes("at 7"), last);
  await events.close();
  await end;
});

Deno.test("the number of clients is limited; one that leaves makes room; after the end there is none", async () => {
  const { clock, events } = start();
  const streams = Array.from({ length: MAX_CLIENTS }, () => events.open());
  assert(streams.every((stream) => stream !== null));
  assertEquals(events.open(), null);
  await streams[3]?.cancel();
  await clock.advance(0);
  assert(events.open() !== null);
  await events.close();
  assertEquals([events.open(), events.clients], [null, 0]);
});

Deno.test("a part that cannot be rendered stops nothing else", async () => {
  const { clock, parts, events } = start();
  Object.defineProperty(parts, "now", {
    enumerable: true,
    get: () => {
      throw new Error("inner workings");
    },
  });
  const { told, end } = follow(events.open());
  await clock.advance(3000);
  assertEquals(told, ["hello 1"]);
  await events.close();
  await end;
});
