// The real program on a spool with files of a size that no chunk and no note has.

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { join } from "@std/path/join";
import { formatChunkName, formatPartName } from "../../../src/chunk/chunk_name.ts";
import { AgentProcess } from "../../fixtures/agent_process.ts";
import { IngestServer } from "../../fixtures/ingest_server.ts";
import { makePacket, makeStreamPages } from "../../fixtures/ogg_stream.ts";
import { seededRandom } from "../../fixtures/random.ts";
import { chunkAt } from "../../fixtures/temp_spool.ts";
import { until } from "../../fixtures/sockets.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

/** The most memory that a process ever had, MB. */
async function peakMb(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1000;
}

/** A file with these bytes at its start that takes no more space on the disk. */
async function makeSparse(path: string, sizeBytes: number, start = new Uint8Array(0)) {
  await Deno.writeFile(path, start);
  await Deno.truncate(path, sizeBytes);
}

Deno.test("files of any size in the spool cost neither memory nor the start, and no sound", async () => {
  const dir = await Deno.makeTempDir({ prefix: "large-files-test-" });
  await using ingest = await IngestServer.start({ token: "a-token" });
  try {
    const spool = join(dir, "spool");
    for (const sub of ["recording", "outbox", "rejected", "uploaded"]) {
      await Deno.mkdir(join(spool, sub), { recursive: true, mode: 0o700 });
    }
    const random = seededRandom(3);
    const packets = Array.from({ length: 50 }, () => makePacket(60, random));
    const sound = new Uint8Array(makeStreamPages(packets).flatMap((page) => [...page]));
    const names = [0, 1, 2, 3].map((minute) => chunkAt(NOON + minute * 60_000));
    const [cut, zeros, huge, refused] = names;
    assert(cut && zeros && huge && refused);
    await makeSparse(join(spool, "recording", formatPartName(cut)), 600e6, sound);
    await makeSparse(join(spool, "recording", formatPartName(zeros)), 600e6);
    await makeSparse(join(spool, "outbox", formatChunkName(huge)), 1.5e9, sound);
    const rejected = join(spool, "rejected", formatChunkName(refused));
    await Deno.writeFile(rejected, sound);
    await makeSparse(`${rejected}.reason.json`, 600e6);
    await makeSparse(join(spool, "gaps.jsonl"), 600e6);
    await makeSparse(join(spool, "microphone.json"), 600e6);
    await using agent = await AgentProcess.start({
      dir,
      config: {
        ...{ ingest_base_url: ingest.url, ingest_token: "a-token", spool_dir: spool },
        ...{ audio_device: "usb:9-9", retry_min_s: 0.1, retry_max_s: 0.1, max_spool_days: 100_000 },
        ...{ schedule_start: "00:00", schedule_end: "00:00", min_free_gb: 0 },
      },
    });
    const startedMs = performance.now();
    await agent.said("Health is at");
    assertLessOrEqual(performance.now() - startedMs, 20_000);
    await until("the sound arrives", () => ingest.chunks.length === 1); // the sound before 600 MB of zeros
    assertEquals(ingest.chunks[0]?.headers["idempotency-key"], cut.key);
    const isThere = (name: string) => {
      return [...Deno.readDirSync(join(spool, "rejected"))].some((entry) => entry.name === name);
    };
    await until(
      "all is set aside",
      () => isThere(formatChunkName(huge)) && isThere(formatPartName(zeros)),
    );
    const peak = await peakMb(agent.pid);
    assertLessOrEqual(peak, 160);
    assertEquals(await agent.end("SIGTERM"), 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
