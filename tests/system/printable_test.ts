// The boundary for foreign text: what is shown never commands, forges, hides or fills.

import { assert, assertEquals } from "@std/assert";
import { cut, MAX_TEXT, printable, toJson, visible } from "../../src/system/printable.ts";
import { HOSTILE, isHarmless } from "../fixtures/hostile_text.ts";
import { mutateText } from "../fixtures/mutations.ts";
import { seededRandom } from "../fixtures/random.ts";
import { threadMs } from "../fixtures/thread_time.ts";

Deno.test("what is seen stays as it is", () => {
  for (
    const text of ["USB PnP Sound Device", "Микрофон №1 – 麦克风 🎤", "a  b", "é ü ̈", "<b>&amp;"]
  ) {
    assertEquals(printable(text, 100), text);
    assertEquals(visible(text), text);
  }
});

Deno.test("what is not seen becomes U+FFFD, line breaks become a space", () => {
  assertEquals(printable("a\x1b]0;b\x07c", 100), "a\uFFFD]0;b\uFFFDc");
  assertEquals(printable("a\r\n\t b\u2028c\x85d", 100), "a  b c d");
  for (const code of [0, 7, 8, 0x1b, 0x7f, 0x9b, 0xad, 0x200b, 0x200f, 0x202e, 0x2066, 0xfeff]) {
    assertEquals(printable(`a${String.fromCodePoint(code)}b`, 100), "a\uFFFDb", code.toString(16));
  }
  assertEquals(printable("a\u{e0041}\u{e007f}b", 100), "a\uFFFDb");
  assertEquals(printable("a\ud83db\udc00", 100), "a\uFFFDb\uFFFD");
});

Deno.test("a long text is cut between two characters, and says so", () => {
  assertEquals(printable("a".repeat(11), 10), `${"a".repeat(10)}…`);
  assertEquals(printable("a".repeat(10), 10), "a".repeat(10));
  assertEquals(cut(`${"a".repeat(9)}🎤`, 10), `${"a".repeat(9)}…`);
  assertEquals(cut("aaaaaaaaa  bbb", 10), "aaaaaaaaa…");
});

Deno.test("text of this program keeps its lines and tabs, and nothing else that is not seen", () => {
  assertEquals(visible("a\n\tb\x1b[2J\rc\u202ed"), "a\n\tb\uFFFD[2J\uFFFDc\uFFFDd");
});

Deno.test("JSON loses nothing up to its limit, and every character of it is seen", () => {
  const text = toJson({ a: HOSTILE, b: [1n, new Error("e")], c: "x".repeat(MAX_TEXT + 1) });
  assert(isHarmless(text), text);
  assertEquals(JSON.parse(text), {
    a: HOSTILE,
    b: ["1", "Error: e"],
    c: `${"x".repeat(MAX_TEXT)}…`,
  });
  assertEquals(toJson({ a: 1 }, 2), '{\n  "a": 1\n}');
});

Deno.test("no text takes long, and no mutation of a hostile one comes through", () => {
  const random = seededRandom(11);
  for (const unit of [" ", "\n", "\x1b", "a", "\u202e", " \n", "🎤", "\ud800"]) {
    const tookMs = threadMs(() => {
      const text = printable(unit.repeat(1_000_000), 200);
      assert(text.length <= 201 && isHarmless(text));
    });
    assert(tookMs < 500, JSON.stringify(unit));
  }
  for (let run = 0; run < 6000; run++) {
    const text = mutateText(HOSTILE, random);
    const shown = printable(text, 1 + run % 60);
    assert(shown.length <= 1 + run % 60 + 1 && isHarmless(shown) && shown.isWellFormed());
    assert(isHarmless(visible(text).replaceAll(/[\t\n]/g, "")));
    assert(isHarmless(toJson(text)));
    assertEquals(printable(printable(text, 1000), 1000), printable(text, 1000));
  }
});
