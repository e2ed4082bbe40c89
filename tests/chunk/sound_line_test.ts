import { assert, assertEquals } from "@std/assert";
import type { ChunkRecord } from "../../src/chunk/chunk_record.ts";
import { layOut } from "../../src/chunk/sound_line.ts";

/** A minute of sound, the only chunk of its stream. */
function minute(chunkId: string, startUnixS: number, more: Partial<ChunkRecord> = {}): ChunkRecord {
  return {
    file: `${chunkId}.ogg`,
    deviceId: "d",
    chunkId,
    previousChunkId: null,
    gapBeforeMs: null,
    gapCause: null,
    waitingFromUs: null,
    streamId: `stream of ${chunkId}`,
    streamSample: 0,
    head: { channels: 1, preSkip: 312, inputSampleRate: 48_000 },
    samples: 2_880_000,
    startUnixUs: startUnixS * 1e6,
    isTimeSure: true,
    damage: null,
    ...more,
  };
}

function order(chunks: readonly ChunkRecord[]): string {
  return layOut(chunks).items.map((item) => item.kind === "piece" ? item.chunk.chunkId : item.why)
    .join(" ");
}

const NOON_S = 1_781_524_800;

Deno.test("the chunks of three months are put in order", () => {
  const count = 150_000;
  const chunks = Array.from(
    { length: count },
    (_, index) =>
      minute(`${index}`, NOON_S + index * 60, {
        streamId: "s",
        streamSample: index * 2_880_000,
      }),
  );
  assertEquals(layOut(chunks).items.length, count);
});

Deno.test("starts that had no right time follow each other as the chain says, whatever their clocks said", () => {
  const unsure = (id: string, previousChunkId: string, startUnixS: number) =>
    minute(id, startUnixS, { previousChunkId, isTimeSure: false });
  const first = minute("a", NOON_S);
  // Each start began again with the clock of 1970.
  const starts = [unsure("b", "a", 60), unsure("c", "b", 30), unsure("d", "c", 90)];
  assertEquals(order([first, ...starts]), "a b c d");
  assertEquals(order([...starts.toReversed(), first]), "a b c d");
  assertEquals(order([unsure("x", "y", 60), unsure("y", "x", 30)]), "y x", "nothing is lost");
});

Deno.test("a gap whose length nobody knows is named", () => {
  const more = { previousChunkId: "a", gapCause: "machine_restarted", isTimeSure: false };
  const { items } = layOut([minute("a", NOON_S), minute("b", 60, more)]);
  const [, hole] = items;
  assert(hole?.kind === "hole");
  const { why, cause, samples } = hole;
  assertEquals([why, cause, samples], ["gap", "machine_restarted", 0]);
});

Deno.test("a chunk has its own time if that is right, and otherwise one counted from a right one", () => {
  const nth = (index: number, startUnixS: number | null, isTimeSure: boolean) =>
    minute(`${index}`, NOON_S, {
      streamId: "s",
      streamSample: index * 2_880_000,
      startUnixUs: startUnixS === null ? null : startUnixS * 1e6,
      isTimeSure,
    });
  const startsS = (...chunks: ChunkRecord[]) =>
    layOut(chunks).items.map(({ startUnixUs }) => startUnixUs / 1e6 - NOON_S);
  // The clock of the first said 1970. That of the last two drifts by a second in a minute.
  const sure = [nth(1, NOON_S + 60, true), nth(2, NOON_S + 121, true)];
  assertEquals(startsS(nth(0, 5, false), ...sure), [0, 60, 121]);
  assertEquals(startsS(nth(0, null, true), ...sure), [0, 60, 121]);
});

Deno.test("two clocks may differ by less than 50 ms between chunks that name none before them", () => {
  for (const [laterS, expected] of [[0.049, "a b"], [0.051, "a unknown b"]] as const) {
    assertEquals(order([minute("a", NOON_S), minute("b", NOON_S + 60 + laterS)]), expected);
  }
});

Deno.test("a chunk that did not come is named even if the clock was set back behind it", () => {
  const last = minute("a", NOON_S);
  const next = (previousChunkId: string) =>
    minute("c", NOON_S + 20, { previousChunkId, gapBeforeMs: 5000, gapCause: "not_running" });
  assertEquals(order([last, next("b")]), "a not_come c");
  assertEquals(order([last, next("a")]), "a gap c");
});
