// Several requests in flight over a network that takes real time.

import { assert, assertEquals } from "@std/assert";
import type { IngestServer } from "../../fixtures/ingest_server.ts";
import { UploadRig } from "../../fixtures/upload_rig.ts";

/** How many newer chunks were accepted before a chunk, for the chunk where that were most. */
function mostAhead(server: IngestServer): number {
  const times = server.chunks.map(({ fields }) => Number(fields.start_ts));
  const ahead = times.map((time, at) => times.slice(0, at).filter((other) => other > time).length);
  return Math.max(...ahead);
}

Deno.test("over a network with 100 ms ± 5 ms delay, requests overlap and no chunk is more than three ahead", async () => {
  await using rig = await UploadRig.start();
  rig.server.behaviour = { kind: "status", status: 500 };
  rig.server.connectMs = 150;
  for (let minute = 0; minute < 30; minute++) await rig.put(minute);
  for (let request = 0; request < 60; request++) {
    rig.server.script.push({ kind: "late", ms: 95 + 10 * Math.random() });
  }
  await rig.delivered(30);
  const { server } = rig;
  assertEquals([server.duplicates, server.violations], [0, []]);
  // Four are in flight at a time. On an idle machine, their even intervals keep them in order.
  assert(mostAhead(server) <= 3, `${server.chunks.map(({ fields }) => fields.start_ts)}`);
  assert(server.connections >= 2 && server.connections < 30, `${server.connections} connections`);
});
