// Every row of the table of answers in docs/reference/protocol.md, end to end: the answer of a real
// server, what happens to the chunk, what is logged, and when the next request follows.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Behaviour } from "../fixtures/ingest_server.ts";
import { REQUEST_ROUNDS, settled } from "../fixtures/settled.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { until } from "../fixtures/temp_spool.ts";
import { TOKEN, UploadRig } from "../fixtures/upload_rig.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);
const RETRY_MAX_MS = 300_000;

function status(status: number, body?: string, headers?: Record<string, string>): Behaviour {
  return {
    kind: "status",
    status,
    ...(body === undefined ? {} : { body }),
    ...(headers === undefined ? {} : { headers }),
  };
}

Deno.test("409 with a chunk_id is a delivery", async () => {
  await using rig = await UploadRig.start([0, 1], {
    behaviour: status(409, `{"status":"duplicate","chunk_id":"c-1"}`),
  });
  await rig.delivered(2);
  assertEquals([rig.server.requests.length, rig.report.upload_errors_total, rig.problems], [
    2,
    0,
    [],
  ]);
});

const passing: [what: string, Behaviour][] = [
  ...[408, 409, 425, 429, 500, 502, 503, 504, 507, 201, 202].map((code) =>
    [`${code}`, status(code)] as [string, Behaviour]
  ),
  ["a captive portal's page", { kind: "html200" }],
  ["half an answer", { kind: "broken-json" }],
  ["a connection cut before the body", { kind: "reset-before-body" }],
  ["a connection cut after the body", { kind: "accept-then-reset" }],
];

for (const [what, behaviour] of passing) {
  Deno.test(`after ${what} the same chunk is sent again under the same key`, async () => {
    await using rig = await UploadRig.start([]);
    rig.server.script.push(behaviour);
    await rig.put(0);
    await rig.delivered(1);
    const [first, second, ...more] = rig.server.requests.map(({ key }) => key);
    assertEquals([first, more], [second, []]);
    assertEquals([rig.report.upload_errors_total, rig.problems], [1, []]);
    assertEquals(rig.said("WARNING").length, 2); // one at the begin, one at the end
  });
}

const misconfigurations: [what: string, Behaviour][] = [
  ["401", status(401)],
  ["403", status(403)],
  ["404", status(404, "<html>nginx</html>")],
  ["a redirect", { kind: "redirect", location: "https://elsewhere.invalid/" }],
  ["405", status(405)],
];

for (const [what, behaviour] of misconfigurations) {
  Deno.test(`${what} stops the sending: all chunks stay, one problem, one probe every retry_max_s`, async () => {
    const clock = new SimulatedClock(START_MS);
    const options = { clock, behaviour, retryMaxMs: RETRY_MAX_MS };
    await using rig = await UploadRig.start([0, 1, 2], options);
    for (let probe = 1; probe <= 10; probe++) {
      await until(() => rig.report.upload_errors_total === probe && clock.sleepers === 1);
      assertEquals([rig.server.requests.length, rig.report.queue_size], [probe, 3]);
      assertEquals([rig.problems, rig.report.status], [["upload_misconfigured"], "degraded"]);
      if (probe === 10) rig.server.behaviour = { kind: "ok" };
      await clock.advance(RETRY_MAX_MS);
    }
    await rig.delivered(3);
    const [begins, ends, ...more] = rig.lines("WARNING");
    assertStringIncludes(String(begins?.message), "Nothing can be delivered with these settings: ");
    const { message, failed_attempts, lasted_s } = ends ?? {};
    assertEquals(message, "Resolved after 3000 s: upload_misconfigured.");
    assertEquals([failed_attempts, lasted_s], [10, 3000]);
    assertEquals([more, rig.problems, rig.temp.files("rejected")], [[], [], []]);
  });
}

for (const code of [201, 202]) {
  Deno.test(`${code} with status ok and a chunk_id is a delivery`, async () => {
    await using rig = await UploadRig.start([0, 1], {
      behaviour: status(code, `{"status":"ok","chunk_id":"c-1"}`),
    });
    await rig.delivered(2);
    assertEquals([rig.server.requests.length, rig.problems], [2, []]);
  });
}

for (const code of [400, 413, 415, 422]) {
  Deno.test(`${code} to one chunk while another is accepted: after three tries it is in rejected/ with the answer`, async () => {
    await using rig = await UploadRig.start([0, 1]);
    const body = `{"error": "no", "you_sent": "Bearer ${TOKEN}", "rest": "${"x".repeat(5000)}"}`;
    const name = rig.refuse(0, status(code, body));
    await rig.delivered(1);
    await until(() => rig.said("ERROR").length === 1);
    assertEquals(rig.server.requests.length, 4);
    const path = rig.temp.spool.path("rejected", `${name}.reason.json`);
    const text = await Deno.readTextFile(path);
    const { http_status, attempts, answer } = JSON.parse(text);
    assertEquals([http_status, attempts, answer.length], [code, 3, 2000]);
    assertStringIncludes(answer, `"Bearer [token]"`);
    assert(!text.includes(TOKEN), text);
    assertEquals(rig.lines("WARNING").map((line) => line.code), ["chunks_rejected"]);
    assertEquals(rig.said("ERROR").length, 1);
  });

  Deno.test(`${code} to everything for long: all stay, in order, and are delivered when it ends`, async () => {
    const behaviour = status(code, `{"error":"no"}`);
    const options = { behaviour, concurrency: 1, retryMaxMs: 3 };
    await using rig = await UploadRig.start([...Array(12).keys()], options);
    await rig.requests(code === 413 ? 60 : 20); // one that counts is rejected after three
    const { problems, queue_size, chunks_rejected, chunks_rejected_total } = rig.report;
    assertEquals([queue_size, chunks_rejected, chunks_rejected_total], [12, 0, 0]);
    assertEquals(problems.map(({ code }) => code), ["upload_failing"]);
    assertStringIncludes(problems[0]?.message ?? "", `the server answered ${code}: {"error":"no"}`);
    assert((problems[0]?.retry_at ?? 0) > (problems[0]?.since ?? 0));
    if (code === 413) {
      assertStringIncludes(problems[0]?.message ?? "", "of 1 kB is too large");
      assertStringIncludes(problems[0]?.message ?? "", "client_max_body_size");
    }
    rig.server.behaviour = { kind: "ok" };
    await rig.delivered(12);
    assertEquals([rig.problems, rig.temp.files("rejected"), rig.server.duplicates], [[], [], 0]);
    // The chunk that the server accepts first may be the one that was sent in place of the oldest.
    const times = rig.server.chunks.map(({ fields }) => Number(fields.start_ts));
    assertEquals(times.slice(2), times.slice(2).toSorted());
    assertEquals(rig.lines("WARNING").length, 2); // the beginning and the end
    assertEquals(rig.lines("ERROR"), []);
  });
}

// The local clock of these tests shows 2026; the clock of the server must not matter.
const DATE_1994 = "Sun, 06 Nov 1994 08:49:37 GMT";
const waits: [retryAfter: string, date: string | null, waitS: number][] = [
  ["90", null, 90],
  ["Sun, 06 Nov 1994 08:50:07 GMT", DATE_1994, 30],
  ["Sunday, 06-Nov-94 08:50:07 GMT", DATE_1994, 30],
  ["Sun, 06 Nov 2094 08:49:37 GMT", DATE_1994, 3600],
  ["Sun, 06 Nov 1994 08:00:00 GMT", DATE_1994, 0],
  ["0", null, 0],
  ["-90", null, 0],
  ["in a while", DATE_1994, 0],
];

for (const code of [429, 503]) {
  for (const [retryAfter, date, waitS] of waits) {
    const by = date === null ? "" : ` by a server in ${date.slice(12, 16)}`;
    Deno.test(`${code} with Retry-After "${retryAfter}"${by} means exactly ${waitS} s`, async () => {
      const clock = new SimulatedClock(START_MS);
      await using rig = await UploadRig.start([], { clock });
      const headers = { "retry-after": retryAfter, ...(date === null ? {} : { date }) };
      rig.server.script.push(status(code, "", headers));
      await rig.put(0);
      if (waitS > 0) {
        await until(() => clock.sleepers === 1 && rig.report.upload_errors_total === 1);
        await clock.advance(waitS * 1000 - 1);
        await settled(REQUEST_ROUNDS);
        assertEquals(rig.server.requests.length, 1);
        await clock.advance(1);
      }
      await rig.delivered(1);
    });
  }
}
