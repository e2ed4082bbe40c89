// Several requests in flight, against a server that answers when the test says so: when requests start
// and when answers are acted on, and what a failure in the middle, a stop, the janitor and the disk do to
// the others. Chunks are letters in the order of time; digits are the chunks that open the window.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type ChunkName, parseChunkName } from "../../src/chunk/chunk_name.ts";
import { Status } from "../../src/status/status.ts";
import type { UploadFile } from "../../src/upload/upload_file.ts";
import type { Verdict } from "../../src/upload/verdict.ts";
import { Uploader, type UploaderOptions } from "../../src/upload/uploader.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import { settled } from "../fixtures/settled.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { byHand, capturedLog, TempSpool, until } from "../fixtures/temp_spool.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);
const RETRY_MAX_MS = 300_000;
const MIB = 1024 * 1024;
const OK: Verdict = { kind: "delivered", chunkId: "c" };
const BROKEN: Verdict = { kind: "retry", reason: "500", retryAfterMs: null };
const LATER: Verdict = { kind: "retry", reason: "429", retryAfterMs: 60_000 };
const REFUSED: Verdict = { kind: "refused", status: 422, reason: "422" };
const FORBIDDEN: Verdict = { kind: "misconfigured", reason: "401" };

function letterOf({ startUnixUs }: Pick<ChunkName, "startUnixUs">): string {
  return "0123abcdefghijklmnopqrstuvwxyz"[(startUnixUs - makeName(-4).startUnixUs) / 60e6] ?? "?";
}

/** An uploader, and a server whose answers the test decides. */
class HeldRig implements AsyncDisposable {
  readonly clock = new SimulatedClock(START_MS);
  readonly status = new Status({ ...ids, version: "1" }, this.clock);
  readonly uploader: Uploader;
  #sent = "";
  readonly #log = capturedLog();
  readonly #stop = new AbortController();
  readonly #open = new Map<string, (verdict: Verdict) => void>();
  readonly #ended: Promise<void>;

  private constructor(readonly temp: TempSpool, options: Partial<UploaderOptions>) {
    const upload = (name: ChunkName, file: UploadFile, signal: AbortSignal) => {
      file.close();
      const letter = letterOf(name);
      this.#sent += letter;
      const { promise, resolve, reject } = Promise.withResolvers<Verdict>();
      this.#open.set(letter, resolve);
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason));
      return promise;
    };
    const all = { retryMinMs: 0, retryMaxMs: RETRY_MAX_MS, concurrency: 4, ...options };
    const deps = { clock: this.clock, status: this.status, log: this.#log.log };
    this.uploader = new Uploader(temp.spool, { upload }, all, deps);
    this.#ended = this.uploader.run(this.#stop.signal);
  }

  /** `sizes` of the waiting chunks, bytes; the first of them is that of minute `first`. */
  static async start(
    sizes: readonly number[],
    options: Partial<UploaderOptions> = {},
    first = 0,
  ): Promise<HeldRig> {
    const temp = await TempSpool.open();
    for (const [index, size] of sizes.entries()) {
      await temp.store("outbox", makeName(first + index), size);
    }
    return new HeldRig(temp, options);
  }

  /** Twelve chunks wait, and the window is open: g, h, i and j are in flight, k and l are next. */
  static async open(options: Partial<UploaderOptions> = {}): Promise<HeldRig> {
    const rig = await HeldRig.start(Array(16).fill(100), options, -4);
    await rig.take("0", "12", "3ab", "cdef");
    await rig.inFlight("ghij");
    return rig;
  }

  /** Waits until these are in flight together, and accepts them. */
  async take(...rounds: string[]): Promise<void> {
    for (const letters of rounds) {
      await this.inFlight(letters);
      for (const letter of letters) this.answer(letter);
    }
  }

  /** All requests so far. */
  get sent(): string {
    return this.#sent.replace(/\d/g, "");
  }

  /** Requests without an answer, in the order in which they started. */
  get open(): string {
    return [...this.#open.keys()].join("");
  }

  /** Resolves when exactly these are in flight. */
  async inFlight(letters: string): Promise<void> {
    await until(() => this.open === letters).catch(() => {});
    await this.settle();
    assertEquals(this.open, letters);
  }

  answer(letter: string, verdict: Verdict = OK): void {
    const answer = this.#open.get(letter);
    assert(answer !== undefined, `${letter} is not in flight`);
    this.#open.delete(letter);
    answer(verdict);
  }

  async answerAll(letters: string, verdict: Verdict = OK): Promise<void> {
    for (const letter of letters) {
      await until(() => this.#open.has(letter));
      this.answer(letter, verdict);
    }
  }

  /** Gives pending work time to finish. */
  async settle(): Promise<void> {
    await settled(40);
  }

  files(dir: "outbox" | "uploaded" | "rejected"): string {
    return this.temp.files(dir).map(parseChunkName).filter((name) => name !== null).map(letterOf)
      .join("").replace(/\d/g, "");
  }

  fileName(letter: string): string {
    const name = ["outbox", "uploaded", "rejected"].flatMap((dir) =>
      this.temp.files(dir as "outbox")
    ).find((name) => letterOf(parseChunkName(name) ?? { startUnixUs: 0 }) === letter);
    return name ?? "";
  }

  /** Chunks in the order in which their delivery was logged. */
  get delivered(): string {
    return this.#log.lines.filter(({ message }) => message === "Delivered.")
      .map(({ chunk }) => letterOf(parseChunkName(String(chunk)) ?? { startUnixUs: 0 })).join("")
      .replace(/\d/g, "");
  }

  /** The number of delivered chunks, without digits. */
  get uploaded(): number {
    return this.report.uploaded_total - this.#sent.replace(/\D/g, "").length;
  }

  get report() {
    return this.status.report(this.temp.spool);
  }

  get problems(): string[] {
    return this.report.problems.map(({ code }) => code);
  }

  /** Stops the uploader. No request has a deadline here: the stop must end each of them. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    assertEquals([...this.temp.spool.sending], []);
    this.#log[Symbol.dispose]();
    await this.temp[Symbol.asyncDispose]();
  }
}

// ---- all is well

Deno.test("the first chunk is sent alone, then one more at a time; nothing waits behind a new connection", async () => {
  await using rig = await HeldRig.start(Array(14).fill(100));
  await rig.inFlight("a");
  rig.answer("a");
  await rig.inFlight("bc");
  rig.answer("b");
  await rig.inFlight("c");
  rig.answer("c");
  await rig.inFlight("def");
  await rig.answerAll("def");
  await rig.inFlight("ghij");
  rig.answer("g");
  await rig.inFlight("hij");
  await rig.answerAll("hij");
  await rig.inFlight("klmn");
  await rig.answerAll("klmn");
  await until(() => rig.delivered.length === 14);
  assertEquals([rig.sent, rig.delivered], ["abcdefghijklmn", "abcdefghijklmn"]);
});

Deno.test("with established connections, each answer for the oldest lets the next request start", async () => {
  await using rig = await HeldRig.start(Array(18).fill(100));
  await rig.take("a", "bc", "def", "ghij");
  await rig.inFlight("klmn");
  rig.answer("k");
  await rig.inFlight("lmno");
  rig.answer("l");
  await rig.inFlight("mnop");
});

Deno.test("a delivered chunk is no longer marked as being sent while others are in flight", async () => {
  await using rig = await HeldRig.open();
  await rig.answerAll("ghi");
  await rig.inFlight("jkl");
  const keys = [..."jkl"].map((letter) => parseChunkName(rig.fileName(letter))?.key ?? "");
  assertEquals([...rig.temp.spool.sending], keys);
});

Deno.test("the uploader sleeps until the next request is due, at even intervals of an answer's time", async () => {
  await using rig = await HeldRig.start(Array(18).fill(100));
  for (const letters of ["a", "bc", "def", "ghij"]) await rig.take(letters);
  await rig.inFlight("klmn");
  await rig.clock.advance(100);
  await rig.answerAll("klmn");
  for (const letters of ["o", "op"]) {
    await until(() => rig.open === letters && rig.clock.sleepers === 1);
    await rig.clock.advance(15);
    await rig.inFlight(letters);
    await rig.clock.advance(10); // a quarter of 100 ms, for a window of four
  }
  await rig.inFlight("opq");
});

Deno.test("an early answer waits for the older ones: chunks are moved, counted and logged in order", async () => {
  await using rig = await HeldRig.open();
  const { uploaded } = rig;
  for (const letter of "jih") rig.answer(letter);
  await rig.inFlight("g");
  assertEquals([rig.files("uploaded"), rig.uploaded], ["abcdef", uploaded]);
  assertEquals(rig.delivered, "abcdef");
  rig.answer("g");
  await until(() => rig.delivered.length === 10);
  assertEquals([rig.delivered, rig.files("uploaded")], ["abcdefghij", "abcdefghij"]);
  assertEquals(rig.uploaded, uploaded + 4);
});

Deno.test("with a concurrency of 1 two requests are never in flight together", async () => {
  await using rig = await HeldRig.start(Array(6).fill(100), { concurrency: 1 });
  for (const letter of "abcdef") {
    await rig.inFlight(letter);
    rig.answer(letter);
  }
  await until(() => rig.uploaded === 6);
});

Deno.test("without a backlog, a chunk that is sealed while another is in flight waits for the answer", async () => {
  await using rig = await HeldRig.start([100, 100]);
  await rig.answerAll("ab");
  await until(() => rig.uploaded === 2);
  await rig.temp.store("outbox", makeName(2));
  await rig.inFlight("c");
  await rig.temp.store("outbox", makeName(3));
  await rig.inFlight("c");
  rig.answer("c");
  await rig.inFlight("d");
  rig.answer("d");
});

Deno.test("an older chunk that appears is sent next, before newer ones", async () => {
  await using rig = await HeldRig.open();
  const older = { ...makeName(0), startUnixUs: makeName(5).startUnixUs - 1e6 };
  await rig.temp.store("outbox", older);
  await rig.answerAll("ghij");
  await rig.inFlight("?kl");
});

Deno.test("files in flight are at most 8 MiB together, and a larger one is sent alone", async () => {
  const small = Array(6).fill(100);
  const large = [5, 2, 2, 9, 1, 8].map((mib) => mib * MIB);
  await using rig = await HeldRig.start([...small, ...large, ...small]);
  await rig.take("a", "bc", "def");
  await rig.inFlight("gh");
  await rig.answerAll("gh");
  await rig.inFlight("i");
  rig.answer("i");
  await rig.inFlight("j");
  rig.answer("j");
  await rig.inFlight("k");
  rig.answer("k");
  await rig.inFlight("l");
  rig.answer("l");
  await rig.inFlight("mnop");
});

Deno.test("a file is read when its request starts, not before", async () => {
  await using rig = await HeldRig.open();
  const path = rig.temp.spool.path("outbox", rig.fileName("k"));
  await Deno.writeFile(path, new Uint8Array(9 * MIB)); // too large to be in flight with the others
  await rig.answerAll("ghi");
  await rig.inFlight("j");
});

Deno.test("a chunk that waits for clock sync holds back those after it, even in flight", async () => {
  const waits = (name: ChunkName) => letterOf(name) === "i" ? 60_000 : 0;
  await using rig = await HeldRig.start(Array(12).fill(100), { deferMs: waits });
  await rig.take("a", "bc", "def");
  await rig.inFlight("gh");
  await rig.answerAll("gh");
  await until(() => rig.clock.sleepers === 1);
  assertEquals(rig.sent, "abcdefgh");
});

Deno.test("idle is false while a request is in flight or an answer has not been acted on", async () => {
  await using rig = await HeldRig.open();
  await rig.answerAll("ghij");
  await rig.answerAll("l");
  await rig.inFlight("k");
  assertEquals(rig.uploader.idle, false);
  rig.answer("k");
  await until(() => rig.uploader.idle);
  assertEquals(rig.files("uploaded"), "abcdefghijkl");
});

// ---- a failure in the middle

const failures: [what: string, Verdict, waitMs: number][] = [
  ["a 500", BROKEN, 0],
  ["a Retry-After", LATER, 60_000],
  ["a 401", FORBIDDEN, RETRY_MAX_MS],
  ["a 422", REFUSED, 0],
];

for (const [what, verdict, waitMs] of failures) {
  Deno.test(`after ${what} in the middle no request starts, the others are moved, and that one is sent again alone`, async () => {
    await using rig = await HeldRig.open();
    rig.answer("h", verdict);
    await rig.inFlight("gij");
    rig.answer("g");
    await until(() => rig.files("uploaded") === "abcdefg");
    await rig.inFlight("ij");
    assertEquals(rig.report.upload_errors_total, 0);
    await rig.answerAll("ij");
    if (waitMs > 0) {
      await until(() => rig.clock.sleepers === 1);
      assertEquals(rig.open, "");
      await rig.clock.advance(waitMs - 1);
      await rig.inFlight("");
      await rig.clock.advance(1);
    }
    await rig.inFlight("h");
    assertEquals([rig.files("uploaded"), rig.delivered], ["abcdefgij", "abcdefgij"]);
    assertEquals(rig.report.upload_errors_total, 1);
    rig.answer("h");
    await rig.inFlight("kl");
    await rig.answerAll("kl");
    await until(() => rig.uploaded === 12);
    assertEquals([rig.sent, rig.problems], ["abcdefghijhkl", []]);
  });
}

Deno.test("a chunk that is refused among others goes to rejected/ after three tries, and the queue continues", async () => {
  await using rig = await HeldRig.open();
  rig.answer("h", REFUSED);
  await rig.answerAll("gij");
  await rig.answerAll("h", REFUSED);
  await rig.answerAll("k"); // i and j were on their way when h was refused: they prove nothing
  await rig.inFlight("h");
  rig.answer("h", REFUSED);
  await rig.inFlight("l");
  assertEquals([rig.files("rejected"), rig.files("uploaded")], ["h", "abcdefgijk"]);
});

Deno.test("a chunk that was refused is sent alone, even if an older one was accepted meanwhile", async () => {
  await using rig = await HeldRig.open();
  rig.answer("h", REFUSED);
  await rig.answerAll("gij");
  await rig.inFlight("h");
  await rig.temp.store("outbox", { ...makeName(0), startUnixUs: makeName(0).startUnixUs - 1e6 });
  rig.answer("h", REFUSED);
  await rig.answerAll("?");
  await rig.inFlight("h");
});

Deno.test("two chunks that are refused together are each tried until another one is accepted", async () => {
  await using rig = await HeldRig.open();
  await rig.answerAll("hj", REFUSED);
  await rig.answerAll("gi");
  await rig.answerAll("hj", REFUSED); // j in place of h
  await rig.answerAll("hh", REFUSED);
  await rig.answerAll("k");
  await rig.answerAll("hjj", REFUSED);
  await rig.answerAll("l");
  await rig.answerAll("j", REFUSED);
  await until(() => rig.files("rejected") === "hj");
  assertEquals(rig.sent, "abcdefghijhjhhkhjjlj");
  const reason = rig.temp.spool.path("rejected", `${rig.fileName("j")}.reason.json`);
  assertEquals(JSON.parse(await Deno.readTextFile(reason)).attempts, 3);
});

Deno.test("of several failures, one that concerns the server itself decides, whichever chunk had it", async () => {
  for (const [verdict, waitMs] of [[LATER, 60_000], [FORBIDDEN, RETRY_MAX_MS]] as const) {
    await using rig = await HeldRig.open();
    rig.answer("g", BROKEN);
    rig.answer("i", verdict);
    rig.answer("j", REFUSED);
    rig.answer("h");
    await until(() => rig.clock.sleepers === 1);
    assertEquals(rig.report.upload_errors_total, 3);
    await rig.clock.advance(waitMs - 1);
    await rig.inFlight("");
    await rig.clock.advance(1);
    await rig.inFlight("g");
  }
});

Deno.test("a server that goes down during four requests is one outage: logged once, one request at a time", async () => {
  await using rig = await HeldRig.open();
  await rig.answerAll("ghij", BROKEN);
  for (let tries = 0; tries < 3; tries++) {
    await rig.inFlight("g");
    rig.answer("g", BROKEN);
  }
  await rig.inFlight("g");
  assertEquals(rig.problems, ["upload_failing"]);
  rig.answer("g");
  await rig.inFlight("hi");
  assertEquals([rig.problems, rig.files("uploaded")], [[], "abcdefg"]);
});

// ---- stop, other processes, the disk

Deno.test("on stop, accepted chunks are moved, requests in flight are aborted, and nothing is sent again", async () => {
  await using rig = await HeldRig.open();
  await rig.answerAll("hj");
  await rig.settle();
  await rig.stop();
  assertEquals([rig.files("uploaded"), rig.files("outbox")], ["abcdefhj", "gikl"]);
  assertEquals([rig.sent, rig.report.upload_errors_total], ["abcdefghij", 0]);
});

Deno.test("the janitor and a clock correction leave chunks alone that are in flight, or answered and not moved", async () => {
  await using rig = await HeldRig.open();
  const { spool } = rig.temp;
  rig.answer("i");
  await rig.settle();
  for (const letter of "ghij") {
    const fileName = rig.fileName(letter);
    assertEquals(await spool.remove("outbox", fileName), null, letter);
    assertEquals(await spool.rename("outbox", fileName, makeName(20)), false, letter);
  }
  assertEquals(rig.files("outbox"), "ghijkl");
  assertEquals(await spool.rename("outbox", rig.fileName("l"), makeName(25)), true);
  assertEquals(typeof await spool.remove("outbox", rig.fileName("k")), "number");
  await rig.answerAll("ghj");
  await rig.inFlight("z");
});

Deno.test("a failed chunk keeps its name until the failure has been acted on, after the others", async () => {
  await using rig = await HeldRig.open();
  const { spool } = rig.temp;
  rig.answer("h", REFUSED);
  rig.answer("g");
  await until(() => rig.files("uploaded") === "abcdefg");
  await rig.settle();
  assertEquals(await spool.remove("outbox", rig.fileName("h")), null);
  assertEquals(await spool.rename("outbox", rig.fileName("h"), makeName(20)), false);
  await rig.answerAll("ij");
  await rig.inFlight("h");
});

Deno.test("during a long backlog, the uploader looks every minute for chunks that another process requeued", async () => {
  await using rig = await HeldRig.open({ timeoutMs: 1e6 });
  const { spool } = rig.temp;
  const older = { ...makeName(0), startUnixUs: makeName(0).startUnixUs - 1e6 };
  const name = await rig.temp.store("rejected", older);
  await rig.clock.advance(60_000);
  rig.answer("g");
  await rig.inFlight("hij");
  await rig.answerAll("hi");
  await byHand(() => Deno.rename(spool.path("rejected", name), spool.path("outbox", name)));
  rig.answer("j");
  await until(() => rig.open.startsWith("?"));
});

Deno.test("a chunk that is passed over is sent alone when it is due, even during a backlog", async () => {
  const { random } = Math;
  using _ = { [Symbol.dispose]: () => void (Math.random = random) };
  Math.random = () => 0.999_99; // a backoff of almost zero
  await using rig = await HeldRig.start(Array(20).fill(100), { retryMaxMs: 5000 });
  for (let tries = 0; tries < 8; tries++) await rig.answerAll("a", BROKEN);
  await rig.answerAll("b");
  await rig.answerAll("a", BROKEN);
  await rig.take("c", "de", "fgh", "ijkl");
  await rig.inFlight("mnop");
  assertEquals(rig.problems, ["chunks_passed_over"]);
  await rig.clock.advance(5000);
  rig.answer("m");
  await rig.inFlight("nop");
  await rig.answerAll("nop");
  await rig.inFlight("a");
  rig.answer("a");
  await until(() => rig.open.startsWith("q"));
  assertEquals(rig.problems, []);
});

Deno.test("a chunk that failed among others can be removed while it waits for its next try", async () => {
  await using rig = await HeldRig.open();
  rig.answer("h", FORBIDDEN);
  rig.answer("j", BROKEN);
  await rig.answerAll("gi");
  await until(() => rig.clock.sleepers === 1);
  for (const letter of "hj") {
    assertEquals(typeof await rig.temp.spool.remove("outbox", rig.fileName(letter)), "number");
  }
  await rig.clock.advance(RETRY_MAX_MS);
  await rig.inFlight("k");
});

Deno.test("a chunk that another process removes while it is in flight does not disturb the others", async () => {
  await using rig = await HeldRig.open();
  await Deno.remove(rig.temp.spool.path("outbox", rig.fileName("h")));
  await Deno.remove(rig.temp.spool.path("outbox", rig.fileName("k")));
  await rig.answerAll("ghij");
  await rig.answerAll("l");
  await until(() => rig.uploaded === 11);
  assertEquals([rig.files("uploaded"), rig.problems], ["abcdefgijl", []]);
});

Deno.test("a chunk in doubt that another process removes is forgotten, so that the next one can be in doubt", async () => {
  await using rig = await HeldRig.start(Array(5).fill(100));
  await rig.answerAll("a", REFUSED);
  await rig.inFlight("a");
  for (const letter of "ab") {
    await Deno.remove(rig.temp.spool.path("outbox", rig.fileName(letter)));
  }
  rig.answer("a", REFUSED); // b is next in its place, and then a itself
  await rig.answerAll("cc", REFUSED);
  await rig.inFlight("d");
  assertEquals(rig.sent, "aaccd");
});

Deno.test("an accepted chunk that cannot be moved holds up no other, is not sent again, and is moved later", async () => {
  await using rig = await HeldRig.open();
  const { spool } = rig.temp;
  const { markUploaded } = spool;
  spool.markUploaded = (fileName) =>
    fileName === rig.fileName("h")
      ? Promise.reject(new Error("Input/output error"))
      : markUploaded.call(spool, fileName);
  await rig.answerAll("ghij");
  await rig.inFlight("kl");
  assertEquals([rig.files("uploaded"), rig.files("outbox")], ["abcdefgij", "hkl"]);
  assertEquals(rig.problems, ["spool_failed"]);
  await rig.answerAll("kl");
  await until(() => rig.files("outbox") === "h" && rig.clock.sleepers === 1);
  spool.markUploaded = markUploaded;
  await rig.clock.advance(RETRY_MAX_MS);
  await until(() => rig.files("outbox") === "");
  assertEquals([rig.sent, rig.problems], ["abcdefghijkl", []]);
});

Deno.test("the wait for the true time of a chunk does not make the line slow", async () => {
  let waitMs = 600_000;
  await using rig = await HeldRig.start(Array(5).fill(100), {
    concurrency: 1,
    deferMs: (name) => "ab".includes(letterOf(name)) ? 0 : waitMs,
  });
  for (const letter of "ab") await rig.take(letter);
  await until(() => rig.clock.sleepers === 1);
  waitMs = 0;
  await rig.clock.advance(600_000);
  await rig.take("c");
  await rig.inFlight("d");
  assertEquals(rig.problems, []);
});

Deno.test("a folder that cannot be listed for the next chunk is a problem, and does not lose the answers to those in flight", async () => {
  await using rig = await HeldRig.open();
  const { spool } = rig.temp;
  const { oldest } = spool;
  spool.oldest = () => {
    spool.oldest = oldest; // it fails once: nothing else can report it
    return Promise.reject(new Error("Input/output error"));
  };
  await rig.answerAll("g");
  await rig.inFlight("hij");
  await rig.answerAll("hij");
  await until(() => rig.problems.includes("spool_failed") && rig.clock.sleepers === 1);
  assertEquals([rig.files("uploaded"), rig.files("outbox")], ["abcdefghij", "kl"]);
  await rig.clock.advance(RETRY_MAX_MS);
  await rig.inFlight("k");
  assertEquals(rig.sent, "abcdefghijk");
});

Deno.test("a chunk that cannot be read among others goes to rejected/ alone", async () => {
  await using rig = await HeldRig.start(Array(12).fill(100));
  const path = rig.temp.spool.path("outbox", rig.fileName("h"));
  await rig.inFlight("a"); // the uploader has read the folder
  await Deno.remove(path);
  await Deno.mkdir(path);
  await rig.answerAll("abcdefg");
  await rig.answerAll("i");
  await until(() => rig.report.chunks_rejected_total === 1);
  await rig.answerAll("jkl");
  await until(() => rig.uploaded === 11);
  assertEquals(rig.files("rejected"), "h");
});

Deno.test("a line that takes longer than the sound lasts is a problem with both rates, until nothing waits; the next backlog is judged on its own", async () => {
  await using rig = await HeldRig.start(Array(8).fill(150_000), { concurrency: 1 });
  const deliver = async (letter: string) => {
    await rig.inFlight(letter);
    await rig.clock.advance(75_000); // for a minute of sound
    rig.answer(letter);
    await until(() => rig.delivered.endsWith(letter));
  };
  for (const letter of "abc") {
    await deliver(letter);
    assertEquals(rig.problems, []);
  }
  for (const letter of "defg") await deliver(letter);
  const [problem] = rig.report.problems;
  assertEquals(problem?.code, "upload_too_slow");
  assertStringIncludes(problem?.message ?? "", "delivers 16 kbit/s and the recording produces 20 ");
  await deliver("h");
  await until(() => rig.problems.length === 0);
  // The next backlog is judged on its own: the line has not delivered for five minutes yet, and the night does not
  // count.
  await rig.clock.advance(8 * 3600_000);
  for (const minute of [8, 9, 10, 11]) await rig.temp.store("outbox", makeName(minute), 150_000);
  for (const letter of "ijk") {
    await deliver(letter);
    assertEquals(rig.problems, []);
  }
});
