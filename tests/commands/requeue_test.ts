// Requeueing refused chunks in real folders: what is listed, what moves, what stays, and how a running
// uploader reacts.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path/join";
import { type RequeueOptions, runRequeue } from "../../src/commands/requeue.ts";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { makeName } from "../fixtures/chunks.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { oldestIn, TempSpool, until } from "../fixtures/temp_spool.ts";
import { UploadRig } from "../fixtures/upload_rig.ts";

const REASON = {
  reason: `the server answered 422: {"error":"too short"}`,
  http_status: 422,
  rejected_at: "2026-11-23T09:00:01.234Z",
};

/** A spool with chunks of these minutes in rejected/. */
async function spoolWith(...minutes: number[]): Promise<{ temp: TempSpool; names: string[] }> {
  const temp = await TempSpool.open();
  for (const minute of minutes) {
    await temp.spool.reject(await temp.store("outbox", makeName(minute)), REASON);
  }
  return { temp, names: temp.files("rejected").filter((name) => name.endsWith(".ogg")) };
}

function keyOf(fileName = ""): string {
  return parseChunkName(fileName)?.key ?? "";
}

async function run(dir: string, options: Partial<RequeueOptions> = {}) {
  const lines: string[] = [];
  const code = await runRequeue({
    spoolDir: dir,
    all: false,
    wanted: [],
    dryRun: false,
    print: (text) => lines.push(text),
    ...options,
  });
  return { code, text: lines.join("\n") };
}

Deno.test("requeue lists the refused chunks with reasons, the other files, and the command to requeue", async () => {
  const { temp, names } = await spoolWith(2, 1);
  await using _ = temp;
  await Deno.writeTextFile(temp.spool.path("rejected", "broken.part"), "");
  await Deno.writeTextFile(temp.spool.path("rejected", "broken.part.reason.json"), "{}");
  const { code, text } = await run(temp.dir);
  const [head, first, second, , how, ...others] = text.split("\n");
  assertMatch(head ?? "", /^REFUSED AT +RECORDED AT +SECONDS +ANSWER +KEY +REASON$/);
  assertMatch(first ?? "", /^2026-11-23T09:00:01Z {2}2026-11-23T08:01:00Z {2}60\.0 +422 /);
  assertStringIncludes(first ?? "", `${keyOf(names[0])}  ${REASON.reason}`);
  assertStringIncludes(second ?? "", keyOf(names[1]));
  assertMatch(how ?? "", /^2 chunks in rejected\/.* recorder-agent requeue --all/);
  assertEquals(others, [
    "Not chunks; these files stay in rejected/:",
    "    broken.part",
    "    broken.part.reason.json",
  ]);
  assertEquals([code, temp.files("outbox"), temp.files("rejected").length], [0, [], 6]);
});

Deno.test("an empty rejected/ is reported, and is not a failure", async () => {
  await using temp = await TempSpool.open();
  const expected = { code: 0, text: "There are no chunks in rejected/." };
  assertEquals(await run(temp.dir), expected);
  assertEquals(await run(temp.dir, { all: true }), expected);
});

Deno.test("requeue --all requeues every chunk and deletes its reason; the rest stays", async () => {
  const { temp, names } = await spoolWith(1, 2, 3);
  await using _ = temp;
  await Deno.writeTextFile(temp.spool.path("rejected", "broken.part"), "");
  // A reason that a power cut left empty, and one that is missing.
  await Deno.writeTextFile(temp.spool.path("rejected", `${names[0]}.reason.json`), "");
  await Deno.remove(temp.spool.path("rejected", `${names[1]}.reason.json`));
  const { code, text } = await run(temp.dir, { all: true });
  assertEquals([code, temp.files("outbox"), temp.files("rejected")], [0, names, ["broken.part"]]);
  assertEquals(text.split("\n"), [
    `${names[0]}`,
    "    the reason is not known",
    `${names[1]}`,
    "    the reason is not known",
    `${names[2]}`,
    `    ${REASON.reason}`,
    "3 chunks moved to outbox/.",
    "Not chunks; these files stay in rejected/:",
    "    broken.part",
  ]);
});

Deno.test("chunks are named by key, name or path; --dry-run moves none", async () => {
  const { temp, names } = await spoolWith(1, 2, 3, 4);
  await using _ = temp;
  const [first = "", second = "", third = ""] = names;
  const wanted = [keyOf(first).toUpperCase(), second, join(temp.dir, "rejected", third)];
  const dry = await run(temp.dir, { wanted, dryRun: true });
  assertStringIncludes(dry.text, "3 chunks would be moved to outbox/.");
  assertEquals([dry.code, temp.files("outbox"), temp.files("rejected").length], [0, [], 8]);
  const { code, text } = await run(temp.dir, { wanted });
  assertStringIncludes(text, "3 chunks moved to outbox/.");
  assertEquals([code, temp.files("outbox")], [0, names.slice(0, 3)]);
  assertEquals(temp.files("rejected"), [names[3], `${names[3]}.reason.json`]);
});

Deno.test("an unknown key moves nothing, and the present chunks are listed", async () => {
  const { temp, names } = await spoolWith(1);
  await using _ = temp;
  const { code, text } = await run(temp.dir, { wanted: [keyOf(names[0]), "no-such-key"] });
  assertEquals([code, temp.files("outbox")], [1, []]);
  assertMatch(text, /^Nothing was moved because rejected\/ has no such chunk: no-such-key\n/);
  assertStringIncludes(text, keyOf(names[0]));
});

Deno.test("a chunk that is already in outbox/ stays in place, and the others move", async () => {
  const { temp, names } = await spoolWith(1, 2);
  await using _ = temp;
  await Deno.writeTextFile(temp.spool.path("outbox", names[0] ?? ""), "another");
  const { code, text } = await run(temp.dir, { all: true });
  assertEquals([code, temp.files("outbox")], [1, names]);
  assertEquals(temp.files("rejected"), [names[0], `${names[0]}.reason.json`]);
  assertStringIncludes(text, `Cannot requeue ${names[0]}: it is already in outbox/`);
});

Deno.test("a folder that is not a spool is an error that names it", async () => {
  const { code, text } = await run("/nonexistent/spool");
  assertEquals(code, 1);
  assertStringIncludes(text, "spool_dir /nonexistent/spool: it does not exist");
});

Deno.test({
  name: "chunks that root requeues still belong to the user of the service",
  ignore: Deno.uid() !== 0,
  async fn() {
    const { temp, names } = await spoolWith(1);
    await using _ = temp;
    await Deno.chown(temp.spool.path("rejected", names[0] ?? ""), 65534, 65534);
    await run(temp.dir, { all: true });
    const { uid, gid } = await Deno.lstat(temp.spool.path("outbox", names[0] ?? ""));
    assertEquals([uid, gid], [65534, 65534]);
  },
});

Deno.test({
  name: "what the owner of the spool runs for root has no terminal, no variable, and commands none",
  ignore: Deno.uid() !== 0,
  async fn() {
    const { temp } = await spoolWith(1);
    await using _ = temp;
    const dir = await Deno.makeTempDir();
    try {
      const executable = join(dir, "recorder-agent");
      const script = "#!/bin/sh\nread -r pid _ _ _ _ session _ < /proc/self/stat\n" +
        'echo "session of its own: $((pid == session))"\ntr "\\0" "\\n" < /proc/$$/environ\n' +
        `printf '\\033]0;title\\007'\nhead -c 200000 /dev/zero | tr '\\0' x\nexit 3\n`;
      await Deno.writeTextFile(executable, script);
      for (const path of [dir, executable]) await Deno.chmod(path, 0o755);
      for (const sub of ["", "rejected"]) await Deno.chown(join(temp.dir, sub), 65534, 65534);
      const { code, text } = await run(temp.dir, { all: true, executable });
      assertEquals(code, 3);
      assertMatch(text, /^session of its own: 1\n\uFFFD]0;title\uFFFDx/);
      assertEquals(text.match(/x/g)?.length, 200_000);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});

// ---- beside a running uploader

Deno.test("a running uploader notices within 10 s, keeps the key, and the counters balance", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 9));
  await using rig = await UploadRig.start([], { clock, refused: [0, 1, 2] });
  await until(() => clock.sleepers === 1);
  const { unaccounted_s: unaccounted, carried_over_s: before } = rig.report.ledger;
  const refusedKeys = rig.temp.files("rejected").filter((name) => name.endsWith(".ogg")).map(keyOf);
  await run(rig.temp.dir, { wanted: refusedKeys.slice(0, 2) });
  await clock.advance(10_000);
  await rig.delivered(2);
  assertEquals(rig.server.chunks.map(({ key }) => key), refusedKeys.slice(0, 2));
  const { tally } = rig.temp.spool;
  assertEquals([tally.outbox, tally.rejected.files, tally.uploaded.files], [
    { files: 0, bytes: 0, durationUs: 0 },
    1,
    2,
  ]);
  const { ledger } = rig.report;
  assertAlmostEquals(ledger.carried_over_s - before, 119.987, 1e-6);
  assertEquals(ledger.delivered_s, 119.987);
  assertEquals(ledger.unaccounted_s, unaccounted);
  assertEquals(rig.problems, ["chunks_rejected"]);

  await until(() => clock.sleepers === 1);
  await run(rig.temp.dir, { all: true });
  await clock.advance(10_000);
  await rig.delivered(3);
  assertEquals([rig.problems, rig.report.ledger.unaccounted_s], [[], unaccounted]);
});

Deno.test("a requeued chunk is refused again when another is accepted, with a new reason", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 9));
  await using rig = await UploadRig.start([0, 1], { clock });
  const key = keyOf(rig.refuse(0, { kind: "status", status: 422 }));
  await until(() => rig.report.chunks_rejected_total === 1 && clock.sleepers === 1);
  rig.server.byKey.set(key, { kind: "status", status: 413 });
  await run(rig.temp.dir, { all: true });
  await clock.advance(10_000);
  await rig.requests(6);
  assertEquals(rig.report.chunks_rejected_total, 1);
  await rig.put(2);
  await until(() => rig.report.chunks_rejected_total === 2);
  const { text } = await run(rig.temp.dir);
  assertMatch(text, /\b413 /);
});

Deno.test("requeued chunks are delivered before newer ones", async () => {
  const { temp } = await spoolWith(1);
  await using _ = temp;
  for (let minute = 5; minute < 15; minute++) await temp.store("outbox", makeName(minute));
  await temp.spool.noticeReturned();
  assert(parseChunkName(await oldestIn(temp.spool, "outbox") ?? "") !== null); // the spool has the names in memory
  await new Promise((resolve) => setTimeout(resolve, 5)); // file systems have coarse timestamps
  await run(temp.dir, { all: true });
  await temp.spool.noticeReturned();
  assertEquals(await oldestIn(temp.spool, "outbox"), temp.files("outbox")[0]);
  assertEquals([temp.spool.tally.outbox.files, temp.spool.tally.rejected.files], [11, 0]);
});
