// deno-lint-ignore-file no-console -- a test that talks to a person
// `deno task test:s3`: `receive --store` against a real object store, OpenStack Swift as Debian packages it.
// The contract of the API, two receivers that are killed while an agent delivers, and 1,000 simulated tills
// at one and at four receivers. Prints a table for docs/performance.md. Exit code 1 if a chunk was lost,
// doubled or torn, or if a test of the contract failed.
//
// `tests/s3/run.ts [--minutes N] [--seed S] [--seconds N] [--tills N]
// [--every S,S] [--receivers N,N]`: kills for N minutes (default 2), load for
// N seconds (default 60; 0: none) from N tills (default 1000), each with a chunk in so many seconds (--every 60,0),
// at so many receivers (--receivers 1,4).

import { parseArgs } from "node:util";
import { join } from "@std/path/join";
import { bucketPlaces, measure } from "../../bench/receive.ts";
import { toMarkdown } from "../../bench/table.ts";
import { runConform } from "../../src/commands/conform.ts";
import { S3Client } from "../../src/receive/s3_client.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { systemClock } from "../../src/system/clock.ts";
import { ReceiverProcess } from "../fixtures/receiver_process.ts";
import { runReceiverKills } from "../receiving/kills.ts";
import { bucketShelf, type Shelf } from "../receiving/shelf.ts";
import { Swift } from "./swift.ts";

const BUCKET = "recordings";
const TOKEN = "the-token";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    seconds: { type: "string", default: "60" },
    tills: { type: "string", default: "1000" },
    receivers: { type: "string", default: "1,4" },
    every: { type: "string", default: "60,0" },
  },
});
const [minutes, seed, seconds, tills] = [values.minutes, values.seed, values.seconds, values.tills]
  .map(Number);

const dir = await Deno.makeTempDir({ prefix: "s3-" });
try {
  await using swift = await Swift.start();
  const credentials = join(dir, "credentials");
  await Deno.writeTextFile(credentials, swift.credentials);
  const access = parseS3Access(swift.credentials);
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => access, caCerts: [], clock: systemClock },
  });
  await swift.createBucket(BUCKET);
  const shelf = (prefix: string) => bucketShelf({ client, prefix, credentials });
  await contract(shelf("conform/").args);
  await kills((index) => shelf(`kills/${index}/`));
  if (seconds !== 0) await load(bucketPlaces(client, credentials));
} finally {
  await Deno.remove(dir, { recursive: true });
}

/** What a server of the API must do, done by a receiver with this store. */
async function contract(args: readonly string[]): Promise<void> {
  await using receiver = await ReceiverProcess.start({ dir: null, token: TOKEN, args });
  const ready = receiver.lines.find(({ conditional_writes }) => conditional_writes !== undefined);
  console.log(`conditional writes: ${ready?.conditional_writes}`);
  const code = await runConform({
    ...{ operands: [await receiver.url], tokenFile: undefined, tlsCa: undefined, set: [] },
    ...{ json: false, env: { RA_INGEST_TOKEN: TOKEN }, print: (text: string) => console.log(text) },
  });
  const headers = { authorization: `Bearer ${TOKEN}` };
  const page = await fetch(`${await receiver.url}/metrics`, { headers });
  const tills = (await page.text()).match(/^recorder_receiver_last_chunk_end_seconds\{/gm)?.length;
  console.log(`tills on the page: ${tills}`);
  if (code !== 0 || tills !== 1) Deno.exitCode = 1;
}

/** Two receivers on one bucket and an agent, killed at random moments. */
async function kills(shelf: (index: number) => ReturnType<typeof bucketShelf>): Promise<void> {
  const sum = { kills: 0, chunks: 0, repeated: 0, faults: 0 };
  const endMs = performance.now() + (minutes ?? 0) * 60_000;
  for (let index = 0; performance.now() < endMs; index++) {
    const report = await runReceiverKills({
      ...{ seed: (seed ?? 0) + index, kills: 5, chunks: 30, receivers: 2, shelf: shelf(index) },
    });
    sum.kills += report.kills;
    sum.chunks += report.chunks;
    sum.repeated += report.repeated;
    sum.faults += report.faults.length;
    console.log(`seed ${(seed ?? 0) + index}: ${JSON.stringify(sum)}`);
    for (const fault of report.faults) console.error(fault);
  }
  if (sum.faults > 0) Deno.exitCode = 1;
}

async function load(shelf: (dir: string) => Shelf): Promise<void> {
  // A chunk a minute from each till first: that is what shops do.
  for (const everyS of values.every.split(",").map(Number)) {
    for (const receivers of values.receivers.split(",").map(Number)) {
      const one = { tills: tills ?? 0, seconds: seconds ?? 0, everyS };
      console.log(toMarkdown(await measure([one], { dir, program: null, receivers, shelf })));
    }
  }
}
