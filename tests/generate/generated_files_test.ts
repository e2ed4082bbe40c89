// What is generated is what is committed, and the layout is that of `deno fmt`.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { isRequired } from "../../src/config/key_values.ts";
import { KEYS } from "../../src/config/keys.ts";
import { generatedFiles } from "../../.ci/generate/generated_files.ts";
import { replaceRegion, table, wrap } from "../../.ci/generate/markdown.ts";

const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));

Deno.test("the committed files are those of `deno task generate`", () => {
  for (const [path, text] of generatedFiles({ keys: KEYS }, read)) {
    assertEquals(read(path), text, `${path} is out of date: run deno task generate`);
  }
});

Deno.test("the examples mark each required key, and no other", () => {
  const required = Object.entries(KEYS).filter(([, key]) => isRequired(key)).map(([name]) => name);
  const file = read("config.yaml.example");
  const variables = read(".env.example");
  const marked = (text: string, setting: RegExp) =>
    text.split("\n\n").flatMap((section) => section.split(/(?<=^[^#].*)\n/m))
      .filter((entry) => /\bRequired\b/.test(entry))
      .map((entry) => setting.exec(entry)?.[1]?.toLowerCase());
  const expected = [...required, "ingest_token"];
  assertEquals(marked(file, /^(\w+):/m), expected);
  assertEquals(marked(variables, /^RA_(\w+)=/m), expected);
  assertMatch(file.replaceAll("\n# ", " "), /Required \(or ingest_token_file\)\./);
  assertMatch(variables.replaceAll("\n# ", " "), /Required \(or RA_INGEST_TOKEN_FILE\)\./);
});

Deno.test("table() aligns its columns, whatever the script", () => {
  assertEquals(
    table([["key", "значение"], ["a_long_key", "10⁹"]]).split("\n"),
    [
      "| key        | значение |",
      "| ---------- | -------- |",
      "| a_long_key | 10⁹      |",
    ],
  );
});

Deno.test("wrap() keeps lines within 100 characters and links whole", () => {
  const word = "x".repeat(45);
  assertEquals(wrap(`${word} ${word} [a b](c) d`, "# "), `# ${word} ${word}\n# [a b](c) d`);
  assertEquals(wrap(`${word} ${word} ${word}`, "- ", "  "), `- ${word} ${word}\n  ${word}`);
});

Deno.test("replaceRegion() changes what is between the markers, $ signs and all", () => {
  const document = "a\n<!-- x:begin, why -->\n\nold\n\n<!-- x:end -->\nb\n";
  const changed = replaceRegion(document, "x", "$& new");
  assertEquals(changed, "a\n<!-- x:begin, why -->\n\n$& new\n\n<!-- x:end -->\nb\n");
  assertEquals(replaceRegion(replaceRegion(changed, "x", ""), "x", "old"), document);
  assertThrows(() => replaceRegion(document, "y", ""), Error, "no region of that name");
});
