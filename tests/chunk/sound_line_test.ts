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
    minute(id, startUnixS, {
      previousChunkId,
      isTimeSure: false,
      gapCause: "machine_restarted",
    });
  const first = minute("a", NOON_S);
  // Each start began again with the clock of 1970.
  const starts = [unsure("b", "a", 60), unsure("c", "b", 30), unsure("d", "c", 90)];
  assertEquals(order([first, ...starts]), "a gap b gap c gap d");
  assertEquals(order([...starts.toReversed(), first]), "a gap b gap c gap d");
  const minutes = layOut([first, ...starts]).items.flatMap((item) =>
    item.kind === "piece" ? [item.startUnixUs / 60e6 - NOON_S / 60] : []
  );
  assertEquals(minutes, [0, 1, 2, 3]);
  assertEquals(order([unsure("x", "y", 60), unsure("y", "x", 30)]), "y gap x", "nothing is lost");
});

Deno.test("starts that had no right time, whose chain has a hole, stand before the one that names them", () => {
  const more = { isTimeSure: false, gapCause: "machine_restarted" };
  const chunks = [
    minute("a", NOON_S),
    // Between them one did not come.
    minute("c", 60, { ...more, previousChunkId: "b" }),
    minute("d", 30, { ...more, previousChunkId: "c" }),
    minute("e", NOON_S + 600, { previousChunkId: "d", gapCause: "machine_restarted" }),
    minute("f", NOON_S + 660, { previousChunkId: "e", gapBeforeMs: 0 }),
  ];
  const expected = "a not_come gap c gap d gap e f";
  assertEquals(order(chunks), expected);
  assertEquals(order(chunks.toReversed()), expected);
});

Deno.test("a start with a right time, and one that names no chunk, have their place by their times", () => {
  const [first, last] = [minute("a", NOON_S), minute("b", NOON_S + 300)];
  const named = minute("c", NOON_S + 120, { previousChunkId: "b" });
  assert(/^a \S+ c \S+ b$/.test(order([first, last, named])));
  // An older release wrote no CHUNK_ID.
  const [nameless, another] = [
    minute("x", NOON_S + 60, { chunkId: null }),
    minute("u", NOON_S - 60, { isTimeSure: false }),
  ];
  const files = layOut([first, nameless, another]).items.flatMap((item) =>
    item.kind === "piece" ? [item.chunk.file] : []
  );
  assertEquals(files, ["u.ogg", "a.ogg", "x.ogg"]);
});

Deno.test("what is missing next to a time of a wrong clock has no length, unless the till has measured it", () => {
  const missing = (last: Partial<ChunkRecord>, next: Partial<ChunkRecord>, afterS: number) =>
    layOut([minute("a", NOON_S, last), minute("b", NOON_S + 60 + afterS, next)]).items
      .flatMap((item) =>
        item.kind === "hole" ? [`${item.why} ${item.cause} ${item.samples / 48_000}`] : []
      ).join(", ");
  const unsure = { isTimeSure: false };
  const follows = { previousChunkId: "a", gapCause: "machine_restarted" };
  const lacks = { previousChunkId: "x", gapCause: "machine_restarted" };
  const more = { ...unsure, gapCause: null };
  // A clock that is behind, one that is about right, and one that is ahead.
  for (const afterS of [-1e6, 5, 1e6]) {
    assertEquals(missing({}, { ...follows, ...unsure }, afterS), "gap machine_restarted 0");
    assertEquals(missing({}, { ...follows, ...more }, afterS), "unknown null 0");
    const measured = { ...follows, ...unsure, gapBeforeMs: 7000 };
    assertEquals(missing({}, measured, afterS), "gap machine_restarted 7");
    if (afterS < 0) continue; // nothing else places it after the first
    const expected = "not_come null 0, gap machine_restarted 0";
    assertEquals(missing({}, { ...lacks, ...unsure }, afterS), expected);
    assertEquals(missing({}, { ...lacks, ...more }, afterS), "not_come null 0");
  }
  assertEquals(missing(unsure, follows, 5), "gap machine_restarted 0");
  assertEquals(missing(unsure, {}, 5), "unknown null 0", "an older release");
  assertEquals(missing(unsure, {}, 0.01), "", "an older release");
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

Deno.test("of a chunk of another stream every sample is used, and it continues nothing", () => {
  const { items } = layOut([minute("a", NOON_S), minute("b", NOON_S + 60)]);
  const pieces = items.flatMap((item) =>
    item.kind === "piece" ? [[item.skipSamples, item.samples, item.isJoined]] : []
  );
  assertEquals(pieces, [[0, 2_880_000, false], [0, 2_880_000, false]]);
});

Deno.test("two clocks may differ by less than 50 ms between chunks that name none before them", () => {
  for (const [laterUs, expected] of [[49_999, "a b"], [50_000, "a unknown b"]] as const) {
    const startUnixUs = (NOON_S + 60) * 1e6 + laterUs;
    assertEquals(order([minute("a", NOON_S), minute("b", 0, { startUnixUs })]), expected);
  }
});

Deno.test("a chunk that did not come is named even if the clock was set back behind it", () => {
  const last = minute("a", NOON_S);
  const next = (previousChunkId: string) =>
    minute("c", NOON_S + 20, { previousChunkId, gapBeforeMs: 5000, gapCause: "not_running" });
  assertEquals(order([last, next("b")]), "a not_come c");
  assertEquals(order([last, next("a")]), "a gap c");
});

/** What is missing before the second of two chunks, and where: kind, cause, milliseconds after the first, and long. */
function missingBetween(last: ChunkRecord, next: ChunkRecord) {
  const endUs = (last.startUnixUs ?? 0) + last.samples / 0.048;
  return layOut([last, next]).items.flatMap((item) =>
    item.kind === "piece"
      ? []
      : [[item.why, item.cause, (item.startUnixUs - endUs) / 1000, item.samples / 48]]
  );
}

Deno.test("what is missing between two streams is divided into lost chunks and the gap behind them", () => {
  const last = minute("a", NOON_S);
  const next = (afterMs: number, more: Partial<ChunkRecord> = {}) =>
    minute("c", NOON_S + 60 + afterMs / 1000, { gapCause: "usb", gapBeforeMs: 5000, ...more });
  const cases: [string, ChunkRecord, ReturnType<typeof missingBetween>][] = [
    ["b, of 3 s, did not come", next(8000, { previousChunkId: "b" }), [
      ["not_come", null, 0, 3000],
      ["gap", "usb", 3000, 5000],
    ]],
    ["3 ms are more than rounding", next(5003, { previousChunkId: "b" }), [
      ["not_come", null, 0, 3],
      ["gap", "usb", 3, 5000],
    ]],
    [
      "2 ms are rounding: b is as long as the clock was set back",
      next(5002, {
        previousChunkId: "b",
      }),
      [
        ["not_come", null, 0, 0],
        ["gap", "usb", 0, 5002],
      ],
    ],
    ["2 ms are rounding where a is before it", next(5002, { previousChunkId: "a" }), [
      ["gap", "usb", 0, 5000],
    ]],
    [
      "the gap cannot be longer than all, and b is missing, too",
      next(4000, {
        previousChunkId: "b",
      }),
      [
        ["not_come", null, 0, 0],
        ["gap", "usb", 0, 4000],
      ],
    ],
    ["no cause is declared", next(5000, { previousChunkId: "a", gapCause: null }), [
      ["unknown", null, 0, 5000],
    ]],
    ["no gap is declared", next(5000, { previousChunkId: "b", gapBeforeMs: null }), [
      ["not_come", null, 0, 5000],
    ]],
    ["it follows: the gap is what it says", next(9000, { previousChunkId: "a" }), [
      ["gap", "usb", 0, 5000],
    ]],
    ["it follows, and says no length", next(9000, { previousChunkId: "a", gapBeforeMs: null }), [
      ["gap", "usb", 0, 9000],
    ]],
    ["it names no chunk", next(9000), [
      ["unknown", null, 0, 4000],
      ["gap", "usb", 4000, 5000],
    ]],
  ];
  for (const [what, chunk, expected] of cases) {
    assertEquals(missingBetween(last, chunk), expected, what);
  }
});

Deno.test("a chunk that names a known one, which is not the one before it, does not say what is missing", () => {
  const chunks = [
    minute("a", NOON_S),
    minute("b", NOON_S + 60, { previousChunkId: "a", gapBeforeMs: 0 }),
    minute("c", NOON_S + 130, { previousChunkId: "a", gapBeforeMs: 0 }),
  ];
  assertEquals(order(chunks), "a b unknown c");
});

Deno.test("a missing chunk is gone if nothing so old was waiting any more, and may still come otherwise", () => {
  const last = minute("a", NOON_S);
  // The missing chunk was recorded until 63 s. The oldest that waited began then, to the rounding of 20 ms.
  for (
    const [waitingFromS, expected] of [[62.979, "not_come"], [62.981, "gone"], [
      70,
      "gone",
    ]] as const
  ) {
    const next = minute("c", NOON_S + 68, {
      previousChunkId: "b",
      gapBeforeMs: 5000,
      gapCause: "usb",
      waitingFromUs: (NOON_S + waitingFromS) * 1e6,
    });
    assertEquals(order([last, next]), `a ${expected} gap c`, `${waitingFromS}`);
  }
});

Deno.test("what a damaged file has lost is damaged, and a damaged file at the end is, too", () => {
  const damaged = minute("a", NOON_S, { damage: "is cut off", samples: 2_400_000 });
  const next = (previousChunkId: string) =>
    minute("b", NOON_S + 60, { previousChunkId, gapBeforeMs: 0 });
  assertEquals(missingBetween(damaged, next("a")), [["damaged", null, 0, 10_000]]);
  assertEquals(missingBetween(damaged, next("x")), [["not_come", null, 0, 10_000]]);
  const { items } = layOut([damaged]);
  assertEquals(items[1], {
    kind: "hole",
    why: "damaged",
    cause: null,
    startUnixUs: (NOON_S + 50) * 1e6,
    samples: 0,
  });
});

Deno.test("within a stream the numbers of the samples say what is missing, doubled or joined", () => {
  const nth = (id: string, sample: number, more: Partial<ChunkRecord> = {}) =>
    minute(id, NOON_S + sample / 48_000, {
      streamId: "s",
      streamSample: sample,
      samples: 1000,
      ...more,
    });
  const laidOut = (...chunks: ChunkRecord[]) => {
    const { items, unused } = layOut(chunks);
    return [
      ...items.map((item) =>
        item.kind === "hole"
          ? `${item.why} ${item.samples}`
          : `${item.chunk.chunkId} ${item.skipSamples}+${item.samples}${
            item.isJoined ? " joined" : ""
          }`
      ),
      ...unused.map(({ file, reason, isHarmless }) => `${file} ${reason}: ${isHarmless}`),
    ].join(", ");
  };
  const first = nth("a", 0);
  assertEquals(laidOut(first, nth("b", 1000)), "a 0+1000, b 0+1000 joined");
  assertEquals(laidOut(first, nth("b", 1001)), "a 0+1000, unknown 1, b 0+1000");
  assertEquals(laidOut(first, nth("b", 999)), "a 0+1000, b 1+999 joined");
  assertEquals(
    laidOut(first, nth("b", 1097, { previousChunkId: "x" })),
    "a 0+1000, not_come 97, b 0+1000",
  );
  assertEquals(
    laidOut(first, nth("b", 500, { samples: 500 })),
    "a 0+1000, b.ogg holds sound that a.ogg holds: true",
  );
  const [, overlapping] = layOut([first, nth("b", 480)]).items;
  assertEquals(overlapping?.startUnixUs, NOON_S * 1e6 + Math.round(1000 / 0.048));
  assertEquals(laidOut(first, nth("b", 500, { samples: 501 })), "a 0+1000, b 500+1 joined");
});

Deno.test("of doubled chunks the whole one is used, or the longer one, and equal ones are harmless", () => {
  const whole = minute("a", NOON_S, { file: "whole", digest: "1" });
  const cut = { ...whole, file: "cut", digest: "2", damage: "is cut off", samples: 1000 };
  const shorter = { ...cut, file: "shorter", digest: "3", samples: 999 };
  const unused = (...chunks: ChunkRecord[]) =>
    layOut(chunks).unused.map(({ file, reason, isHarmless }) => [file, reason, isHarmless]);
  const other = (kept: string) => `is the same chunk as ${kept}, with other contents`;
  for (const [a, b] of [[whole, cut], [cut, shorter]] as const) {
    const expected = [[b.file, other(a.file), false]];
    assertEquals(unused(a, b), expected);
    assertEquals(unused(b, a), expected);
  }
  assertEquals(unused(whole, { ...whole, file: "again" }), [
    ["again", "is the same chunk as whole", true],
  ]);
  const unsaid = minute("a", NOON_S);
  assertEquals(unused(unsaid, { ...unsaid, file: "again" }), [["again", other("a.ogg"), false]]);
  assertEquals(unused(cut, { ...cut, file: "again" }), [
    ["again", "is the same chunk as cut", true],
  ]);
});

/** Of each piece: seconds by which its time differs from its place, and whether sound of its time is there already. */
function times(...chunks: ChunkRecord[]): string {
  return layOut(chunks).items.flatMap((item) =>
    item.kind === "piece"
      ? [`${item.chunk.chunkId} ${item.differsUs / 1e6}${item.isDouble ? " double" : ""}`]
      : []
  ).join(", ");
}

Deno.test("sound of two recordings at one time overlaps, if both clocks were right and neither follows the other", () => {
  const a = minute("a", NOON_S);
  const at = (afterS: number, more: Partial<ChunkRecord> = {}) =>
    minute("b", NOON_S + 60 + afterS, more);
  assertEquals(times(a, at(-25)), "a 0, b -25 double");
  assertEquals(
    times(a, at(-25, { previousChunkId: "x" })),
    "a 0, b 0 double",
    "one that did not come",
  );
  assertEquals(times(a, at(-1)), "a 0, b -1", "rounding, and a clock that is adjusted");
  assertEquals(times(a, at(-25, { isTimeSure: false })), "a 0, b 0");
  assertEquals(times(minute("a", NOON_S, { isTimeSure: false }), at(-25)), "a 0, b 0");
  // The clock was set back between them: no sound is there twice.
  const follows = { previousChunkId: "a", gapBeforeMs: 5000, gapCause: "usb" };
  assertEquals(times(a, at(-25, follows)), "a 0, b -30");
});

Deno.test("a clock that is set within a stream shows in the times, and the sound continues", () => {
  const nth = (index: number, startS: number) =>
    minute(`${index}`, NOON_S + startS, { streamId: "s", streamSample: index * 2_880_000 });
  assertEquals(times(nth(0, 0), nth(1, 3660), nth(2, 3720)), "0 0, 1 3600, 2 0");
  assertEquals(times(nth(0, 0), nth(1, -3540)), "0 0, 1 -3600");
  // One that is missing does not hide it.
  assertEquals(times(nth(0, 0), nth(2, 3720)), "0 0, 2 3600");
});
