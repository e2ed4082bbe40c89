import { assert, assertEquals } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import type { SealedChunk, WriteStep } from "../../src/spool/chunk_writer.ts";
import { ChunkChain } from "../../src/capture/chunk_chain.ts";
import type { Provisional } from "../../src/chunk/chunk_name.ts";
import { readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { formatUtc } from "../../src/chunk/chunk_tags.ts";
import { StreamCutter } from "../../src/capture/stream_cutter.ts";
import type { OpusEvent } from "../../src/chunk/opus.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { numberedPacket, PACKET_MS, readSound } from "../faults/sound.ts";
import { makeName } from "../fixtures/chunks.ts";
import { seededRandom } from "../fixtures/random.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const HEAD: OpusEvent = {
  kind: "head",
  head: { channels: 1, preSkip: 0, inputSampleRate: 48_000 },
};
const BREAK: OpusEvent = { kind: "break", reason: "a test", offset: 0 };

/** A cutter, numbered packets for it, and its output to the writer. */
function cutterRig(
  chain = new ChunkChain(),
  { provisional = () => undefined }: { provisional?: () => Provisional | undefined } = {},
) {
  const random = seededRandom(1);
  const steps: WriteStep[] = [];
  const closed: SealedChunk[] = [];
  let monotonicMs = 5000;
  const clock = {
    unixMs: () => NOON + monotonicMs,
    monotonicMs: () => monotonicMs,
    sleep: () => Promise.resolve(),
  };
  const writer = { push: (step: WriteStep) => void steps.push(step), isFull: false };
  const cutter = new StreamCutter(null, { chunkSeconds: 60, vendor: "test", tags: {} }, {
    clock,
    writer,
    log: getLogger("test"),
    provisional,
    gapCause: "starting",
    chain,
    onSound: () => {},
    onDropping: () => {},
  });
  let number = 0;
  let position = 0;
  return {
    cutter,
    steps,
    writer,
    clock,
    /** Consecutive packets; `afresh`: in a new stream. */
    packets(count: number, { afresh = false } = {}): OpusEvent[] {
      if (afresh) position = 0;
      return Array.from({ length: count }, () => ({
        kind: "packet",
        packet: numberedPacket(number++, ++position, random),
      }));
    },
    /** Passes on the events of one read, at the time when they were complete. */
    read(events: readonly OpusEvent[], laterMs = 0): void {
      const sound = events.filter(({ kind }) => kind === "packet").length;
      monotonicMs += sound * PACKET_MS + laterMs;
      cutter.take(events, monotonicMs);
    },
    /** The tags of the files, as they were when they were created, and when they were sealed. */
    tags() {
      const created: Readonly<Record<string, string>>[] = [];
      const sealed: Readonly<Record<string, string>>[] = [];
      let start = new Uint8Array(0);
      for (const step of steps) {
        if (step.kind === "open") start = step.bytes.slice();
        if (step.kind === "open") created.push(readChunkHeader(start)?.tags ?? {});
        if (step.kind !== "close") continue;
        start.set(step.header ?? new Uint8Array(0));
        sealed.push(readChunkHeader(start)?.tags ?? {});
      }
      return { created, sealed };
    },
    /** The chunks that were closed, each with the numbers of its packets. */
    chunks() {
      let bytes: Uint8Array[] = [];
      closed.length = 0;
      const sounds: (readonly number[])[] = [];
      for (const step of steps) {
        if (step.kind === "open") bytes = [];
        if (step.kind !== "discard") bytes.push(step.bytes);
        if (step.kind !== "close") continue;
        closed.push(step);
        sounds.push(readSound(concatBytes(bytes))?.packets ?? []);
      }
      return { sounds, closed, causes: closed.map(({ gapCause }) => gapCause) };
    },
  };
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

Deno.test("packets before and after a break in one read are all recorded", () => {
  const rig = cutterRig();
  const [before, after] = [rig.packets(30), rig.packets(25)];
  rig.read([HEAD, ...before, BREAK, ...after]);
  rig.cutter.finish();
  assertEquals(rig.chunks().sounds, [numbers(0, 30), numbers(30, 55)]);
});

Deno.test("packets before and after the start of a new stream in one read are all recorded", () => {
  const rig = cutterRig();
  const first = rig.packets(30);
  const second = rig.packets(25, { afresh: true });
  rig.read([HEAD, ...first, HEAD, ...second]);
  rig.cutter.finish();
  const { sounds, closed } = rig.chunks();
  assertEquals(sounds, [numbers(0, 30), numbers(30, 55)]);
  for (const [index, packets] of [30, 25].entries()) {
    const { startUnixUs = 0, endUnixUs = 0 } = closed[index]?.times ?? {};
    assertEquals(endUnixUs - startUnixUs, packets * PACKET_MS * 1000);
  }
});

Deno.test("each gap has its own cause: a damaged stream is not the cause of the next one", () => {
  const rig = cutterRig();
  rig.read([HEAD, ...rig.packets(30), BREAK, ...rig.packets(30)]);
  for (let second = 0; second < 70; second++) rig.read(rig.packets(50));
  rig.cutter.finish();
  assertEquals(rig.chunks().causes, ["starting", "stream_damaged", "late"]);
});

Deno.test("a reported loss has the cause overrun, an unreported one has the cause late", () => {
  const rig = cutterRig();
  rig.read([HEAD]);
  const hear = (seconds: number) => {
    for (let page = 0; page < seconds * 2.5; page++) rig.read(rig.packets(20));
  };
  hear(40);
  rig.cutter.overrun(rig.clock.monotonicMs());
  rig.read(rig.packets(20), 700);
  hear(30);
  rig.read(rig.packets(20), 900);
  hear(10);
  rig.cutter.finish();
  const { causes, sounds, closed } = rig.chunks();
  assertEquals(causes, ["starting", "overrun", "late"]);
  assertEquals(sounds.flat(), numbers(0, sounds.flat().length), "no packet is lost or doubled");
  const gaps = closed.map(({ times }) => times.gapMs);
  for (const [index, ms] of [0, 700, 900].entries()) {
    assert(Math.abs((gaps[index] ?? NaN) - ms) < 1, `${gaps}`);
  }
});

for (const seconds of [1, 3]) {
  Deno.test(`sound that could not be written for ${seconds} s is a gap with the cause disk_failing`, () => {
    const rig = cutterRig();
    rig.read([HEAD, ...rig.packets(50)]);
    rig.writer.isFull = true;
    for (let second = 0; second < seconds; second++) rig.read(rig.packets(50));
    rig.writer.isFull = false;
    rig.read(rig.packets(50));
    rig.cutter.finish();
    const { sounds, causes, closed } = rig.chunks();
    const next = 50 + 50 * seconds;
    assertEquals(sounds, [numbers(0, 50), numbers(next, next + 50)]);
    assertEquals(causes, ["starting", "disk_failing"]);
    assertEquals(closed.map(({ times }) => times.gapMs), [0, seconds * 1000]);
  });
}

Deno.test("a chunk without audible samples is discarded", () => {
  const rig = cutterRig();
  const data = new Uint8Array([0x08, 0, 0, 0, 0]);
  const packet = { data, samples: 960, endPosition: 960, trimSamples: 960 };
  rig.read([HEAD, { kind: "packet", packet }]);
  rig.cutter.finish();
  assertEquals(rig.steps.map(({ kind }) => kind), ["open", "discard"]);
});

Deno.test("a chunk is as long as chunk_seconds says, and the next begins where it ended", () => {
  const rig = cutterRig();
  rig.read([HEAD]);
  for (let second = 0; second < 150; second++) rig.read(rig.packets(50));
  rig.cutter.finish();
  const { sounds, closed } = rig.chunks();
  assertEquals(sounds.map(({ length }) => length), [3000, 3000, 1500]);
  assertEquals(sounds.flat(), numbers(0, 7500));
  for (const [index, { times }] of closed.entries()) {
    const next = closed[index + 1];
    if (next !== undefined) assertEquals(next.times.startUnixUs, times.endUnixUs);
    assertEquals(times.gapMs, 0);
  }
});

for (
  const [what, isFlushing, trimSamples, laterMs] of [
    ["ffmpeg writes after it was asked to end arrive early", true, 0, -30],
    ["ffmpeg writes after it was asked to end arrive late", true, 0, 1000],
    ["end the stream arrive early", false, 312, -30],
  ] as const
) {
  Deno.test(`packets that ${what}, and do not tell the time`, () => {
    const rig = cutterRig();
    rig.read([HEAD]);
    for (let page = 0; page < 10; page++) rig.read(rig.packets(20));
    rig.cutter.isFlushing = isFlushing;
    const rest = rig.packets(20);
    const last = rest.at(-1);
    assert(last?.kind === "packet");
    rest[19] = { kind: "packet", packet: { ...last.packet, trimSamples } };
    // A flush comes in two reads: only the second one shows what the first one did to the times.
    const parts = isFlushing ? [rest.slice(0, 10), rest.slice(10)] : [rest];
    for (const [at, part] of parts.entries()) rig.read(part, at === 0 ? laterMs : 0);
    rig.cutter.finish();
    const { closed } = rig.chunks();
    const startMs = NOON + 5000;
    const endMs = startMs + 220 * PACKET_MS - trimSamples / 48;
    assertEquals(
      closed.map(({ times }) => [times.startUnixUs, times.endUnixUs]),
      [[startMs * 1000, endMs * 1000]],
    );
  });
}

Deno.test("each chunk names the one before it, and says when it began", () => {
  const rig = cutterRig();
  rig.read([HEAD]);
  for (let second = 0; second < 150; second++) rig.read(rig.packets(50));
  rig.cutter.finish();
  const { closed } = rig.chunks();
  const { created, sealed } = rig.tags();
  assertEquals(sealed.map((tags) => tags["CHUNK_ID"]), closed.map(({ name }) => name.key));
  const before = closed.map(({ name }) => name.key).slice(0, 2);
  assertEquals(sealed.map((tags) => tags["PREVIOUS_CHUNK_ID"]), [undefined, ...before]);
  assertEquals(sealed.map((tags) => tags["GAP_BEFORE_MS"]), [undefined, "0", "0"]);
  assertEquals(sealed.map((tags) => tags["STREAM_SAMPLE"]), ["0", "2880000", "5760000"]);
  const starts = closed.map(({ times }) => formatUtc(times.startUnixUs));
  assertEquals(sealed.map((tags) => tags["START"]), starts);
  assertEquals(created, sealed, "and all of it already while it is recorded");
  assertEquals(closed.map(({ header }) => header), [undefined, undefined, undefined]);
});

Deno.test("a chunk says when the stream began even if that became known only while it was recorded", () => {
  const rig = cutterRig();
  rig.read([HEAD]);
  rig.read(rig.packets(20), 200); // the first packets come in a burst, late
  for (let page = 0; page < 200; page++) rig.read(rig.packets(20), page === 0 ? -200 : 0);
  rig.cutter.finish();
  const { created, sealed } = rig.tags();
  const { closed } = rig.chunks();
  assertEquals(sealed[0]?.["START"], formatUtc(closed[0]?.times.startUnixUs ?? NaN));
  assert(created[0]?.["START"] !== sealed[0]?.["START"]);
});

Deno.test("the sample number of a chunk jumps by what was lost before it, and it says why", () => {
  const rig = cutterRig();
  rig.read([HEAD]);
  const hear = (seconds: number) => {
    for (let page = 0; page < seconds * 2.5; page++) rig.read(rig.packets(20));
  };
  hear(40);
  rig.cutter.overrun(rig.clock.monotonicMs());
  rig.read(rig.packets(20), 700);
  hear(80);
  rig.cutter.finish();
  const { sealed } = rig.tags();
  assertEquals(sealed.map((tags) => tags["GAP_BEFORE_MS"]), [undefined, "700", "0"]);
  assertEquals(sealed.map((tags) => tags["GAP_CAUSE"]), [undefined, "overrun", undefined]);
  const second = 48_000;
  assertEquals(sealed.map((tags) => Number(tags["STREAM_SAMPLE"]) / second), [0, 40.7, 100.7]);
});

Deno.test("packets that are missing from the stream are not counted twice as lost", () => {
  const rig = cutterRig();
  rig.read([HEAD, ...rig.packets(100)]);
  rig.packets(50); // lost
  rig.read([BREAK, ...rig.packets(100)], 1000);
  rig.cutter.finish();
  const { sealed } = rig.tags();
  assertEquals(sealed.map((tags) => tags["STREAM_SAMPLE"]), ["0", "144000"]);
  assertEquals(sealed[1]?.["GAP_BEFORE_MS"], "1000");
  assertEquals(sealed[1]?.["GAP_CAUSE"], "stream_damaged");
});

Deno.test("a clock that becomes right within a chunk does not vouch for a time that it told before", () => {
  let isRight = false;
  const provisional = () =>
    isRight ? undefined : { bootId: "b0a1b2c3", startBootUs: 5, seenUnixS: null };
  const rig = cutterRig(new ChunkChain(null, { oldestWaiting: () => null }), { provisional });
  rig.read([HEAD, ...rig.packets(100)]);
  isRight = true;
  rig.read(rig.packets(2990));
  rig.cutter.finish();
  const { sealed } = rig.tags();
  assertEquals(sealed.map((tags) => tags["CLOCK"]), ["synchronized", "synchronized"]);
  assertEquals(sealed.map((tags) => "WAITING_FROM" in tags), [false, true]);
});

Deno.test("tags that do not fit cost their chunk only themselves", () => {
  const causeBefore = () => "a cause without end ".repeat(30);
  const chunk = { ...makeName(), startUnixUs: (NOON - 3_600_000) * 1000 };
  const rig = cutterRig(new ChunkChain({ chunk, boot: { id: "b", zeroMs: 0 } }, { causeBefore }));
  rig.read([HEAD, ...rig.packets(100)]);
  rig.cutter.finish();
  assertEquals(rig.chunks().sounds, [numbers(0, 100)]);
  assertEquals(Object.keys(rig.tags().sealed[0] ?? {}), ["CHUNK_ID"]);
});
