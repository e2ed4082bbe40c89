import { assert, assertEquals, assertMatch } from "@std/assert";
import { resetSync } from "@logtape/logtape";
import { type LogOptions, RepeatLimiter, startLog, StderrQueue } from "../../src/system/log.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

/** A log and the text that it writes; logging ends with the scope. */
function logTo(options: Partial<LogOptions> = {}) {
  let text = "";
  const write = (line: Uint8Array) => {
    text += new TextDecoder().decode(line);
  };
  return {
    log: startLog({ level: "DEBUG", journal: false, write, ...options }),
    text: () => text,
    lines: () => text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line)),
    [Symbol.dispose]: () => resetSync(),
  };
}

Deno.test("a line is one JSON object: time, level, part, message and the fields", () => {
  using out = logTo();
  out.log.getChild("uploader").info("Delivered {chunk}.", { chunk: "a.ogg", waiting: 3 });
  assertMatch(out.text(), /^\{"time":"[^"]+","level":"INFO","part":"uploader","message":/);
  const [{ time, ...rest }] = out.lines();
  assertMatch(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert(Math.abs(Date.parse(time) - Date.now()) < 10_000);
  assertEquals(rest, {
    level: "INFO",
    part: "uploader",
    message: "Delivered a.ogg.",
    chunk: "a.ogg",
    waiting: 3,
  });
});

Deno.test("the levels have the names of the command line, and FATAL for the final error", () => {
  using out = logTo();
  out.log.debug("a");
  out.log.info("a");
  out.log.warning("a");
  out.log.error("a");
  out.log.fatal("a");
  const levels = out.lines().map(({ level }) => level);
  assertEquals(levels, ["DEBUG", "INFO", "WARNING", "ERROR", "FATAL"]);
});

Deno.test("lines below the level are not written", () => {
  using out = logTo({ level: "WARNING" });
  const child = out.log.getChild("janitor");
  child.info("no");
  child.warning("yes");
  child.error("yes");
  assertEquals(out.lines().map(({ message }) => message), ["yes", "yes"]);
});

Deno.test("under journald each line begins with its priority", () => {
  using out = logTo({ journal: true });
  out.log.debug("a");
  out.log.info("a");
  out.log.warning("a");
  out.log.error("a");
  out.log.fatal("a");
  const priorities = out.text().trim().split("\n").map((line) => /^<(\d)>\{/.exec(line)?.[1]);
  assertEquals(priorities, ["7", "6", "4", "3", "2"]);
});

Deno.test("no field replaces time, level, part or message", () => {
  using out = logTo();
  const fields = { time: "never", level: "FATAL", part: "other", message: "forged", code: 7 };
  out.log.getChild("recorder").info("What was said.", fields);
  const [{ time, ...rest }] = out.lines();
  assert(time !== "never");
  const expected = { level: "INFO", part: "recorder", message: "What was said.", code: 7 };
  assertEquals(rest, expected);
});

Deno.test("text with line breaks, quotes and control characters stays on one line", () => {
  using out = logTo();
  const text = 'one\ntwo\r\n"three"\u0000\u001b[31m\ud800';
  out.log.info("ffmpeg: {text}", { text });
  assertEquals(out.text().split("\n").length, 2);
  assertEquals(out.lines()[0].text, text);
});

Deno.test("errors and big integers among the fields are written as text", () => {
  using out = logTo();
  out.log.info("a", { error: new TypeError("no such thing"), deep: { big: 12n } });
  const [{ error, deep }] = out.lines();
  assertEquals(error, "TypeError: no such thing");
  assertEquals(deep, { big: "12" });
});

Deno.test("without `write` lines go to stderr, and a closed stderr is not an error", async () => {
  const script = `import { startLog } from "${new URL("../../src/system/log.ts", import.meta.url)}";
    const log = startLog({ level: "DEBUG", journal: false });
    log.info("first");
    for (let i = 0; i < 5000; i++) log.info("x".repeat(100));
    console.log("still alive");`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", script],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stderr.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  assertMatch(new TextDecoder().decode(value), /"message":"first"/);
  assertEquals(await new Response(child.stdout).text(), "still alive\n");
  assertEquals((await child.status).code, 0);
});

Deno.test("RepeatLimiter passes a message once per interval and counts the rest", () => {
  const limiter = new RepeatLimiter(60_000);
  assertEquals(limiter.pass("xrun at 0x55d1, 17 lost", 0), { suppressed: 0 });
  assertEquals(limiter.pass("xrun at 0x66aF, 18 lost", 1), null);
  assertEquals(limiter.pass("xrun at 0x66af, 18 lost", 59_999), null);
  assertEquals(limiter.pass("something else", 59_999), { suppressed: 0 });
  assertEquals(limiter.pass("xrun at 0x1, 2 lost", 60_000), { suppressed: 2 });
  assertEquals(limiter.pass("xrun at 0x1, 2 lost", 60_001), null);
});

Deno.test("RepeatLimiter does not grow with the number of messages", () => {
  const limiter = new RepeatLimiter(60_000);
  const word = (index: number) => [...String(index)].map((digit) => "abcdefghij"[+digit]).join("");
  let passed = 0;
  for (let index = 0; index < 10_000; index++) {
    if (limiter.pass(word(index), index) !== null) passed++;
  }
  assertEquals(passed, 10_000);
  // It keeps at most the latest hundred: the last one is known, the first one is forgotten.
  assertEquals(limiter.pass(word(9999), 10_000), null);
  assertEquals(limiter.pass(word(0), 10_000), { suppressed: 0 });
});

Deno.test("RepeatLimiter doubles the interval while repeats continue, and starts over after a pause", () => {
  const limiter = new RepeatLimiter(60, 240);
  const passedAt = (untilMs: number, fromMs = 0) => {
    const times: number[] = [];
    for (let ms = fromMs; ms < untilMs; ms += 10) {
      if (limiter.pass("flapping", ms) !== null) times.push(ms);
    }
    return times;
  };
  assertEquals(passedAt(1000), [0, 60, 180, 420, 660, 900]);
  assertEquals(passedAt(1700, 1370), [1370, 1610]); // less than an interval after the last one ended
  assertEquals(passedAt(2300, 2100), [2100, 2160, 2280]);
});

Deno.test("above DEBUG repeats of a kind of line are held back, and the latest is logged with a count", async () => {
  const clock = new SimulatedClock(0);
  using out = logTo({ level: "INFO", holdRepeatsBy: clock });
  const said = () => out.lines().map(({ message, repeats }) => `${message} ${repeats ?? 0}`);
  out.log.warning("{problem}", { problem: "401: request 1", code: "misconfigured" });
  out.log.warning("Works again.");
  out.log.warning("{problem}", { problem: "403: request b", code: "misconfigured" });
  out.log.warning("{problem}", { problem: "404: request c", code: "misconfigured" });
  out.log.warning("{problem}", { problem: "no answer", code: "failing" });
  out.log.warning("Works again.");
  assertEquals(said(), ["401: request 1 0", "Works again. 0", "no answer 0"]);
  await clock.advance(60_000);
  out.log.info("Chunk 1 recorded.");
  assertEquals(said().slice(3), ["404: request c 1", "Works again. 0", "Chunk 1 recorded. 0"]);
  out.log.info("Chunk 2 recorded."); // other numbers are not another kind
  out.log.info("Chunk 3 recorded.");
  await clock.advance(60_000);
  out.log.info("Chunk 4 recorded.");
  assertEquals(said().slice(6), ["Chunk 4 recorded. 2"]);
});

Deno.test("at DEBUG, and at FATAL, nothing is held back", () => {
  for (const level of ["DEBUG", "ERROR"] as const) {
    using out = logTo({ level, holdRepeatsBy: new SimulatedClock(0) });
    for (let i = 0; i < 3; i++) {
      if (level === "DEBUG") out.log.info("same");
      else out.log.fatal("same");
    }
    assertEquals(out.lines().length, 3);
  }
});

Deno.test("a stderr that nobody reads blocks nothing, and dropped lines are counted", async () => {
  const written: string[] = [];
  let open = Promise.withResolvers<void>();
  const queue = new StderrQueue(async (bytes) => {
    await open.promise;
    written.push(new TextDecoder().decode(bytes));
    return bytes.length;
  });
  for (let line = 0; line < 1500; line++) queue.push(new TextEncoder().encode(`${line}\n`));
  await queue.flush(20); // it stops waiting, and keeps the lines
  assertEquals(written, []);
  open.resolve();
  open = Promise.withResolvers();
  open.resolve();
  await queue.flush(5000);
  const lines = written.join("").trimEnd().split("\n");
  assertEquals(lines[0], "0");
  const dropped = lines.map((line) => line.startsWith("{") ? JSON.parse(line).lines : 0);
  assertEquals(dropped.reduce((sum, count) => sum + count, 0), 1500 - (lines.length - 1));
});
