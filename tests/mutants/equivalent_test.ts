import { assert, assertEquals } from "@std/assert";
import { EQUIVALENT, faultsMeantBy, withoutEffect } from "./equivalent.ts";
import { findMutants } from "./mutants.ts";

const ROOT = new URL("../../", import.meta.url);

Deno.test("each fault that is said to change nothing is one fault of today's source, with a reason", () => {
  for (const [file, entries] of Map.groupBy(EQUIVALENT, ({ file }) => file)) {
    const source = Deno.readTextFileSync(new URL(file, ROOT));
    const mutants = findMutants(file, source);
    for (const entry of entries) {
      const what = `${file}: ${entry.code}: ${entry.before} → ${entry.after}`;
      assertEquals(faultsMeantBy(entry, source, mutants).length, 1, what);
      assert(/^\S.{10,}\w\)?$/.test(entry.why), `${what} has no reason`);
    }
    assertEquals(
      withoutEffect(file, source, mutants).size,
      entries.length,
      `${file}: one is twice`,
    );
  }
});

Deno.test("such a fault may move with its line, and is planted again when its line changes", () => {
  const entry = { file: "a.ts", code: "x();\nreturn;", before: "return;", after: ";", why: "" };
  const linesOf = (source: string) =>
    faultsMeantBy(entry, source, findMutants("a.ts", source)).map(({ line }) => line);
  assertEquals(linesOf("x();\nreturn;\ny();\nreturn;\n"), [2]);
  assertEquals(linesOf("z();\n  x();\n  return;\n"), [3]);
  assertEquals(linesOf("x(1);\nreturn;\n"), []);
});

Deno.test("of equal faults in one line, only the one that is meant is left out", () => {
  const source = "a = b ? 0 : 0;\n";
  const entry = { file: "a.ts", code: "a = b ? 0 : 0;", before: "0", after: "1", nth: 2, why: "" };
  const [found, ...others] = faultsMeantBy(entry, source, findMutants("a.ts", source));
  assertEquals([found?.text, others], ["a = b ? 0 : 1;\n", []]);
});
