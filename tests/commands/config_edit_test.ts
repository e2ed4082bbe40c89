import { assertEquals, assertThrows } from "@std/assert";
import { parse as parseYaml } from "@std/yaml/parse";
import { applySettings } from "../../src/commands/config_edit.ts";

const TOKEN = new Map([["ingest_token", "new-token"]]);

Deno.test("settings replace their lines, comments stay, and the token is never written", () => {
  const text = "# The till\nregister_id: old # by hand\ningest_token: abc\n";
  const settings = new Map([
    ["register_id", "new"],
    ["audio_device", "name:My Mic: 2"],
    ["ingest_token", "xyz"],
  ]);
  assertEquals(
    applySettings(text, settings),
    '# The till\nregister_id: new\ningest_token: null\naudio_device: "name:My Mic: 2"\n',
  );
  assertEquals(applySettings("", new Map([["chunk_seconds", "5"]])), "chunk_seconds: 5\n");
});

Deno.test("a text stays this text, also where YAML without quotes would read something else", () => {
  const texts = ["null", "Null", "NULL", "~", "0x10", "0o17", "1e3", "1.0", "+5", ".inf", "007"];
  for (const text of [...texts, "true", "60", "08:00", "hw:1,0", "plughw:CARD=Mic", "a: b", "#1"]) {
    for (const before of ["audio_device: old # by hand\n", ""]) {
      const written = applySettings(before, new Map([["audio_device", text]]));
      const { audio_device } = parseYaml(written, { schema: "core" }) as Record<string, unknown>;
      assertEquals(String(audio_device ?? "nothing"), text, written);
    }
  }
  const emptied = applySettings("audio_device: old\n", new Map([["audio_device", ""]]));
  assertEquals(emptied, "audio_device: null\n");
});

Deno.test("an old token is replaced in every form in which YAML may write its line", () => {
  const forms = [
    "ingest_token: old",
    '"ingest_token": old',
    "'ingest_token': old",
    '"ingest_token" : "old" # a comment',
    "ingest_token:\told",
    "ingest_token: |\n  old",
    "ingest_token: >-\n  old\n\n  er",
    'ingest_token: "old\n  er"',
    "ingest_token:\n  old",
    "ingest_token: old\n  # a comment behind it",
    "ingest_token_file: /a/file",
    '"ingest_token_file": /a/file',
    "# ingest_token: a comment\ningest_token: old",
    "audio_device: |\n  ingest_token: not a key\ningest_token: old",
  ];
  for (const form of forms) {
    for (const text of [form, `${form}\npoint_id: x # stays\n`, `chunk_seconds: 60\n${form}\n`]) {
      const { ingest_token, ingest_token_file, ...rest } = parseYaml(text) as Record<
        string,
        unknown
      >;
      const edited = applySettings(text, TOKEN);
      const { ingest_token: after, ingest_token_file: fileAfter, ...restAfter } = parseYaml(
        edited,
      ) as Record<string, unknown>;
      assertEquals([after ?? null, fileAfter ?? null], [null, null], text);
      assertEquals(restAfter, rest, text);
      assertEquals(ingest_token === undefined, ingest_token_file !== undefined, text);
    }
  }
});

Deno.test("an indented mapping keeps its indent, and a new key is added where it is a key", () => {
  const text = "  chunk_seconds: 60\n  point_id: x\n";
  assertEquals(
    applySettings(text, new Map([["chunk_seconds", "5"]])),
    "  chunk_seconds: 5\n  point_id: x\n",
  );
  const literal = "audio_device: |\n  chunk_seconds: 7\n";
  assertEquals(
    applySettings(literal, new Map([["chunk_seconds", "5"]])),
    `${literal}chunk_seconds: 5\n`,
  );
});

Deno.test("a form that cannot be replaced is refused with the key and what to do, and nothing is lost", () => {
  for (
    const text of [
      '{ "ingest_token": old, point_id: x }\n',
      "? ingest_token\n: old\n",
      '"ingest\\u005ftoken": old\n',
    ]
  ) {
    const error = assertThrows(() => applySettings(text, TOKEN), Error);
    assertEquals(/^Cannot set ingest_token in .*config\.yaml.*by hand/.test(error.message), true);
    assertEquals(error.message.includes("old"), false);
  }
  const flow = "{ point_id: x }\n";
  assertThrows(
    () => applySettings(flow, new Map([["chunk_seconds", "5"]])),
    Error,
    "chunk_seconds",
  );
});

Deno.test("lists that hold themselves, or others without an end, are refused like any other form", () => {
  const nested = Array.from({ length: 40 }, (_, level) => {
    const inner = level === 0 ? "x" : `*a${level - 1}`;
    return `a${level}: &a${level} [${Array(10).fill(inner).join()}]\n`;
  }).join("");
  for (const text of ["point_id: &a\n  b: *a\n", nested]) {
    const error = assertThrows(() => applySettings(text, new Map([["chunk_seconds", "5"]])), Error);
    assertEquals(/^Cannot set chunk_seconds in .*by hand/.test(error.message), true);
  }
});
