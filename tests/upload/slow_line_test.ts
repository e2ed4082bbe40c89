// How long the client waits for a slow line, and for one that is known to be fast. A chunk over a line that is slower
// than its size suggests (cases: 200 kB over 40 kbit/s, 2 MB over 200 kbit/s) is sent in proportion: the limits are
// those of the defaults divided by 40, and the line is 40 times as fast.

import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { IngestClient } from "../../src/upload/ingest_client.ts";
import { PUBLIC_TLS } from "../fixtures/public_tls.ts";
import { inMemory } from "../../src/upload/upload_file.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { rawServer } from "../fixtures/tcp_server.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { TOKEN } from "../fixtures/upload_rig.ts";

const FASTER = 40;

/** A line into a server that carries so many bytes a second, and takes whatever is sent at once. */
function slowLine(target: URL, bytesPerS: number) {
  return rawServer(async (client) => {
    const server = await Deno.connect({ hostname: target.hostname, port: Number(target.port) });
    const waiting: Uint8Array[] = [];
    let isOver = false;
    /** When the line has carried what it took: a busy machine makes it late, and never slower. */
    let freeMs = 0;
    const forward = async () => {
      while (!isOver || waiting.length > 0) {
        const bytes = waiting.shift();
        if (bytes === undefined) {
          await delay(2);
          continue;
        }
        freeMs = (freeMs || performance.now()) + bytes.length * 1000 / bytesPerS;
        await delay(Math.max(0, freeMs - performance.now()));
        for (let at = 0; at < bytes.length;) at += await server.write(bytes.subarray(at));
      }
      server.close();
    };
    const back = async () => {
      const buffer = new Uint8Array(4096);
      for (let size; (size = await server.read(buffer)) !== null;) {
        await client.write(buffer.subarray(0, size));
      }
    };
    const running = Promise.allSettled([forward(), back()]);
    const buffer = new Uint8Array(8192);
    try {
      for (let size; (size = await client.read(buffer)) !== null;) {
        waiting.push(buffer.slice(0, size));
      }
    } finally {
      isOver = true;
      await running;
    }
  });
}

const CASES: readonly (readonly [bytes: number, kbps: number, soundS: number, leastS: number])[] = [
  [200_000, 40, 60, 30],
  [2_000_000, 200, 600, 70],
];
for (const [bytes, kbps, soundS, leastS] of CASES) {
  Deno.test(`${bytes / 1000} kB over ${kbps} kbit/s arrive with the limits of the defaults, although nothing is seen to move`, async () => {
    await using server = await IngestServer.start({ token: TOKEN });
    await using line = slowLine(new URL(server.url), kbps * 125 * FASTER);
    using client = new IngestClient({
      ...{ baseUrl: line.url, ids, timestampFormat: "unix", tls: PUBLIC_TLS },
      readToken: () => Promise.resolve(TOKEN),
      timeoutMs: 30_000 / FASTER,
    });
    const name = { ...makeName(), durationUs: soundS * 1e6 / FASTER };
    const startMs = performance.now();
    const { signal } = new AbortController();
    const verdict = await client.upload(name, inMemory(new Uint8Array(bytes)), signal);
    assertEquals(verdict.kind, "delivered", JSON.stringify(verdict));
    assert(performance.now() - startMs > leastS * 1000 / FASTER, "the line was not slow");
    assertEquals(server.requests.length, 1);
  });
}

Deno.test("after a delivery over a fast line, the client does not wait for a silent server as long as on a slow line", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  const clock = new SimulatedClock(0);
  using client = new IngestClient({
    ...{ baseUrl: server.url, ids, timestampFormat: "unix", tls: PUBLIC_TLS, clock },
    readToken: () => Promise.resolve(TOKEN),
    timeoutMs: 30_000,
  });
  // On the slowest line that the client waits for, 4 kbit/s, 100 kB take 200 s.
  const upload = (minute: number) =>
    client.upload(
      { ...makeName(minute), durationUs: 600e6 },
      inMemory(new Uint8Array(100_000)),
      new AbortController().signal,
    );
  assertEquals((await upload(0)).kind, "delivered");
  server.behaviour = { kind: "silence" };
  let second = "";
  const end = upload(1).then(({ kind }) => second = kind, (error) => second = String(error));
  await server.waitUntil(({ requests }) => requests.length === 2, 60_000);
  await clock.advanceUntil("gives up", () => second !== "", 100_000);
  assertEquals(await end, "retry");
});
