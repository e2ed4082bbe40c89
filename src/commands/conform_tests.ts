// The tests of `recorder-agent conform`: what each sends to a server, and what its answers mean for a till that
// does the same (docs/reference/protocol.md). Nothing is sent or printed here. The module is long because it is
// one table: every test of the command is an entry.

import { messageOf } from "../system/error_text.ts";
import {
  Bench,
  type Changes,
  type ConformTarget,
  type Outcome,
  type Sent,
} from "./conform_bench.ts";
import { failed, type Finding, ok, skipped, skippedAll, warning } from "./finding.ts";

interface ConformTest {
  readonly name: string;
  readonly run: (bench: Bench) => Promise<Finding>;
}

const ONE = "one chunk, with one chunk_id";
/** A clock that has not been set yet is behind. */
const CLOCK_BEHIND_US = 3 * 3_600_000_000;
const SLOW_PIECES = 10;
const PARALLEL = 4;
const SAME_ID =
  "Answer a repeated Idempotency-Key with 200, status ok and the chunk_id of the first answer";

/** In this order. The others need the first one. */
const TESTS: readonly ConformTest[] = [
  {
    name: "one chunk",
    async run(bench) {
      const outcome = await bench.upload(bench.chunk());
      if (outcome.kind !== "delivered") {
        return failed(this.name, bench.words(outcome), fixOf(outcome));
      }
      return outcome.chunkId === null
        ? warning(
          this.name,
          "accepted, without a chunk_id",
          'Answer {"status":"ok","chunk_id":"…"}',
        )
        : ok(this.name, "accepted");
    },
  },
  {
    name: "repeated",
    async run(bench) {
      const ids = await idsOf(bench, bench.chunk(), [{}, {}, {}]);
      bench.keepsDoubles = !(ids instanceof Refused) && ids.size > 1;
      return isOne(bench, this.name, ids);
    },
  },
  {
    name: "lost answer",
    async run(bench) {
      const chunk = bench.chunk();
      await bench.cut(chunk, 1);
      return isOne(bench, this.name, await idsOf(bench, chunk, [{}, {}]));
    },
  },
  {
    name: "cut upload",
    async run(bench) {
      const chunk = bench.chunk();
      await bench.cut(chunk, 0.5);
      return isOne(bench, this.name, await idsOf(bench, chunk, [{}, {}]));
    },
  },
  {
    name: "parallel",
    async run(bench) {
      const chunk = bench.chunk();
      const all = await Promise.all(Array.from({ length: PARALLEL }, () => bench.upload(chunk)));
      const last = await bench.settle(chunk);
      const fix =
        "Let the key be unique where chunks are kept, and answer the loser of a race with " +
        "the chunk_id of the winner, or with 503 and Retry-After";
      const bad = [...all, last].find(({ kind }) => kind === "refused" || kind === "misconfigured");
      if (bad !== undefined) return failed(this.name, bench.words(bad), fix);
      if (last.kind !== "delivered") return failed(this.name, bench.words(last), fix);
      const ids = new Set(
        [...all, last].flatMap((one) => one.kind === "delivered" ? one.chunkId : []),
      );
      return ids.size > 1
        ? doubled(bench)(
          this.name,
          `${PARALLEL} uploads under one key got ${ids.size} chunk_ids`,
          fix,
        )
        : ok(this.name, `${PARALLEL} uploads under one key at the same time are one chunk`);
    },
  },
  {
    name: "other bytes",
    async run(bench) {
      const chunk = bench.chunk();
      await bench.settle(chunk);
      const outcome = await bench.settle(chunk, { bytes: bench.chunk().bytes });
      return outcome.kind === "refused"
        ? ok(this.name, `other bytes under a used key are refused (${outcome.status})`)
        : outcome.kind === "delivered"
        ? warning(
          this.name,
          "other bytes under a used key are accepted, and one of the two may be gone",
          "Compare the SHA-256 with the one that was kept, and answer 422 if they differ",
        )
        : failed(
          this.name,
          bench.words(outcome),
          "Answer 422: a till repeats this answer for days",
        );
    },
  },
  {
    name: "true time",
    async run(bench) {
      const chunk = bench.chunk();
      const ids = await idsOf(bench, chunk, [
        { headers: { "x-clock-synchronized": "false" } },
        { startUnixUs: chunk.startUnixUs + CLOCK_BEHIND_US },
      ]);
      if (ids instanceof Refused) return failed(this.name, ids.words, SAME_ID);
      return ids.size === 1 ? ok(this.name, ONE) : warning(
        this.name,
        "a chunk that comes again with its true time is kept twice",
        "Recognize it by its Idempotency-Key; otherwise it is there under both times",
      );
    },
  },
  {
    name: "order",
    async run(bench) {
      const [older, newer] = [bench.chunk(), bench.chunk()];
      const outcomes = [await bench.upload(newer), await bench.upload(older)];
      const bad = outcomes.find(({ kind }) => kind !== "delivered");
      return bad === undefined
        ? ok(this.name, "an older chunk is accepted after a newer one")
        : failed(this.name, bench.words(bad), "Accept chunks in any order of their times");
    },
  },
  {
    name: "iso 8601",
    async run(bench) {
      const outcome = await bench.upload(bench.chunk(), { format: "iso8601" });
      return outcome.kind === "delivered"
        ? ok(this.name, "start_ts and end_ts in both formats")
        : warning(this.name, bench.words(outcome), "Leave timestamp_format: unix on the tills");
    },
  },
  {
    name: "large chunk",
    async run(bench) {
      const chunk = bench.chunk({ seconds: bench.target.largeSeconds, packetBytes: 600 });
      const outcome = await bench.upload(chunk);
      const size = `${(chunk.bytes.length / 1e6).toFixed(1)} MB`;
      return outcome.kind === "delivered" ? ok(this.name, `${size} are accepted`) : failed(
        this.name,
        `${size}: ${bench.words(outcome)}`,
        "Allow larger requests, in the server and in each proxy (nginx: client_max_body_size 128m)",
      );
    },
  },
  {
    name: "slow body",
    async run(bench) {
      const { slowMs } = bench.target;
      const seconds = `${slowMs / 1000} s`;
      const outcome = await bench.upload(bench.chunk(), {}, {
        pieces: SLOW_PIECES,
        pauseMs: slowMs / (SLOW_PIECES - 1),
      });
      return outcome.kind === "delivered" ? ok(this.name, `an upload may take ${seconds}`) : failed(
        this.name,
        `an upload of ${seconds}: ${bench.words(outcome)}`,
        "Limit how long a body may pause, and not how long it takes (60 s are usual)",
      );
    },
  },
  {
    name: "keep-alive",
    async run(bench) {
      const again =
        "Keep connections for at least a chunk's length; otherwise each chunk costs a new one";
      for (const outcome of await bench.uploadInTurn([1, 2, 3].map(() => bench.chunk()))) {
        if (outcome.kind !== "delivered") return warning(this.name, bench.words(outcome), again);
        if (outcome.answer?.isReusable === false) {
          return warning(this.name, "the server closes the connection after an answer", again);
        }
      }
      return ok(this.name, "three chunks over one connection");
    },
  },
  {
    name: "digest",
    async run(bench) {
      const wrong = `sha-256=:${"A".repeat(43)}=:`;
      const outcome = await bench.upload(bench.chunk(), { headers: { "repr-digest": wrong } });
      return outcome.kind === "refused"
        ? ok(
          this.name,
          `a file that is not what Repr-Digest announces is refused (${outcome.status})`,
        )
        : outcome.kind === "delivered"
        ? warning(
          this.name,
          "Repr-Digest is not compared with the file",
          "Compare it, and answer 400 if they differ: a file that was damaged on the way is noticed",
        )
        : failed(this.name, bench.words(outcome), "Answer 400, or ignore the header");
    },
  },
  ...(["wrong token", "no token"] as const).map((name): ConformTest => ({
    name,
    async run(bench) {
      const token = name === "no token" ? null : `${bench.target.token}x`;
      const outcome = await bench.upload(bench.chunk(), { token });
      const status = outcome.answer?.status ?? 0;
      return status === 401 || status === 403 ? ok(name, `refused (${status})`) : failed(
        name,
        outcome.kind === "delivered" ? "accepted: anybody can deliver" : bench.words(outcome),
        "Answer 401 before anything else: a till then keeps its chunks and says that its token is wrong",
      );
    },
  })),
  ...([
    ["missing field", { fields: { device_id: null } }],
    ["wrong id", { fields: { device_id: "not-a-uuid" } }],
    ["wrong time", { fields: { start_ts: "yesterday" } }],
    ["no file", { fileField: "another_file" }],
    ["malformed form", { headers: { "content-type": "multipart/form-data; boundary=other" } }],
  ] as const).map(([name, changes]): ConformTest => ({
    name,
    async run(bench) {
      const outcome = await bench.upload(bench.chunk(), changes);
      return outcome.kind === "refused" ? ok(name, `refused (${outcome.status})`) : failed(
        name,
        outcome.kind === "delivered" ? "accepted" : bench.words(outcome),
        "Answer 400 and say in the body what is wrong: other answers are repeated for days",
      );
    },
  })),
  {
    name: "afterwards",
    async run(bench) {
      const outcome = await bench.upload(bench.chunk());
      return outcome.kind === "delivered"
        ? ok(this.name, "the server still accepts chunks")
        : failed(
          this.name,
          bench.words(outcome),
          "One of the requests before must not stop the server",
        );
    },
  },
  {
    // The last one: it looks at the chunk_ids of all others.
    name: "two chunks",
    async run(bench) {
      const fix =
        "Keep each Idempotency-Key, and answer with a chunk_id of its own; a server that " +
        "knows only the form compares device_id and start_ts with all its decimals";
      const secondUs = Math.ceil(bench.nextUs() / 1e6) * 1e6;
      // However a server rounds to seconds, these are in one.
      const first = bench.chunk({ startUnixUs: secondUs + 600_000, seconds: 0.3 });
      const second = bench.chunk({ startUnixUs: secondUs + 900_000, seconds: 0.3 });
      for (const chunk of [first, second]) {
        const outcome = await bench.settle(chunk);
        if (outcome.kind !== "delivered") return failed(this.name, bench.words(outcome), fix);
      }
      const most = bench.mostUnderOneId;
      if (most === 0) return skipped(this.name, "without a chunk_id, nobody sees what is kept");
      if (most > 1) {
        const message = `${most} different chunks got one chunk_id: the server keeps one of them`;
        return failed(this.name, message, fix);
      }
      const third = await bench.settle(bench.chunk({ startUnixUs: second.startUnixUs }));
      if (third.kind === "delivered" && bench.mostUnderOneId === 1) {
        return ok(this.name, "each chunk has a chunk_id of its own");
      }
      return warning(
        this.name,
        third.kind === "delivered"
          ? "of two chunks with one start_ts, the server keeps one"
          : `of two chunks with one start_ts, the second: ${bench.words(third)}`,
        "Tell chunks apart by Idempotency-Key: a till whose clock is set back uses a time twice",
      );
    },
  },
];

/** The names of the tests, in their order. */
export const CONFORM_TESTS: readonly string[] = TESTS.map(({ name }) => name);

/** Runs all tests. @param onFinding called for each, as it is found. */
export async function conform(
  target: ConformTarget,
  onFinding: (finding: Finding) => void = () => {},
): Promise<Finding[]> {
  const bench = new Bench(target);
  const findings: Finding[] = [];
  const found = (finding: Finding) => {
    findings.push(finding);
    onFinding(finding);
  };
  for (const test of TESTS) {
    found(
      await test.run(bench).catch((error) =>
        failed(test.name, messageOf(error), "Look into the log of the server")
      ),
    );
    if (findings.length === 1 && findings[0]?.verdict === "failed") {
      for (const skipped of skippedAll(CONFORM_TESTS.slice(1), test.name)) found(skipped);
      break;
    }
  }
  return findings;
}

/** An upload of several was not accepted. */
class Refused {
  constructor(readonly words: string) {}
}

/** Sends these uploads of one chunk, and returns the chunk_ids that it got. */
async function idsOf(
  bench: Bench,
  chunk: Sent,
  all: readonly Changes[],
): Promise<ReadonlySet<string | null> | Refused> {
  const ids = new Set<string | null>();
  for (const changes of all) {
    const outcome = await bench.settle(chunk, changes);
    if (outcome.kind !== "delivered") return new Refused(bench.words(outcome));
    ids.add(outcome.chunkId);
  }
  return ids;
}

/** Whether these are the chunk_ids of one chunk. */
function isOne(bench: Bench, name: string, ids: ReadonlySet<string | null> | Refused): Finding {
  if (ids instanceof Refused) return failed(name, ids.words, SAME_ID);
  const message = `one chunk got ${ids.size} chunk_ids: it is kept ${ids.size} times`;
  return ids.size > 1 ? doubled(bench)(name, message, SAME_ID) : ok(name, ONE);
}

/** A server that ignores the key keeps doubles, and a till can work with it; one that knows the key must not. */
function doubled({ keepsDoubles }: Bench): typeof failed {
  return keepsDoubles ? warning : failed;
}

function fixOf({ kind, answer }: Outcome): string {
  if (answer === null) return "Check the URL and the port, and that the server runs";
  if (kind === "misconfigured") return "Check the URL (without /api/v1/chunks) and the token";
  if (kind === "refused") return "Accept the fields of docs/reference/protocol.md";
  return 'Answer 200 with {"status":"ok","chunk_id":"…"} when the chunk is stored';
}
