import { assertEquals } from "@std/assert";
import { findMutants } from "./mutants.ts";

/** The faults of a text, as "before → after". */
function faultsOf(source: string): string[] {
  return findMutants("a.ts", source).map(({ before, after }) => `${before} → ${after}`);
}

Deno.test("a fault is another operator, another constant, a negated condition, or no statement", () => {
  assertEquals(faultsOf("if (a < 3 && !b) return;\n").sort(), [
    "! → ",
    "&& → ||",
    "3 → 4",
    "< → <=",
    "a < 3 && !b → !(a < 3 && !b)",
    "return; → ;",
  ]);
  assertEquals(faultsOf("this.#rest = bytes.subarray(0, end - 40);\n").sort(), [
    "- → +",
    "0 → 1",
    "40 → 20",
    "40 → 80",
    "this.#rest = bytes.subarray(0, end - 40); → ;",
  ]);
  assertEquals(faultsOf("x = Math.max(y, true);\n").sort(), [
    "max → min",
    "true → false",
    "x = Math.max(y, true); → ;",
  ]);
});

Deno.test("a condition of one comparison is negated once", () => {
  assertEquals(faultsOf("if (a === b) {\n  call();\n}\n"), ["=== → !==", "call(); → ;"]);
});

Deno.test("comments, text, types, imports and regular expressions have no faults", () => {
  const source = [
    'import { a } from "./1 < 2.ts";',
    "/** At most 5 < 6. */",
    "export interface Size {",
    "  readonly max: 1 | 2;",
    "  count(of: Map<string, number>): number;",
    "}",
    "type Pair = [1, 2];",
    "// 7 + 8",
    "export class Box {",
    "  readonly #text: string;",
    "  constructor(readonly status: 400 | 413, name: string) {}",
    "}",
    "function sizeOf(side: null | 1): true | 2 {}",
    "const five = side as 5 | 6;",
    "const six = side as 6;",
    "const done = Promise.withResolvers<true>();",
    "async function never(of?: true): Promise<false> {}",
    "function zero(): 0 {}",
    "let one: 1;",
    "class Bag {",
    "  readonly size: 7;",
    "  readonly #isOwn?: true;",
    "}",
    "const text = `${1 + 2} < ${`3`}`;",
    "const pattern = /[/5] + 6/g;",
    "const other = 'a + 1';",
    "",
  ].join("\n");
  assertEquals(faultsOf(source), []);
});

Deno.test("a value of an object or of a condition is not a type", () => {
  assertEquals(faultsOf("const a = { b: 3, c: d ? e : 4 };\n"), ["3 → 4", "4 → 5"]);
  assertEquals(faultsOf("const a = b ? c() : 3;\n"), ["3 → 4"]);
  assertEquals(faultsOf("const a = b ? (c) : true;\n"), ["true → false"]);
  assertEquals(faultsOf("let a: number = 3;\n"), ["3 → 4"]);
  assertEquals(faultsOf("const a: 1 | 2 = 1;\n"), ["1 → 0"]);
  assertEquals(faultsOf("const a: 1 = 1;\n"), ["1 → 0"]);
});

Deno.test("a fault changes its place in the file and nothing else, and tells its line", () => {
  const source = "const a = 1;\n\nconst b = a + c;\n";
  const [first, second] = findMutants("a.ts", source);
  assertEquals(first?.text, "const a = 0;\n\nconst b = a + c;\n");
  assertEquals([second?.line, second?.text], [3, "const a = 1;\n\nconst b = a - c;\n"]);
});
