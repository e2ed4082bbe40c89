import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { readChunks } from "../../src/commands/chunk_files.ts";
import { runVerify } from "../../src/commands/verify.ts";
import { readChunkHeader, withTags } from "../../src/chunk/chunk_file.ts";
import { formatChunkName } from "../../src/chunk/chunk_name.ts";
import {
  type ChunkPlace,
  formatChunkTags,
  formatUtc,
  parseUtc,
  TEST_COMMENT,
} from "../../src/chunk/chunk_tags.ts";
import { silentChunk } from "../../src/commands/probe_chunk.ts";
import { S3Client } from "../../src/receive/s3_client.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { S3Store } from "../../src/receive/s3_store.ts";
import { systemClock } from "../../src/system/clock.ts";
import { ids } from "../fixtures/chunks.ts";
import { startReceiver, type Upload } from "../fixtures/receive_rig.ts";
import { BUCKET, S3Double } from "../fixtures/s3_double.ts";
import { makeSecondChunk } from "../fixtures/second_chunk.ts";
import { SimulatedTill } from "../fixtures/simulated_till.ts";

/** What `verify --json` says of a folder. */
async function verdict(folder: string, options: { device?: string } = {}) {
  const said: string[] = [];
  const code = await runVerify({
    paths: [folder],
    device: options.device,
    zone: "UTC",
    json: true,
    print: (text) => said.push(text),
  });
  const { complete, devices, files } = JSON.parse(said.join("\n"));
  const [device] = devices;
  return {
    code,
    complete,
    files,
    devices,
    seconds: device.seconds,
    from: device.from,
    to: device.to,
    fileFaults: device.files,
    missing: device.missing.map((
      { seconds, why, cause }: { seconds: number; why: string; cause: string | null },
    ) => [Number(seconds.toFixed(2)), why, cause]),
  };
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "verify-" });
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A till that has recorded so long. */
function recorded(seconds: number): SimulatedTill {
  const till = new SimulatedTill();
  till.start();
  till.hear(seconds);
  return till;
}

Deno.test("chunks that all came are complete, from the first sample to the last", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    await till.deliver(folder);
    const { code, complete, missing, seconds, from, to } = await verdict(folder);
    assertEquals([code, complete, missing], [0, true, []]);
    assertEquals(seconds, 23 - 312 / 48_000);
    assert(from.startsWith("2026-11-23T12:00:00") && to.startsWith("2026-11-23T12:00:22.99"), to);
  });
});

Deno.test("the test chunk of check is named, and makes nothing incomplete", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    await till.deliver(folder);
    const { name, bytes } = silentChunk({ COMMENT: TEST_COMMENT }, Date.UTC(2026, 10, 23, 12));
    const file = join(folder, formatChunkName(name));
    await Deno.writeFile(file, bytes);
    const { code, complete, files } = await verdict(folder);
    const reason = "is the silence of recorder-agent check --send-test-chunk";
    assertEquals([code, complete, files], [0, true, [{ file, reason }]]);
    const said: string[] = [];
    const options = { paths: [folder], device: undefined, zone: "UTC", json: false };
    await runVerify({ ...options, print: (text) => said.push(text) });
    assert(said.includes(`- ${file} ${reason}; it is not needed`), said.join("\n"));
  });
});

Deno.test("a chunk in the middle that did not come is named, with its time", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    await till.deliver(folder, (index) => index !== 2);
    const { code, missing } = await verdict(folder);
    assertEquals([code, missing], [1, [[5, "not_come", null]]]);
  });
});

Deno.test("the last chunk of a stream that did not come is told from the gap behind it", async () => {
  await withFolder(async (folder) => {
    const till = recorded(13);
    till.stop();
    till.pass(20_000);
    till.start("microphone_lost");
    till.hear(6);
    till.stop();
    await till.deliver(folder, (index) => index !== 2);
    const { code, missing } = await verdict(folder);
    assertEquals(code, 1);
    assertEquals(missing, [[3, "not_come", null], [20.01, "gap", "microphone_lost"]]);
  });
});

Deno.test("a gap with a declared cause is not a fault", async () => {
  await withFolder(async (folder) => {
    const till = recorded(40);
    till.overrun(700);
    till.hear(20);
    till.stop();
    await till.deliver(folder);
    const { code, missing } = await verdict(folder);
    assertEquals([code, missing], [0, [[0.7, "gap", "overrun"]]]);
  });
});

Deno.test("a chunk that was evicted is gone, and does not count as one that may still come", async () => {
  await withFolder(async (folder) => {
    const till = recorded(16);
    till.waits(till.chunks[2] ?? null); // the second was evicted, the third is the oldest that waits
    till.hear(16);
    till.stop();
    await till.deliver(folder, (index) => index !== 1 && index !== 3);
    const { code, missing } = await verdict(folder);
    assertEquals([code, missing], [1, [[5, "gone", null], [5, "not_come", null]]]);
  });
});

Deno.test("what a crash has cost is a gap of its own, to the last page of the file that it cut off", async () => {
  await withFolder(async (folder) => {
    const till = recorded(7.9);
    till.kill();
    till.pass(3000);
    till.start();
    till.hear(5);
    till.stop();
    await till.deliver(folder);
    const { code, missing } = await verdict(folder);
    assertEquals(code, 0);
    const [[seconds, why, cause]] = missing;
    assertEquals([why, cause], ["gap", "program_killed"]);
    assert(seconds > 3 && seconds < 3.5, `${seconds}`);
    const [whole, cutOff] = till.chunks.map(({ name }) => name);
    assertEquals(cutOff?.startUnixUs, (whole?.startUnixUs ?? 0) + (whole?.durationUs ?? 0));
  });
});

Deno.test("a flipped bit is named with its file, and what the file lost with it", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    await till.deliver(folder);
    const file = join(
      folder,
      formatChunkName(till.chunks[1]?.name ?? { key: "", startUnixUs: 0, durationUs: 0 }),
    );
    await flipBit(file);
    const { code, missing, fileFaults } = await verdict(folder);
    assertEquals(code, 1);
    assertEquals(fileFaults.length, 1);
    assertEquals(fileFaults[0].file, file);
    assert(/^is damaged at byte \d+ of \d+$/.test(fileFaults[0].reason), fileFaults[0].reason);
    assertEquals(missing.map(([, why]: string[]) => why), ["damaged"]);
  });
});

/** Tills with one fault each, and what `verify` must say of it: seconds, why, cause. */
const PLANTED: Record<string, {
  readonly happens: (till: SimulatedTill) => void;
  /** Indexes of chunks that never arrive. */
  readonly lost?: readonly number[];
  /** Index of a chunk of which a bit flips where it is kept. */
  readonly flipped?: number;
  readonly missing: readonly (readonly [number, string, string | null])[];
}> = {
  "a missing middle": {
    happens: (till) => till.hear(23),
    lost: [2],
    missing: [[5, "not_come", null]],
  },
  "a missing last": {
    happens: (till) => {
      till.hear(13);
      till.stop();
      till.pass(20_000);
      till.start("microphone_lost");
      till.hear(6);
    },
    lost: [2],
    missing: [[3, "not_come", null], [20.01, "gap", "microphone_lost"]],
  },
  "a gap with a cause": {
    happens: (till) => {
      till.hear(40);
      till.overrun(700);
      till.hear(20);
    },
    missing: [[0.7, "gap", "overrun"]],
  },
  "an eviction": {
    happens: (till) => {
      till.hear(16);
      till.waits(till.chunks[2] ?? null);
      till.hear(16);
    },
    lost: [1],
    missing: [[5, "gone", null]],
  },
  "a crash": {
    happens: (till) => {
      till.hear(7.9);
      till.kill();
      till.pass(3000);
      till.start();
      till.hear(5);
    },
    missing: [[3.3, "gap", "program_killed"]],
  },
  "a flipped bit": {
    happens: (till) => till.hear(23),
    flipped: 1,
    missing: [[0.4, "damaged", null]],
  },
};

/** What a folder or a bucket of `receive` holds after these uploads, in a folder. */
async function received(
  kind: "folder" | "bucket",
  uploads: readonly Upload[],
  use: (folder: string, files: readonly string[]) => Promise<void>,
): Promise<void> {
  await using double = new S3Double();
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => parseS3Access(double.credentials) },
    ...{ caCerts: [], clock: systemClock },
  });
  const bucket = new S3Store({ client, prefix: "", memoryBytes: 1e7, onReady: () => {} });
  await using rig = await startReceiver(kind === "bucket" ? { wrap: () => bucket } : {});
  for (const upload of uploads) assertEquals((await rig.upload(upload)).status, 200);
  // A copy of the bucket, as any S3 client makes it.
  for (const [name, { bytes }] of kind === "bucket" ? double.objects : []) {
    await Deno.mkdir(join(rig.dir, name, ".."), { recursive: true });
    await Deno.writeFile(join(rig.dir, name), bytes);
  }
  await use(rig.dir, rig.files());
}

for (const kind of ["folder", "bucket"] as const) {
  Deno.test(`a chunk that came with the time of a wrong clock stands where the chain says: a ${kind} of receive`, async () => {
    const NOON = Date.UTC(2026, 10, 23, 12);
    const chunk = (nth: number, startMs: number, place: Partial<ChunkPlace> = {}): Upload => {
      const key = `00000000-0000-4000-8000-00000000000${nth}`;
      const isClockSynchronized = place.isClockSynchronized ?? true;
      const tags = formatChunkTags({
        chunkId: key,
        streamId: "first",
        streamSample: 0,
        startUnixUs: startMs * 1000,
        isClockSynchronized,
        previousChunkId: null,
        gapBeforeMs: null,
        gapCause: null,
        waitingFromUs: null,
        ...place,
      });
      return {
        name: { startUnixUs: startMs * 1000, durationUs: 1_000_000, key },
        bytes: new Uint8Array(makeSecondChunk({ DEVICE_ID: ids.deviceId, ...tags })),
        headers: isClockSynchronized ? {} : { "x-clock-synchronized": "false" },
      };
    };
    const first = chunk(1, NOON);
    // After a power cut, the clock said a time that was over; later in the stream it became right.
    const unsure = {
      streamId: "second",
      isClockSynchronized: false,
      previousChunkId: first.name?.key ?? "",
      gapCause: "machine_restarted",
    };
    const next = { streamId: "second", streamSample: 48_000 };
    for (const clockMs of [Date.UTC(2026, 0, 1), NOON - 3_600_000]) {
      await received(kind, [first, chunk(2, clockMs, unsure)], async (folder) => {
        const { code, missing, from } = await verdict(folder);
        assertEquals([code, missing], [0, [[0, "gap", "machine_restarted"]]]);
        assertEquals(from, "2026-11-23T12:00:00.000000Z");
      });
      const sure = chunk(3, NOON + 7_200_000, next);
      await received(kind, [first, chunk(2, clockMs, unsure), sure], async (folder) => {
        const { code, missing, to } = await verdict(folder);
        assertEquals([code, missing], [0, [[7198, "gap", "machine_restarted"]]]);
        assertEquals(to, "2026-11-23T14:00:01.000000Z");
      });
    }
  });

  Deno.test(`each fault that is planted among received chunks is named: a ${kind} of receive`, async () => {
    const uploads: Upload[] = [];
    const names = Object.keys(PLANTED);
    const deviceOf = (index: number) => `aaaaaaaa-0000-4000-8000-00000000000${index}`;
    const toFlip: string[] = [];
    for (const [index, { happens, lost = [], flipped }] of Object.values(PLANTED).entries()) {
      const till = new SimulatedTill({ deviceId: deviceOf(index) });
      till.start();
      happens(till);
      till.stop();
      for (const [at, { name, bytes }] of till.chunks.entries()) {
        if (lost.includes(at)) continue;
        const fields = { device_id: deviceOf(index) };
        uploads.push({ name, bytes: new Uint8Array(bytes), fields });
        if (at === flipped) toFlip.push(formatChunkName(name));
      }
    }
    await received(kind, uploads, async (folder, files) => {
      const damaged = files.filter((path) => toFlip.some((name) => path.endsWith(name)));
      for (const path of damaged) await flipBit(join(folder, path));
      const { code, devices, files: others } = await verdict(folder);
      assertEquals([code, others], [1, []]);
      for (const [index, name] of names.entries()) {
        const device = devices.find((one: { device_id: string }) =>
          one.device_id === deviceOf(index)
        );
        const found = device.missing.map((
          { seconds, why, cause }: { seconds: number; why: string; cause: string | null },
        ) => [why, cause, seconds]);
        const planted = PLANTED[name]?.missing ?? [];
        assertEquals(found.length, planted.length, `${name}: ${JSON.stringify(found)}`);
        for (const [at, [seconds, ...words]] of planted.entries()) {
          assertEquals(found[at].slice(0, 2), words, name);
          assertAlmostEquals(found[at][2], seconds, 0.3, name);
        }
        assertEquals(device.files.length, name === "a flipped bit" ? 1 : 0, name);
      }
    });
  });
}

Deno.test("what is still arriving at a receiver, and other hidden files, are passed over", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    await till.deliver(folder, (index) => index < 4);
    const hidden = [
      ".incoming/5f0c3b1e-0000-4000-8000-000000000000.part",
      `.x.ogg.Ab3dEf`,
      ".x.ogg",
    ];
    await Deno.mkdir(join(folder, ".incoming"));
    for (const name of hidden) {
      await Deno.writeFile(
        join(folder, name),
        till.chunks[4]?.bytes.slice(0, 1900) ?? new Uint8Array(0),
      );
    }
    const { code, files, fileFaults, missing } = await verdict(folder);
    assertEquals([code, files, fileFaults, missing], [0, [], [], []]);
    // The folder that is named is read, whatever its name.
    const named = await verdict(join(folder, ".incoming"));
    assertEquals(named.fileFaults.length, 1);
  });
});

Deno.test("a chunk that is renamed, deleted or added while the others are read is neither missing nor damaged", async () => {
  await withFolder(async (folder) => {
    const till = recorded(28);
    till.stop();
    const [kept, renamed] = [join(folder, "2026-11-23"), join(folder, "2026-01-01")];
    await till.deliver(kept, (index) => index < 3);
    await till.deliver(renamed, (index) => index === 3 || index === 4);
    const [, , , early, late, added] = till.chunks.map(({ name }) => formatChunkName(name));
    let reads = 0;
    const onRead = () => {
      if (reads++ !== 1) return;
      // One that was read already, one that will be, and the folder of both.
      for (const name of [early, late]) {
        Deno.renameSync(join(renamed, name ?? ""), join(kept, name ?? ""));
      }
      Deno.removeSync(renamed);
      Deno.writeFileSync(join(kept, added ?? ""), till.chunks[5]?.bytes ?? new Uint8Array(0));
    };
    const { chunks, others } = await readChunks([folder, renamed], onRead);
    assertEquals(others, []);
    const names = chunks.map(({ file }) => file);
    assertEquals(names, till.chunks.map(({ name }) => join(kept, formatChunkName(name))));
  });
});

Deno.test("sound of two machines with one device_id is not complete, and both are named", async () => {
  await withFolder(async (folder) => {
    const NOON = Date.UTC(2026, 10, 23, 12);
    const tills = [0, 7000].map((afterMs) => {
      const till = new SimulatedTill({ startUnixMs: NOON + afterMs });
      till.start();
      till.hear(11);
      till.stop();
      return till;
    });
    for (const till of tills) await till.deliver(folder);
    const { code, complete, missing, devices } = await verdict(folder);
    assertEquals([code, complete, missing], [1, false, []]);
    const [double, ...more] = devices[0].times;
    const nameOf = (till: number, index: number) => {
      const name = tills[till]?.chunks[index]?.name;
      return join(folder, name === undefined ? "" : formatChunkName(name));
    };
    // The second chunk of the first till has the sound of 5 to 10 s.
    const { start, file, other } = double;
    assertEquals([double.double, file, other, more], [true, nameOf(1, 0), nameOf(0, 1), []]);
    assertEquals(start, "2026-11-23T12:00:07.000000Z");
    const said: string[] = [];
    const options = { paths: [folder], device: undefined, zone: "UTC", json: false };
    await runVerify({ ...options, print: (text) => said.push(text) });
    assert(
      said.some((line) => line.includes(`two recordings have this time: ${other} and ${file}`)),
    );
    assert(said.includes("✘ not complete"));
  });
});

Deno.test("a clock that was set within a stream is told, and the sound is complete", async () => {
  await withFolder(async (folder) => {
    const till = recorded(16);
    till.stop();
    for (const { bytes } of till.chunks.slice(2)) {
      const tags = readChunkHeader(bytes)?.tags ?? {};
      const startUnixUs = (parseUtc(tags["START"] ?? "") ?? 0) + 3_600_000_000;
      bytes.set(withTags(bytes, { ...tags, START: formatUtc(startUnixUs) }) ?? []);
    }
    await till.deliver(folder);
    const { code, missing, devices } = await verdict(folder);
    assertEquals([code, missing], [0, []]);
    const [{ start, differs_seconds, double }, ...more] = devices[0].times;
    assertEquals([differs_seconds, double, more], [3600, false, []]);
    assert(start.startsWith("2026-11-23T13:00:09.99"), start);
    const said: string[] = [];
    const options = { paths: [folder], device: undefined, zone: "UTC", json: false };
    await runVerify({ ...options, print: (text) => said.push(text) });
    const told = "from here on the time is 3600.000 s later than the sound before it says";
    assert(
      said.some((line) => line.startsWith("  - 2026-11-23 13:00:09.99") && line.endsWith(told)),
    );
  });
});

async function flipBit(path: string): Promise<void> {
  const bytes = await Deno.readFile(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await Deno.writeFile(path, bytes);
}

Deno.test("a digest in SHA256SUMS is compared with the file", async () => {
  await withFolder(async (folder) => {
    const till = recorded(11);
    till.stop();
    await till.deliver(folder);
    const [first, second] = till.chunks.map(({ name }) => formatChunkName(name));
    const sum = async (name = "") =>
      new Uint8Array(
        await crypto.subtle.digest("SHA-256", await Deno.readFile(join(folder, name))),
      ).toHex();
    const lines = `${await sum(first)}  ${first}\n${await sum(first)}  ${second}\n`;
    await Deno.writeTextFile(join(folder, "SHA256SUMS"), lines);
    const { code, files } = await verdict(folder);
    assertEquals(code, 1);
    assertEquals(files, [{
      file: join(folder, second ?? ""),
      reason: "has not the digest in SHA256SUMS",
    }]);
  });
});

Deno.test("files that are not chunks are named, each with what it is", async () => {
  await withFolder(async (folder) => {
    const till = recorded(6);
    till.stop();
    await till.deliver(folder);
    await Deno.writeTextFile(join(folder, "notes.txt"), "not looked at");
    await Deno.writeTextFile(join(folder, "song.ogg"), "not Ogg");
    await Deno.writeFile(join(folder, "empty.opus"), new Uint8Array(0));
    const { code, files, complete } = await verdict(folder);
    assertEquals([code, complete], [1, false]);
    assertEquals(files.map(({ reason }: { reason: string }) => reason), [
      "is not an Ogg/Opus file that can be read",
      "is not an Ogg/Opus file that can be read",
    ]);
  });
});

Deno.test("chunks of an older release are placed by their names, and do not say why sound is missing", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    for (const [index, { name, bytes }] of till.chunks.entries()) {
      const { DEVICE_ID = "", CHUNK_ID = "", STREAM_ID = "", STREAM_SAMPLE = "" } =
        readChunkHeader(bytes)?.tags ?? {};
      bytes.set(withTags(bytes, { DEVICE_ID, CHUNK_ID, STREAM_ID, STREAM_SAMPLE }) ?? []);
      if (index !== 2) await Deno.writeFile(join(folder, formatChunkName(name)), bytes);
    }
    const { code, missing, from } = await verdict(folder);
    assertEquals([code, missing], [1, [[5, "unknown", null]]]);
    assert(from.startsWith("2026-11-23T12:00:00"));
    for (const [index, { name }] of [...Deno.readDirSync(folder)].entries()) {
      await Deno.rename(join(folder, name), join(folder, `${index}.ogg`));
    }
    const unnamed = await verdict(folder);
    assertEquals(unnamed.code, 1);
    assertEquals(unnamed.fileFaults.map(({ reason }: { reason: string }) => reason), [
      ...Array(4).fill("tells no time, neither in a tag START nor in its name"),
    ]);
  });
});

Deno.test("a chunk of which only the id could be read is one of the device in whose folder it is", async () => {
  await withFolder(async (folder) => {
    const other = "aaaaaaaa-0000-4000-8000-000000000000";
    for (const deviceId of [ids.deviceId, other]) {
      const till = new SimulatedTill({ deviceId });
      till.start();
      till.hear(8);
      till.stop();
      const { name, bytes } = till.chunks[1] ?? { name: null, bytes: new Uint8Array(0) };
      if (deviceId === other) bytes.set(withTags(bytes, { CHUNK_ID: name?.key ?? "" }) ?? []);
      await till.deliver(join(folder, deviceId));
    }
    const { code, devices } = await verdict(folder);
    assertEquals(code, 0);
    const found = devices.map((device: { device_id: string; chunks: number; seconds: number }) => [
      device.device_id,
      device.chunks,
      device.seconds,
    ]);
    assertEquals(found, [ids.deviceId, other].map((id) => [id, 2, 8 - 312 / 48_000]));
    // Or of the only device there is.
    const flat = join(folder, "flat");
    await Deno.rename(join(folder, other), flat);
    const { code: alone, devices: [device] } = await verdict(flat);
    assertEquals([alone, device.device_id, device.chunks], [0, other, 2]);
  });
});

Deno.test("each device has its own verdict, and one of them can be chosen", async () => {
  await withFolder(async (folder) => {
    const other = "aaaaaaaa-0000-4000-8000-000000000000";
    for (const deviceId of [undefined, other]) {
      const till = new SimulatedTill(deviceId === undefined ? {} : { deviceId });
      till.start();
      till.hear(11);
      till.stop();
      await till.deliver(folder, (index) => deviceId === undefined || index !== 1);
    }
    const both = await verdict(folder);
    assertEquals([both.devices.length, both.code], [2, 1]);
    const chosen = await verdict(folder, { device: other });
    assertEquals(chosen.devices.map(({ device_id }: { device_id: string }) => device_id), [other]);
  });
});

Deno.test("a person reads the same, in the zone that was asked for", async () => {
  await withFolder(async (folder) => {
    const till = recorded(23);
    till.stop();
    await till.deliver(folder, (index) => index !== 2);
    const said: string[] = [];
    const print = (text: string) => said.push(text);
    const options = { paths: [folder], device: undefined, json: false, print };
    assertEquals(await runVerify({ ...options, zone: "Europe/Berlin" }), 1);
    const text = said.join("\n");
    assert(text.includes("from 2026-11-23 13:00:00.0"), text);
    assert(text.includes("+01:00       5.000 s missing: recorded, and has not come yet"), text);
    assert(text.endsWith("✘ not complete"), text);
    said.length = 0;
    assertEquals(await runVerify({ ...options, zone: "Mars" }), 2);
    assertEquals(said, [
      "Cannot use --zone as it must be a time zone such as Europe/Berlin: current value is Mars",
    ]);
    said.length = 0;
    assertEquals(await runVerify({ ...options, paths: [join(folder, "nowhere")], zone: "UTC" }), 2);
    assert(said[0]?.startsWith(`Cannot read ${join(folder, "nowhere")}: `), said[0]);
  });
});
