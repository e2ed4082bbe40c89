import { assert, assertEquals, assertMatch } from "@std/assert";
import { resetSync } from "@logtape/logtape";
import { HeldLines, repeating } from "../../src/system/held_lines.ts";
import { type LogOptions, startLog, StderrQueue } from "../../src/system/log.ts";
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

Deno.test("at DEBUG, and of fatal lines, nothing is held back", () => {
  for (const level of ["DEBUG", "ERROR"] as const) {
    using out = logTo({ level, held: new HeldLines(new SimulatedClock(0)) });
    for (let i = 0; i < 3; i++) {
      if (level === "DEBUG") out.log.info("same", repeating("same", { i }));
      else out.log.fatal("same", { code: "same" });
    }
    assertEquals(out.lines().length, 3);
    assert(!out.text().includes("repeat"));
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
