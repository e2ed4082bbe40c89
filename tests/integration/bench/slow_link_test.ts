// The simulated link of the benchmark of delivery: its latency must be as stated.

import { assert, assertEquals } from "@std/assert";
import { SlowLink } from "../../../bench/slow_link.ts";
import { rawServer } from "../../fixtures/tcp_server.ts";

const ROUND_TRIP_MS = 60;

Deno.test("a slow link takes a round trip for a connect and one for each answer, and loses nothing", async () => {
  await using server = rawServer(async (connection) => {
    const buffer = new Uint8Array(65_536);
    for (let size; (size = await connection.read(buffer)) !== null;) {
      for (let at = 0; at < size;) at += await connection.write(buffer.subarray(at, size));
    }
  });
  await using link = await SlowLink.start(Number(new URL(server.url).port), ROUND_TRIP_MS);
  const sent = crypto.getRandomValues(new Uint8Array(60_000));
  const tookMs: number[] = [];
  let startedMs = performance.now();
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: link.port });
  for (let turn = 0; turn < 4; turn++) {
    const back = new Uint8Array(sent.length);
    for (let at = 0; at < sent.length;) at += await connection.write(sent.subarray(at));
    for (let at = 0; at < back.length;) at += await connection.read(back.subarray(at)) ?? NaN;
    tookMs.push(performance.now() - startedMs);
    assertEquals(back, sent);
    startedMs = performance.now();
  }
  const [first = NaN, ...later] = tookMs;
  // Not a millisecond less; how much more depends on the machine.
  assert(first >= 2 * ROUND_TRIP_MS, `${first} ms`);
  for (const ms of later) assert(ms >= ROUND_TRIP_MS, `${ms} ms`);
  assert(Math.min(...later) < 2 * ROUND_TRIP_MS, `${later} ms`);
});
