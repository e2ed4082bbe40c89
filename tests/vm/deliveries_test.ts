// What a takeover has lost, changed or doubled is found: here with chunks whose faults are known.

import { assertEquals } from "@std/assert";
import * as names from "../../src/chunk/chunk_name.ts";
import type { ReceivedChunk } from "../fixtures/ingest_server.ts";
import { Deliveries } from "./deliveries.ts";
import { Report } from "./scenario.ts";

const STOCK = "00000000-0000-4000-8000-000000000001";
const BEFORE = "00000000-0000-4000-8000-000000000002";
const AFTER = "00000000-0000-4000-8000-000000000003";
const TAKEOVER_S = 1_000_020;

function arrived(key: string, startS: number, bytes = [1, 2, 3]): ReceivedChunk {
  const fields = { start_ts: String(startS), end_ts: String(startS + 10) };
  const rest = { headers: {}, fileName: "", chunkId: "", receivedAtMs: 0, attempts: 1 };
  return { ...rest, fields, key, bytes: new Uint8Array(bytes) };
}

const ALL = [arrived(STOCK, 900_000), arrived(BEFORE, 1_000_010), arrived(AFTER, 1_000_023)];

/** What does not hold, and what it costs, of a stock of one chunk and one chunk recorded by each of two programs. */
function judge(chunks: readonly ReceivedChunk[]) {
  const nameOf = (key: string, startS: number) => (
    { startUnixUs: startS * 1e6, durationUs: 10_000_000, key }
  );
  const deliveries = new Deliveries(names, "0a1b2c3d");
  const bytes = new Uint8Array([1, 2, 3]);
  deliveries.owe([{ name: nameOf(STOCK, 900_000), bytes, isTimeRight: true }]);
  deliveries.takeovers.push({ what: "upgrade", unixS: TAKEOVER_S, limitS: 20 });
  const recorded = [nameOf(BEFORE, 1_000_010), nameOf(AFTER, 1_000_023)].map(names.formatChunkName);
  const report = new Report();
  deliveries.judge({ chunks, recorded, later: [] }, report);
  const failed = report.findings.filter(({ holds }) => !holds).map(({ what }) => what);
  const missing = report.findings.find(({ what }) => what === "upgrade: sound missing")?.value;
  return { failed, missing, compared: [...report.compared] };
}

Deno.test("a takeover after which every chunk arrived costs what is missing there", () => {
  assertEquals(judge(ALL), { failed: [], missing: "3.00 s", compared: [STOCK] });
});

Deno.test("a chunk that did not arrive, has other bytes or another time is found", () => {
  const [stock, before, after] = ALL as [ReceivedChunk, ReceivedChunk, ReceivedChunk];
  assertEquals(judge([before, after]).failed, ["chunks lost", `${STOCK} did not arrive`]);
  const other = "chunks with another time, length or content";
  assertEquals(judge([arrived(STOCK, 900_000, [1, 2]), before, after]).failed, [
    other,
    `${STOCK} has other bytes`,
  ]);
  assertEquals(judge([arrived(STOCK, 900_001), before, after]).failed, [
    other,
    `${STOCK} starts at 900001`,
  ]);
  assertEquals(judge([stock, before, arrived(AFTER, 1_000_050)]).failed.slice(0, 1), [other]);
});

Deno.test("sound that arrives in two chunks is found", () => {
  const overlapping = ALL.map((chunk) => chunk.key === AFTER ? arrived(AFTER, 1_000_015) : chunk);
  assertEquals(judge(overlapping).failed.at(-1), "no sound is there twice");
});

Deno.test("a chunk that nobody owes, and a pause away from a takeover, are found", () => {
  const stranger = arrived("00000000-0000-4000-8000-000000000009", 950_000);
  assertEquals(judge([...ALL, stranger]).failed, ["chunks under a second key"]);
  const early = ALL.map((chunk) => chunk.key === BEFORE ? arrived(BEFORE, 1_000_000) : chunk);
  assertEquals(judge(early).failed.slice(-2), ["upgrade: it is one pause", "pauses elsewhere"]);
});
