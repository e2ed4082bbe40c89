import { assert, assertEquals } from "@std/assert";
import {
  type ChunkName,
  formatChunkName,
  formatPartName,
  parseChunkName,
  parsePartName,
} from "../../src/chunk/chunk_name.ts";
import { seededRandom } from "../fixtures/random.ts";

const KEY = "4f6c1c1e-0b5a-4c3d-9e8f-112233445566";
const NAME: ChunkName = {
  startUnixUs: Date.UTC(2026, 10, 23, 18, 45) * 1000 + 123_456,
  durationUs: 59_993_500,
  key: KEY,
};

Deno.test("the name of a chunk holds its start in UTC, its length and its key", () => {
  assertEquals(formatChunkName(NAME), `20261123T184500.123456Z_59993500us_${KEY}.ogg`);
  assertEquals(formatPartName(NAME), `20261123T184500.123456Z_${KEY}.part`);
});

Deno.test("random names from 1700 to 2250 are read back as written, and sort by time", () => {
  const random = seededRandom(1);
  const from = Date.UTC(1700, 0) * 1000;
  const span = Date.UTC(2250, 0) * 1000 - from;
  const names: ChunkName[] = Array.from({ length: 5000 }, (_, index) => ({
    // Every second name is only a few microseconds later than the one before.
    startUnixUs: index % 2 === 0
      ? Math.floor(from + random() * span)
      : Math.floor(random() * 3_000_000),
    durationUs: Math.floor(random() * 10 ** Math.ceil(random() * 12)),
    key: crypto.randomUUID(),
  }));
  for (const name of names) {
    assertEquals(parseChunkName(formatChunkName(name)), name);
    const { durationUs: _, ...part } = name;
    assertEquals(parsePartName(formatPartName(part)), part);
  }
  const byText = names.map(formatChunkName).sort().map((text) => parseChunkName(text)?.startUnixUs);
  const byTime = names.map(({ startUnixUs }) => startUnixUs).sort((a, b) => a - b);
  assertEquals(byText, byTime);
});

Deno.test("two chunks with the same start and length have different names", () => {
  const other = { ...NAME, key: crypto.randomUUID() };
  assert(formatChunkName(NAME) !== formatChunkName(other));
  assert(formatPartName(NAME) !== formatPartName(other));
});

Deno.test("parseChunkName() returns null for any name that the program does not write", () => {
  const rest = `_1us_${KEY}.ogg`;
  const wrong = [
    "",
    "notes.txt",
    `20261323T184500.123456Z${rest}`, // month 13
    `20260230T184500.123456Z${rest}`, // 30 February
    `20261123T240000.000000Z${rest}`, // 24:00
    `20261123T184560.000000Z${rest}`, // second 60
    `00990101T000000.000000Z${rest}`, // microseconds that no number holds exactly
    `99990101T000000.000000Z${rest}`,
    `20261123T184500.12345Z${rest}`,
    `20261123T184500.123456${rest}`,
    `20261123T184500.123456Z_-1us_${KEY}.ogg`,
    `20261123T184500.123456Z_01us_${KEY}.ogg`, // the program writes 1us
    `20261123T184500.123456Z_1us_${KEY}_b0a1b2c3d-01.ogg`,
    `20261123T184500.123456Z_1us_${KEY}_b0a1b2c3d-1-01.ogg`,
    `20261123T184500.123456Z_1us_${KEY.toUpperCase()}.ogg`,
    `20261123T184500.123456Z_1us_${KEY}.ogg.tmp`,
    `20261123T184500.123456Z_1us_${KEY}.ogg\n`,
    `./${formatChunkName(NAME)}`,
    `${formatChunkName(NAME)}.reason.json`,
    formatPartName(NAME),
  ];
  for (const text of wrong) assertEquals(parseChunkName(text), null, text);
  assertEquals(parsePartName(formatChunkName(NAME)), null);
  assertEquals(parsePartName(`20260230T184500.123456Z_${KEY}.part`), null);
  assertEquals(parsePartName(`${formatPartName(NAME)}.tmp`), null);
});
