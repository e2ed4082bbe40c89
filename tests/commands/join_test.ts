import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { runJoin } from "../../src/commands/join.ts";
import { runVerify } from "../../src/commands/verify.ts";
import type { GapMode } from "../../src/commands/command_line.ts";
import { readChunkHeader, withTags } from "../../src/chunk/chunk_file.ts";
import { formatChunkName } from "../../src/chunk/chunk_name.ts";
import { formatUtc, parseUtc } from "../../src/chunk/chunk_tags.ts";
import { OggPageReader } from "../../src/chunk/ogg.ts";
import { type OpusHead, type OpusPacket, OpusStreamReader } from "../../src/chunk/opus.ts";
import { SimulatedTill, type TillOptions } from "../fixtures/simulated_till.ts";

interface Joined {
  readonly code: number;
  readonly said: string;
  /** By file name, the streams in each file. */
  readonly files: Readonly<Record<string, Stream[]>>;
}

/** A logical stream: its head, the numbers of its packets ("-": silence), and its audible samples. */
interface Stream {
  readonly head: OpusHead;
  readonly packets: readonly (number | "-")[];
  readonly samples: number;
}

/** Joins what is in a folder. */
async function joined(
  folder: string,
  options: { from?: string; to?: string; gaps?: GapMode; device?: string; output?: string } = {},
): Promise<Joined> {
  const out = await Deno.makeTempDir({ prefix: "joined-" });
  try {
    const said: string[] = [];
    const code = await runJoin({
      paths: [folder],
      output: join(out, options.output ?? "all.ogg"),
      from: options.from,
      to: options.to,
      device: options.device,
      zone: "UTC",
      gaps: options.gaps ?? "silence",
      print: (text) => said.push(text),
      progress: () => {},
    });
    const names = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
    const files = Object.fromEntries(
      names.map((name) => [name, streamsOf(Deno.readFileSync(join(out, name)))]),
    );
    return { code, said: said.join("\n"), files };
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** Reads a file strictly: every page whole, in sequence, from begin to end of each stream. */
function streamsOf(file: Uint8Array): Stream[] {
  const streams: Stream[] = [];
  const pages = [...new OggPageReader().push(file)];
  let start = 0;
  for (const [index, page] of pages.entries()) {
    assert(page.kind === "page");
    const isFirst = index === 0 || pages[index - 1]?.kind !== "page" || (page.flags & 2) !== 0;
    if (isFirst) start = index;
    assertEquals(page.sequence, index - start);
    const next = pages[index + 1];
    const isLast = next === undefined || (next.kind === "page" && (next.flags & 2) !== 0);
    assertEquals(page.flags & 4, isLast ? 4 : 0);
    if (!isLast) continue;
    const from = pages[start];
    assert(from?.kind === "page");
    const bytes = file.subarray(from.offset, page.offset + page.byteLength);
    const events = [...new OpusStreamReader().push(bytes)];
    const packets = events.flatMap((event) => event.kind === "packet" ? [event.packet] : []);
    assertEquals(packets.length, events.length - 1, "no break");
    const [first] = events;
    assert(first?.kind === "head");
    assertEquals(
      packets.at(-1)?.endPosition,
      packets.reduce((sum, { samples }) => sum + samples, 0),
    );
    streams.push({
      head: first.head,
      packets: packets.map(numberOf),
      samples: page.granulePosition - first.head.preSkip,
    });
  }
  return streams;
}

function numberOf({ data }: OpusPacket): number | "-" {
  if (data.length === 3) return "-";
  return new DataView(data.buffer, data.byteOffset).getUint32(1);
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

async function withTill(
  use: (till: SimulatedTill, folder: string) => Promise<void>,
  options: TillOptions = {},
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "join-" });
  try {
    await use(new SimulatedTill(options), folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const SECOND = 48_000;

Deno.test("joined chunks have the packets of the uncut stream, once each, and its length", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(23);
    till.stop();
    await till.deliver(folder);
    const { code, said, files } = await joined(folder);
    assertEquals(code, 0);
    const [stream, ...more] = files["all.ogg"] ?? [];
    assertEquals(more, []);
    assertEquals(stream?.packets, numbers(0, 23 * 50));
    assertEquals(stream?.head, { channels: 1, preSkip: 312, inputSampleRate: SECOND });
    assertEquals(stream?.samples, 23 * SECOND - 312);
    assert(/all\.ogg: 22\.994 s from 2026-11-23 12:00:00\.000 \+00:00$/.test(said), said);
  });
});

Deno.test("chunks that come in any order, doubled, in several folders, join the same", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(23);
    till.stop();
    await till.deliver(join(folder, "z"), (index) => index < 3);
    await till.deliver(join(folder, "a/b"), (index) => index > 1);
    const { code, said, files } = await joined(folder);
    assertEquals(code, 0);
    assertEquals(files["all.ogg"]?.[0]?.packets, numbers(0, 23 * 50));
    assert(/is the same chunk as .*; it is left out/.test(said), said);
  });
});

Deno.test("missing sound becomes silence, and what follows is where it was heard", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(40);
    till.overrun(701);
    till.hear(20);
    till.stop();
    await till.deliver(folder, (index) => index !== 2);
    const { said, files } = await joined(folder);
    const stream = files["all.ogg"]?.[0];
    assertEquals(stream?.samples, 60 * SECOND - 312 + Math.round(0.701 * SECOND));
    const sound = stream?.packets.filter((packet) => packet !== "-");
    // Chunks of 250 packets; the third did not come, but its last 960 ms are the pre-roll of the fourth. The
    // pre-roll of the chunk after the overrun was heard before it, and is there once.
    assertEquals(sound, [...numbers(0, 500), ...numbers(702, 3000)]);
    assertEquals(stream?.packets.slice(500, 702), Array(202).fill("-"));
    assert(said.includes("5.000 s missing: recorded, and has not come yet"), said);
    assert(said.includes("0.701 s missing: nothing was recorded: overrun"), said);
  });
});

Deno.test("a chunk with a wrong time does not fill the disk with silence", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(20);
    till.stop();
    await till.deliver(folder);
    const last = join(
      folder,
      [...Deno.readDirSync(folder)].map(({ name }) => name).sort().at(-1) ?? "",
    );
    const bytes = await Deno.readFile(last);
    const tags = { ...readChunkHeader(bytes)?.tags, STREAM_SAMPLE: "999999999999999" };
    bytes.set(withTags(bytes, tags) ?? bytes);
    await Deno.writeFile(last, bytes);
    const { code, said, files } = await joined(folder);
    assertEquals([code, files], [1, {}]);
    assert(said.includes("s of silence, from 2026-11-23"), said);
    assertEquals((await joined(folder, { gaps: "chain" })).code, 0);
  });
});

Deno.test("the gap between two streams is as long as it was, to the shortest packet", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(7.3);
    till.stop();
    till.pass(3217);
    till.start("microphone_lost");
    till.hear(4.1);
    till.stop();
    await till.deliver(folder);
    const stream = (await joined(folder)).files["all.ogg"]?.[0];
    const [first, , third] = till.chunks.map(({ name }) => name);
    const endUs = (third?.startUnixUs ?? 0) + (third?.durationUs ?? 0);
    const lengthUs = endUs - (first?.startUnixUs ?? 0);
    assert(Math.abs((stream?.samples ?? 0) / SECOND * 1e6 - lengthUs) < 1000);
    // Where the second stream begins, counted in packets of the file.
    const at = stream?.packets.indexOf(365) ?? 0;
    const silent = stream?.packets.slice(365, at) ?? [];
    assert(silent.length > 100 && silent.every((packet) => packet === "-"));
  });
});

Deno.test("where the position in the file does not tell the time any more, the new time is printed", async () => {
  // Seconds by which the clock of each chunk of 5 s is ahead: it was set, and it drifts.
  const cases: [number[], string[]][] = [
    [[0, 0, 3600, 3600], ["13:00:09.994 at 9.993: 3600.000 s later"]],
    [[0, 0, -60, -60], ["11:59:09.994 at 9.993: 60.000 s earlier"]],
    [[0, 0.4, 0.8, 1.2, 1.6, 2, 2.4], [
      "12:00:16.194 at 14.993: 1.200 s later",
      "12:00:32.394 at 29.994: 1.200 s later",
    ]],
  ];
  for (const [aheadS, expected] of cases) {
    await withTill(async (till, folder) => {
      till.start();
      till.hear(aheadS.length * 5 + 1);
      till.stop();
      for (const [index, { bytes }] of till.chunks.entries()) {
        const tags = readChunkHeader(bytes)?.tags ?? {};
        const ahead = Math.round((aheadS[index] ?? aheadS.at(-1) ?? 0) * 1e6);
        const startUnixUs = (parseUtc(tags["START"] ?? "") ?? 0) + ahead;
        bytes.set(withTags(bytes, { ...tags, START: formatUtc(startUnixUs) }) ?? []);
      }
      await till.deliver(folder);
      const { code, said } = await joined(folder);
      const told = said.matchAll(
        /^- 2026-11-23 (.+) \+00:00 {2}at (.+) s of the sound: from here on the time is (.+) than the sound before it says$/gm,
      );
      assertEquals(code, 0);
      assertEquals(
        [...told].map(([, time, position, by]) => `${time} at ${position}: ${by}`),
        expected,
      );
    });
  }
});

Deno.test("join and verify say if a time is not that of a right clock", async () => {
  for (const [unsure, isSaid] of [[[0, 1, 2], true], [[0, 1], false], [[], false]] as const) {
    await withTill(async (till, folder) => {
      till.start();
      till.hear(12);
      till.stop();
      for (const { bytes } of unsure.flatMap((index) => till.chunks[index] ?? [])) {
        const tags = { ...readChunkHeader(bytes)?.tags, CLOCK: "unsynchronized" };
        bytes.set(withTags(bytes, tags) ?? []);
      }
      await till.deliver(folder);
      const told = "some times are those of a clock that was not synchronized";
      const { said } = await joined(folder);
      assertEquals(said.includes(`- ${told}\n`), isSaid, `${unsure}`);
      const verified: string[] = [];
      const print = (text: string) => verified.push(text);
      await runVerify({ paths: [folder], device: undefined, zone: "UTC", json: false, print });
      assertEquals(verified.includes(`  - ${told}`), isSaid, `${unsure}`);
    });
  }
});

Deno.test("missing sound can be a new stream in the same file, or a file of its own", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(23);
    till.stop();
    await till.deliver(folder, (index) => index !== 2);
    const chain = (await joined(folder, { gaps: "chain" })).files["all.ogg"] ?? [];
    assertEquals(chain.map(({ samples }) => samples), [10 * SECOND - 312, 8 * SECOND]);
    assertEquals(chain[1]?.head.preSkip, 46_080, "it keeps its pre-roll");
    const { files, said } = await joined(folder, { gaps: "split" });
    assertEquals(Object.keys(files), ["all-20261123T120000Z.ogg", "all-20261123T120014Z.ogg"]);
    assertEquals(Object.values(files).flat().map(({ packets }) => packets), [
      numbers(0, 500),
      numbers(702, 1150),
    ]);
    assertEquals(said.match(/\.ogg: /g)?.length, 2);
  });
});

Deno.test("two parts that begin in one second are two files", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(0.4);
    till.stop();
    till.start("microphone_lost");
    till.hear(3);
    till.stop();
    await till.deliver(folder);
    const { files } = await joined(folder, { gaps: "split" });
    assertEquals(Object.keys(files), ["all-20261123T120000Z-2.ogg", "all-20261123T120000Z.ogg"]);
    assertEquals(Object.values(files).flat().map(({ packets }) => packets.length), [150, 20]);
  });
});

Deno.test("--from and --to cut to the sample, with a warm-up before it", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(23);
    till.stop();
    await till.deliver(folder);
    const options = { from: "2026-11-23 12:00:07.5", to: "2026-11-23T13:00:12.250+01:00" };
    const stream = (await joined(folder, options)).files["all.ogg"]?.[0];
    assertEquals(stream?.samples, 4.75 * SECOND);
    // The first sample is the one that was heard then: 7.5 s after the first audible one of the stream.
    const firstPosition = Number(stream?.packets[0]) * 960 + (stream?.head.preSkip ?? 0);
    assertEquals(firstPosition, 7.5 * SECOND + 312);
    assert((stream?.head.preSkip ?? 0) >= 46_080 - 960);
    const outside = await joined(folder, { from: "2026-11-24 12:00" });
    assertEquals([outside.code, outside.said], [1, "No chunk has sound in this time"]);
  });
});

Deno.test("a join that begins or ends in a gap is silent there", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(23);
    till.stop();
    await till.deliver(folder, (index) => index === 0 || index === 4);
    const options = { from: "2026-11-23 12:00:10", to: "2026-11-23 12:00:21" };
    const stream = (await joined(folder, options)).files["all.ogg"]?.[0];
    assertEquals(stream?.samples, 11 * SECOND);
    assertEquals(stream?.packets[0], "-");
    const end = await joined(folder, {
      from: "2026-11-23 12:00:04",
      to: "2026-11-23 12:00:10.0001",
    });
    assertEquals(end.files["all.ogg"]?.[0]?.samples, Math.round(6.0001 * SECOND));
  });
});

Deno.test("chunks of two tills are not joined: the devices are listed", async () => {
  await withTill(async (till, folder) => {
    const other = new SimulatedTill({ deviceId: "aaaaaaaa-0000-4000-8000-000000000000" });
    for (const one of [till, other]) {
      one.start();
      one.hear(6);
      one.stop();
      await one.deliver(folder);
    }
    const { code, said, files } = await joined(folder);
    assertEquals([code, files], [1, {}]);
    assertEquals(
      said,
      "The chunks are of several devices: choose one with --device: " +
        "9f0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f (2 chunks), aaaaaaaa-0000-4000-8000-000000000000 (2 chunks)",
    );
    const chosen = await joined(folder, { device: "AAAAAAAA-0000-4000-8000-000000000000" });
    assertEquals(chosen.files["all.ogg"]?.[0]?.packets, numbers(0, 300));
    const none = await joined(folder, { device: "b" });
    assert(none.said.startsWith("No chunk was found of the device b, but of 9f0f"), none.said);
  });
});

Deno.test("what cannot be joined is left out and named; what is damaged is used as far as it is whole", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(11);
    till.stop();
    await till.deliver(folder);
    await Deno.writeTextFile(join(folder, "song.ogg"), "not Ogg\x1b[2J");
    const name = till.chunks[0]?.name;
    assert(name !== undefined);
    const file = join(folder, formatChunkName(name));
    await Deno.truncate(file, Math.floor((await Deno.stat(file)).size * 0.6));
    const { code, said, files } = await joined(folder);
    assertEquals(code, 0);
    assert(
      said.includes("song.ogg is not an Ogg/Opus file that can be read; it is left out"),
      said,
    );
    assert(said.includes("missing: the file before it is damaged"), said);
    const stream = files["all.ogg"]?.[0];
    assertEquals(stream?.samples, 11 * SECOND - 312, "what follows is where it was");
    assertEquals(stream?.packets.at(-1), 549);
  });
});

Deno.test("of a chunk that is damaged in the middle only the damaged pages are missing", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(16);
    till.stop();
    const bytes = till.chunks[1]?.bytes ?? new Uint8Array(0);
    const whole = bytes.slice();
    const pages = [...new OggPageReader().push(bytes)].filter((found) => found.kind === "page");
    // The fifth page of sound and the eighth.
    for (const { offset, byteLength } of [pages[6], pages[9]].flatMap((page) => page ?? [])) {
      bytes[offset + byteLength - 1] = (bytes[offset + byteLength - 1] ?? 0) ^ 1;
    }
    await till.deliver(folder);
    const { said, files } = await joined(folder);
    const stream = files["all.ogg"]?.[0];
    assertEquals(stream?.samples, 16 * SECOND - 312);
    const missing = numbers(0, 800).filter((number) => !stream?.packets.includes(number));
    assertEquals(missing.length, 40);
    // All that is there is where it was.
    const wrong = stream?.packets.flatMap((packet, at) =>
      packet === "-" ? [] : packet === at ? [] : [`${packet} at ${at}`]
    );
    assertEquals(wrong, []);
    assertEquals(said.match(/0.400 s missing: the file before it is damaged/g)?.length, 2);
    // A whole copy has everything.
    await Deno.mkdir(join(folder, "again"));
    await Deno.writeFile(join(folder, "again/b.ogg"), whole);
    const both = await joined(folder);
    assertEquals(both.files["all.ogg"]?.[0]?.packets, numbers(0, 800));
  });
});

Deno.test("a chunk that is changed, renamed or deleted while it is joined ends the join, which leaves nothing behind", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(11);
    till.stop();
    const name = till.chunks[2]?.name;
    assert(name !== undefined);
    const file = join(folder, "chunks", formatChunkName(name));
    const output = join(folder, "all.ogg");
    const cases: [() => void, string][] = [
      [() => Deno.removeSync(file), "was renamed or deleted"],
      [() => Deno.writeFileSync(file, till.chunks[0]?.bytes ?? new Uint8Array(0)), "has changed"],
    ];
    for (const [happens, what] of cases) {
      await till.deliver(join(folder, "chunks"));
      const said: string[] = [];
      let written = 0;
      const code = await runJoin({
        ...{ paths: [join(folder, "chunks")], output, zone: "UTC", gaps: "silence" },
        ...{ from: undefined, to: undefined, device: undefined },
        print: (text) => said.push(text),
        progress: (text) => text.startsWith("written") && written++ === 0 && happens(),
      });
      assertEquals(code, 1);
      assertEquals(said, [
        `Cannot write ${output}: ${file} ${what} meanwhile: try again`,
      ]);
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["chunks"]);
    }
  });
});

Deno.test("a file that exists is not overwritten, and nothing is left behind when a join fails", async () => {
  await withTill(async (till, folder) => {
    till.start();
    till.hear(6);
    till.stop();
    await till.deliver(folder);
    const output = join(folder, "all.wav.txt");
    await Deno.writeTextFile(output, "mine");
    const said: string[] = [];
    const options = {
      paths: [folder],
      from: undefined,
      to: undefined,
      device: undefined,
      zone: "UTC",
      gaps: "silence",
      print: (text: string) => said.push(text),
      progress: () => {},
    } as const;
    assertEquals(await runJoin({ ...options, output }), 1);
    assertEquals(said, [`Cannot write ${output} as it exists already`]);
    assertEquals(await Deno.readTextFile(output), "mine");
    // Nor are the files that a join needs for a moment.
    for (const [output, taken] of [["b.wav", "b.wav.ogg"], ["b.ogg", "b.ogg.partial"]] as const) {
      const path = join(folder, taken);
      await Deno.writeTextFile(path, "mine");
      assertEquals(await runJoin({ ...options, output: join(folder, output) }), 1, output);
      assertEquals(await Deno.readTextFile(path), "mine");
      await Deno.remove(path);
    }
    said.length = 0;
    assertEquals(await runJoin({ ...options, output: join(folder, "nowhere/all.ogg") }), 1);
    assert(said[0]?.startsWith("Cannot write "), said[0]);
    said.length = 0;
    assertEquals(await runJoin({ ...options, output, from: "yesterday" }), 1);
    assertEquals(said, [
      'Cannot use --from as it must be a date and time such as "2026-11-23 14:00": current value is yesterday',
    ]);
    assertEquals([...Deno.readDirSync(folder)].length, 3);
  });
});
