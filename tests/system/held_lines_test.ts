import { assert, assertEquals } from "@std/assert";
import { resetSync } from "@logtape/logtape";
import { CHATTER, EVENTS, HeldLines, repeating } from "../../src/system/held_lines.ts";
import { type LevelName, startLog } from "../../src/system/log.ts";
import { TickingClock } from "../fixtures/ticking_clock.ts";

const MINUTE_MS = 60_000;

interface Line {
  readonly message: string;
  readonly repeats?: number;
  readonly first?: Record<string, unknown>;
  readonly [field: string]: unknown;
}

/** The service's log on a clock of its own; `news` is what was written since it was last asked for. */
function startHeldLog(level: LevelName = "INFO") {
  const clock = new TickingClock();
  const held = new HeldLines(clock);
  const lines: Line[] = [];
  const write = (bytes: Uint8Array) => void lines.push(JSON.parse(new TextDecoder().decode(bytes)));
  const log = startLog({ level, journal: false, write, held });
  return {
    clock,
    held,
    log,
    lines,
    news: () => lines.splice(0).map(({ message, repeats = 0 }) => `${message} ${repeats}`),
    problem: (code: string, problem: string) => log.warning("{problem}", { problem, code }),
    [Symbol.dispose]: () => {
      held.flush();
      resetSync();
    },
  };
}

/** Another word for each number. */
function word(index: number): string {
  return [...String(index)].map((digit) => "abcdefghij"[Number(digit)]).join("");
}

Deno.test("an event is a line at once, however often it comes", async () => {
  using out = startHeldLog();
  for (let chunk = 0; chunk < 500; chunk++) {
    out.log.info("Recorded.", { chunk });
    out.log.info("Delivered.", { chunk });
    assertEquals(out.news(), ["Recorded. 0", "Delivered. 0"]);
    await Promise.resolve();
  }
});

Deno.test("each beginning and each end of an outage is a line at once", () => {
  using out = startHeldLog();
  for (let flap = 0; flap < 500; flap++) {
    out.problem("microphone_lost", `time ${flap}`);
    out.log.warning("Over.", { ends: ["microphone_lost"] });
    assertEquals(out.news(), [`time ${flap} 0`, "Over. 0"]);
  }
});

Deno.test("repeats of a problem that lasts wait for a minute, then two, four, up to an hour", async () => {
  using out = startHeldLog();
  const minutes: number[] = [];
  for (let minute = 0; minute < 5 * 60; minute++) {
    out.problem("upload_failing", `minute ${minute}`);
    if (out.news().length > 0) minutes.push(minute);
    await out.clock.advance(MINUTE_MS);
    if (out.news().length > 0) minutes.push(minute + 1);
  }
  assertEquals(minutes, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
});

Deno.test("a problem that was not told of for longer than that is news", async () => {
  using out = startHeldLog();
  out.problem("disk_low", "a");
  await out.clock.advance(2 * MINUTE_MS);
  out.problem("disk_low", "b");
  out.problem("disk_low", "c");
  assertEquals(out.news(), ["a 0", "b 0"]);
  await out.clock.advance(MINUTE_MS);
  assertEquals(out.news(), ["c 0"]);
});

Deno.test("the last repeat is written with their number when its time has come, though nothing else is logged", async () => {
  using out = startHeldLog();
  out.problem("upload_misconfigured", "401: request a");
  out.problem("upload_misconfigured", "403: request b");
  out.problem("upload_failing", "no answer");
  out.problem("upload_misconfigured", "404: request c");
  assertEquals(out.news(), ["401: request a 0", "no answer 0"]);
  await out.clock.advance(MINUTE_MS - 1);
  assertEquals(out.news(), []);
  await out.clock.advance(1);
  assertEquals(out.news(), ["404: request c 1"]);
  await out.clock.advance(24 * 60 * MINUTE_MS);
  assertEquals(out.news(), []);
  assertEquals(out.clock.sleepers, 0);
});

Deno.test("what was held back of a problem is written before the line that says it is over", () => {
  using out = startHeldLog();
  out.problem("microphone_missing", "a");
  out.problem("recorder_failed", "b");
  out.problem("microphone_missing", "c");
  out.problem("recorder_failed", "d");
  out.problem("disk_low", "e");
  out.problem("disk_low", "f");
  assertEquals(out.news(), ["a 0", "b 0", "e 0"]);
  out.log.warning("Over.", { ends: ["microphone_missing", "recorder_failed"] });
  assertEquals(out.news(), ["c 0", "d 0", "Over. 0"]);
});

Deno.test("what is marked as repeating is held back by its key, whatever its numbers and fields", async () => {
  using out = startHeldLog();
  const say = (text: string) => out.log.warning("ffmpeg: {text}", repeating(text, { text }));
  say("xrun at 0x55d1, 17 lost");
  say("xrun at 0x66aF, 18 lost");
  say("something else");
  say("xrun at 0x77, 19 lost");
  assertEquals(out.news(), ["ffmpeg: xrun at 0x55d1, 17 lost 0", "ffmpeg: something else 0"]);
  await out.clock.advance(MINUTE_MS);
  assertEquals(Object.keys(out.lines[0] ?? {}), [
    ...["time", "level", "part", "message", "text", "repeats"],
  ]);
  assertEquals(out.news(), ["ffmpeg: xrun at 0x77, 19 lost 1"]);
});

Deno.test("chatter in ever new words is bounded, in lines and in memory, and each line is counted", async () => {
  using out = startHeldLog();
  const minutes = 5 * 60;
  const perMinute = 94;
  for (let line = 0; line < minutes * perMinute; line++) {
    const text = word(line);
    out.log.warning("ffmpeg: {text}", repeating(text, { text }));
    if (line % perMinute === 0) await out.clock.advance(MINUTE_MS);
  }
  assert(out.lines.length <= CHATTER.burst + minutes, `${out.lines.length} lines`);
  out.held.flush();
  const said = out.lines.reduce((sum, { repeats = 0 }) => sum + 1 + repeats, 0);
  assertEquals(said, minutes * perMinute);
});

Deno.test("chatter does not make a problem that lasts news again", () => {
  using out = startHeldLog();
  out.problem("upload_failing", "a");
  for (let line = 0; line < 1000; line++) {
    out.log.warning("ffmpeg: {text}", repeating(word(line), { text: word(line) }));
  }
  out.news();
  out.problem("upload_failing", "b");
  assertEquals(out.news(), []);
});

Deno.test("a burst beyond a thousand of one event becomes two lines a second, with the number and the first", async () => {
  using out = startHeldLog();
  const chunks = 10_080;
  for (let chunk = 0; chunk < chunks; chunk++) {
    out.log.info("Delivered.", { chunk });
    if (chunk % 100 === 99) await out.clock.advance(500); // 200 a second
  }
  out.log.info("Recorded.", { chunk: chunks });
  await out.clock.advance(1000);
  const delivered = out.lines.filter(({ message }) => message === "Delivered.");
  assertEquals(delivered[999]?.chunk, 999);
  assert(delivered.length <= EVENTS.burst + EVENTS.perMs * out.clock.monotonicMs());
  // One joins the other: none is missing, and the last is there a moment later.
  let next = 0;
  for (const { chunk, repeats, first } of delivered) {
    assertEquals(first?.chunk ?? chunk, next);
    next += (repeats ?? 0) + 1;
    assertEquals(chunk, next - 1);
  }
  assertEquals(next, chunks);
  assertEquals(out.lines.filter(({ message }) => message === "Recorded.").length, 1);
});

Deno.test("the last lines before the end are preceded by what was held back", () => {
  using out = startHeldLog();
  out.problem("upload_failing", "a");
  out.problem("upload_failing", "b");
  out.log.fatal("The end.");
  assertEquals(out.news(), ["a 0", "b 0", "The end. 0"]);
  out.problem("upload_failing", "c");
  out.held.flush();
  out.held.flush();
  assertEquals(out.news(), ["c 0"]);
  assertEquals(out.clock.sleepers, 0);
});
