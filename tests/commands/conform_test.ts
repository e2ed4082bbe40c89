// `conform` against the receiver, which has no fault, and against servers that have one each: it is named.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../src/commands/command_line.ts";
import { runConform } from "../../src/commands/conform.ts";
import type { ConformTarget } from "../../src/commands/conform_bench.ts";
import { conform, CONFORM_TESTS } from "../../src/commands/conform_tests.ts";
import { type Fault, FAULTS, faultyServer } from "../fixtures/faulty_server.ts";
import { startReceiver, TOKEN } from "../fixtures/receive_rig.ts";

function target(url: string): ConformTarget {
  const [point_id, register_id, device_id] = [1, 2, 3].map(() => crypto.randomUUID() as string);
  const ids = {
    point_id: point_id ?? "",
    register_id: register_id ?? "",
    device_id: device_id ?? "",
  };
  return {
    url: new URL(url),
    token: TOKEN,
    caCerts: [],
    ids,
    slowMs: 600,
    largeSeconds: 2,
    patienceMs: 300,
  };
}

/** Servers whose early answers end; with the others nobody has to wait for long. */
const STORES_SLOWLY: readonly Fault[] = [
  ...["503 while it stores", "409 while it stores", "429 for every third request"] as const,
];

/** What each fault is found as. */
const FOUND: Record<Fault, readonly string[]> = {
  "none": [],
  "answers 201": ["failed one chunk"],
  "answers text": ["failed one chunk"],
  "has no chunk_id": ["warning one chunk"],
  "one id for each device": ["warning other bytes", "failed two chunks"],
  "one id for each second of a device": [
    ...["warning other bytes", "warning true time", "failed two chunks"],
  ],
  // Form fields alone tell its chunks apart: it must always work.
  "one id for each time of a device": [
    ...["warning other bytes", "warning true time", "warning two chunks"],
  ],
  "a new id for each upload": [
    ...["warning repeated", "warning lost answer", "warning cut upload", "warning parallel"],
    "warning true time",
  ],
  "503 while it stores": [],
  "409 while it stores": [],
  "429 for every third request": [],
  "500 for what it has": [
    ...["failed repeated", "failed lost answer", "failed cut upload", "failed parallel"],
    "failed true time",
  ],
  "409 without an id for what it has": [
    ...["failed repeated", "failed lost answer", "failed cut upload", "failed parallel"],
    "failed true time",
  ],
  "a race between duplicates": ["failed parallel"],
  "keeps the key of a cut upload": [
    ...["failed repeated", "failed lost answer", "failed cut upload", "failed parallel"],
    ...["failed other bytes", "failed true time"],
  ],
  "refuses what is older": ["failed order"],
  "knows only Unix seconds": ["warning iso 8601"],
  "refuses more than 1 MB": ["failed large chunk"],
  "has no patience for a body": ["failed slow body"],
  "closes each connection": ["warning keep-alive"],
  "ignores digests and bytes": ["warning other bytes", "warning digest"],
  "no authentication": ["failed wrong token", "failed no token"],
  "400 for a wrong token": ["failed wrong token", "failed no token"],
  "500 for what is malformed": [
    ...["failed digest", "failed missing field", "failed wrong id", "failed wrong time"],
    ...["failed no file", "failed malformed form"],
  ],
  "accepts what is malformed": [
    ...["failed missing field", "failed wrong id", "failed wrong time", "failed no file"],
    "failed malformed form",
  ],
};

Deno.test("the receiver passes every test", async () => {
  await using rig = await startReceiver();
  const findings = await conform(target(`http://127.0.0.1:${rig.port}`));
  assertEquals(findings.filter(({ verdict }) => verdict !== "ok"), []);
  assertEquals(findings.map(({ name }) => name), [...CONFORM_TESTS]);
  assertEquals(rig.files().filter((path) => path.startsWith(".incoming")), []);
});

Deno.test("a server with one fault fails the tests of that fault, and no other", async () => {
  await Promise.all(FAULTS.map(async (fault) => {
    await using server = faultyServer(fault, TOKEN);
    const largeSeconds = fault === "refuses more than 1 MB" ? 40 : 2;
    const patience = STORES_SLOWLY.includes(fault) ? { patienceMs: 30_000 } : {};
    const findings = await conform({ ...target(server.url), largeSeconds, ...patience });
    const bad = findings.filter(({ verdict }) => verdict === "failed" || verdict === "warning");
    const said = bad.map(({ name, verdict }) => `${verdict} ${name}`);
    assertEquals(said, [...FOUND[fault]], `${fault}: ${JSON.stringify(bad)}`);
    for (const { fix } of bad) assert(fix);
    assert(!JSON.stringify(findings).includes(TOKEN));
  }));
});

Deno.test("conform prints a line per test with the fix, and says what the server keeps", async () => {
  await using server = faultyServer("no authentication", TOKEN);
  const lines: string[] = [];
  const device = crypto.randomUUID();
  const options = {
    ...{ operands: [server.url], tokenFile: undefined, tlsCa: undefined, slowMs: 100 },
    ...{ env: { RA_INGEST_TOKEN: TOKEN }, print: (text: string) => lines.push(text) },
  };
  const set = [`device_id=${device}`];
  assertEquals(await runConform({ ...options, set, json: false }), 1);
  const text = lines.join("\n");
  assertMatch(text, /keeps the test chunks of this device/);
  assert(text.includes(device));
  assertMatch(text, /✔ one chunk +accepted\n/);
  assertMatch(text, /✘ no token +accepted: anybody can deliver\n +→ Answer 401/);
  assertMatch(text, /2 failed\.$/);
  lines.length = 0;
  assertEquals(await runConform({ ...options, set, json: true }), 1);
  const { ok, checks } = JSON.parse(lines.join("\n"));
  assertEquals([ok, checks.length], [false, CONFORM_TESTS.length]);
});

Deno.test("conform of a server that does not answer makes one test, and of no URL none", async () => {
  const lines: string[] = [];
  const options = {
    ...{ tokenFile: undefined, tlsCa: undefined, set: [], json: false, slowMs: 100 },
    ...{ env: { RA_INGEST_TOKEN: TOKEN }, print: (text: string) => lines.push(text) },
  };
  assertEquals(await runConform({ ...options, operands: ["http://127.0.0.1:9"] }), 1);
  assertMatch(lines.join("\n"), /✘ one chunk .*refused[^]*tests were not made/i);
  for (const operands of [[], ["ingest"], ["ftp://a"], ["http://a", "http://b"]]) {
    await assertRejects(() => runConform({ ...options, operands }), UsageError, "one URL");
  }
  await assertRejects(
    () => runConform({ ...options, operands: ["http://a"], env: {} }),
    UsageError,
    "needs the token",
  );
  for (const set of [["device_id=x"], ["token=x"], ["x"]]) {
    await assertRejects(() => runConform({ ...options, operands: ["http://a"], set }), UsageError);
  }
});

Deno.test("conform reads answers within bounds: a server that never answers finally is told apart at once", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    using conn = await listener.accept();
    const interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(20);
    await conn.write(new TextEncoder().encode(interim));
    while (await conn.read(new Uint8Array(65_536)).catch(() => null) !== null);
  })();
  const url = `http://127.0.0.1:${listener.addr.port}`;
  const [first] = await conform(target(url), () => {});
  assertEquals(first?.verdict, "failed");
  assertMatch(first?.message ?? "", /only interim answers/);
  await serving;
});
