// Tokens: what a line permits, what is refused without being shown, and a file that changes.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import { findGrant, oneToken, parseTokens, TokenFile } from "../../src/receive/token_file.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { byHand, capturedLog } from "../fixtures/temp_spool.ts";

const DEVICE = "9f0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f";

Deno.test("a line says what its token is for", () => {
  const entries = parseTokens(
    `# tills\n\nall-of-them\n  till-7 ${DEVICE.toUpperCase()}\r\nwatch page\n`,
  );
  assertEquals(findGrant(entries, "all-of-them"), { kind: "all" });
  assertEquals(findGrant(entries, "till-7"), { kind: "device", deviceId: DEVICE });
  assertEquals(findGrant(entries, "watch"), { kind: "page" });
  for (const token of ["", "till-8", "till-7 ", "#", DEVICE]) {
    assertEquals(findGrant(entries, token), null, token);
  }
  assertEquals(oneToken("one").grantOf("one"), { kind: "all" });
  assertEquals(oneToken("one").grantOf("two"), null);
});

Deno.test("lines that are wrong are named by their numbers, and their tokens are not shown", () => {
  const text = `good\ns3cret pages\ns3cret ${DEVICE} more\ns3crét\n`;
  const { message } = assertThrows(() => parseTokens(text), Error);
  for (const line of ["line 2 ", "line 3 ", "line 4 "]) assertStringIncludes(message, line);
  assert(!message.includes("s3cr"), message);
  assertThrows(() => parseTokens("# nothing\n"), Error, "it holds no token");
});

Deno.test("the file is read again when it changes, and one that cannot be used changes nothing", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tokens-" });
  const path = join(dir, "tokens");
  using captured = capturedLog();
  const { log, lines } = captured;
  const clock = new SimulatedClock(0);
  assertThrows(() => new TokenFile(path, { clock, log }), Error, `${path} does not exist`);
  await Deno.writeTextFile(path, "old\n");
  const tokens = new TokenFile(path, { clock, log });
  const known = async () => {
    await clock.advance(1000);
    return ["old", "new"].filter((token) => tokens.grantOf(token) !== null);
  };
  assertEquals(await known(), ["old"]);
  await byHand(() => Deno.writeTextFile(path, "old\nnew\n"));
  assertEquals(await known(), ["old", "new"]);
  await byHand(() => Deno.writeTextFile(path, "new\nold what\n"));
  assertEquals(await known(), ["old", "new"], "a typing error locks nobody out");
  await byHand(() => Deno.remove(path));
  assertEquals(await known(), ["old", "new"]);
  await byHand(() => Deno.writeTextFile(path, "new\n"));
  assertEquals(await known(), ["new"]);
  assertEquals(lines.filter(({ level }) => level === "ERROR").length, 2);
  assert(!JSON.stringify(lines).includes("what"), "no line of the file is logged");
  await Deno.remove(dir, { recursive: true });
});
