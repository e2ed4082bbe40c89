// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Runs the compiled program for hours. It records a simulated microphone and delivers short chunks over TLS,
// while the server and the microphone fail at random moments, for seconds and for minutes, and clients open
// the page or stop reading the log (soak/faults.ts). The judgement is made from outside: /proc shows what
// the program holds, the kernel every file that appeared in outbox/, the server what arrived. The program's
// ledger must agree with all of these.
//
// `bench/soak.ts [--hours N] [--seed S] [--every MINUTES] [--binary PROGRAM]`. A line goes to stdout every
// 10 min. The exit code is 1 if the ledger does not balance, if a chunk was lost, arrived under two keys or
// has a hole inside a stream that is not declared, if the server reports a violation of the protocol, or if descriptors
// or memory grow. The seed determines when faults happen; what the program does at that moment depends on
// the machine.

import { parseArgs } from "node:util";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { makeCertificates } from "../tests/fixtures/certificates.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { IngestServer } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";
import { seededRandom } from "../tests/fixtures/random.ts";
import { startRecordingAgent } from "./recording_agent.ts";
import { type Footprint, footprintOf, processesWith } from "./process.ts";
import { acceptedS, judgeArrived, type Left, Outbox } from "./soak/arrived.ts";
import { afflict, type FaultRig, lanesOf, Sound } from "./soak/faults.ts";

const TOKEN = "soak";
const CHUNK_SECONDS = 5;
const SAMPLE_MS = 15_000;
/** The time after the last fault: the longest wait for a microphone is 64 s, for the server 10 s. */
const CALM_MS = 90_000;
/** How long a chunk that is being filed away may be in two places, or in none. */
const SETTLE_MS = 5000;
/** The program counts from its start, the soak from the first sound: the tolerance, seconds. */
const START_S = 5;
/** Growth before this is ignored, because V8 has not run all of the code yet; ms. */
const WARM_UP_MS = 300_000;
const MOST_DESCRIPTORS_MORE = 3;
const MOST_MEMORY_MORE_KB = 16_384;

interface Sample extends Footprint {
  readonly atMs: number;
}

interface SoakOptions {
  readonly hours: number;
  readonly seed: number;
  /** The compiled program; built if it is not given. */
  readonly program?: string;
  readonly everyMinutes?: number;
}

/** Runs to the end and returns everything that is wrong, one line each. */
export async function soak(options: SoakOptions): Promise<string[]> {
  await using binaries = options.program === undefined ? await buildBinaries() : null;
  const dir = await Deno.makeTempDir({ prefix: "soak-" });
  try {
    await using microphone = await PulseMicrophone.start();
    const { caFile, certPem, keyPem } = await makeCertificates(dir);
    await using server = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
    const speech = join(dir, "speech.wav");
    await makeSpeech(speech, 60);
    await using sound = new Sound(microphone, speech);
    sound.begin();
    await using agent = await startRecordingAgent({
      dir,
      program: options.program ?? binaries?.x64 ?? "",
      microphone,
      server: { url: server.url, token: TOKEN, caFile },
      config: {
        chunk_seconds: CHUNK_SECONDS,
        upload_timeout_s: 5,
        retry_min_s: 0.5,
        retry_max_s: 10,
      },
    });
    await agent.said("Recording.");
    await using outbox = new Outbox(join(dir, "spool/outbox"));
    const run = new Soak({
      outbox,
      agent,
      server,
      microphone,
      sound,
      spoolDir: join(dir, "spool"),
    });
    return await run.to(performance.now() + options.hours * 3_600_000, options);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

type Rig = FaultRig & Left;

class Soak {
  readonly #rig: Rig;
  readonly #struck = new Map<string, number>();
  readonly #wrong: string[] = [];
  readonly #samples: Sample[] = [];
  readonly #startedMs = performance.now();

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  async to(endMs: number, { seed, everyMinutes = 10 }: SoakOptions): Promise<string[]> {
    const calm = new AbortController();
    const afflicted = Promise.all(
      lanesOf(this.#rig).map((lane, at) =>
        afflict(lane, {
          random: seededRandom(seed + at),
          calm: calm.signal,
          onFault: (name) => this.#struck.set(name, (this.#struck.get(name) ?? 0) + 1),
        })
      ),
    );
    // The promise is awaited at the end of the faults. A rejection before that must not end the process.
    afflicted.catch((error) => this.#wrong.push(`A fault could not be made: ${error}`));
    printHeader();
    let printMs = performance.now() + everyMinutes * 60_000;
    while (performance.now() < endMs - CALM_MS) {
      await delay(SAMPLE_MS);
      await this.#look();
      if (performance.now() < printMs) continue;
      await this.#print();
      printMs += everyMinutes * 60_000;
    }
    calm.abort();
    await afflicted.catch(() => {});
    await this.#settle(endMs);
    await this.#look();
    await this.#print();
    await this.#end();
    this.#judgeGrowth();
    this.#printFaults();
    return this.#wrong;
  }

  /** Waits until the program records and nothing waits, or until the end. */
  async #settle(endMs: number): Promise<void> {
    while (true) {
      const { body } = await this.#rig.agent.health();
      if (body["recording"] === true && body["queue_size"] === 0) return;
      if (performance.now() > endMs) {
        this.#wrong.push(
          `It has not recovered ${CALM_MS / 1000} s after the last fault: ${show(body)}`,
        );
        return;
      }
      await delay(500);
    }
  }

  async #look(): Promise<void> {
    this.#samples.push({
      atMs: performance.now() - this.#startedMs,
      ...await footprintOf(this.#rig.agent.pid),
    });
    const endMs = performance.now() + SETTLE_MS;
    while (true) {
      const objections = this.#objectionsToBooks(await this.#ledger());
      if (objections.length === 0) return;
      if (performance.now() > endMs) return void this.#wrong.push(...objections);
      await delay(100);
    }
  }

  async #ledger(): Promise<Record<string, number>> {
    const { body } = await this.#rig.agent.health();
    return body["ledger"] as Record<string, number>;
  }

  /** Compares the ledger with itself, the clock, and what the server has. */
  #objectionsToBooks(ledger: Record<string, number>): string[] {
    const of = (key: string) => ledger[`${key}_s`] ?? NaN;
    const isOff = (a: number, b: number, by: number) => !(Math.abs(a - b) <= by);
    const text = JSON.stringify(ledger);
    const wrong: string[] = [];
    if (isOff(of("scheduled"), of("recorded") + of("gaps") + of("open"), 1e-4)) {
      wrong.push(`scheduled is not recorded + gaps + open: ${text}`);
    }
    if (isOff(of("unaccounted"), 0, 1e-4)) wrong.push(`unaccounted: ${text}`);
    if (of("lost") + of("refused") !== 0) wrong.push(`lost or refused: ${text}`);
    const elapsedS = (performance.now() - this.#startedMs) / 1000;
    if (isOff(of("scheduled"), elapsedS, START_S)) wrong.push(`${elapsedS} s have passed: ${text}`);
    const accepted = acceptedS(this.#rig.server);
    // The server may have accepted a chunk that the agent does not count as delivered yet, because the
    // answer is in transit or was lost.
    const known = of("delivered") + of("waiting");
    if (of("delivered") > accepted + 1e-3 || accepted > known + 1e-3) {
      wrong.push(`The server has ${accepted} s: ${text}`);
    }
    return wrong;
  }

  /** Stops the program like a service. Then the files that are left and what arrived must agree. */
  async #end(): Promise<void> {
    const { agent, server, spoolDir } = this.#rig;
    const code = await agent.end("SIGTERM");
    if (code !== 0) this.#wrong.push(`Exit code ${code}`);
    const orphans = processesWith(spoolDir);
    if (orphans.length > 0) this.#wrong.push(`Left running: ${orphans}`);
    if (server.violations.length > 0) {
      this.#wrong.push(`The server objects: ${server.violations.slice(0, 5).join("; ")}`);
    }
    this.#wrong.push(...judgeArrived(this.#rig));
  }

  /** Compares the minimum of the last third with that of the third before, because peaks come and go. */
  #judgeGrowth(): void {
    const counted = this.#samples.filter(({ atMs }) => atMs > WARM_UP_MS);
    const third = Math.floor(counted.length / 3);
    if (third < 4) return console.log("too short to judge growth");
    const least = (samples: readonly Sample[], key: keyof Sample) =>
      Math.min(...samples.map((sample) => sample[key]));
    const grown = (key: keyof Sample) =>
      least(counted.slice(-third), key) - least(counted.slice(-2 * third, -third), key);
    const [descriptors, threads] = [grown("descriptors"), grown("threads")];
    const [rssKb, anonymousKb] = [grown("rssKb"), grown("anonymousKb")];
    console.log(
      `growth from the second third to the last: ${descriptors} descriptors, ${threads} threads, ` +
        `RSS ${mb(rssKb)} MB, anonymous ${mb(anonymousKb)} MB`,
    );
    if (descriptors > MOST_DESCRIPTORS_MORE) this.#wrong.push(`${descriptors} more descriptors`);
    if (threads > MOST_DESCRIPTORS_MORE) this.#wrong.push(`${threads} more threads`);
    // Not private memory: the pages of the program's file count there unless another process runs it.
    if (anonymousKb > MOST_MEMORY_MORE_KB) this.#wrong.push(`${mb(anonymousKb)} MB more memory`);
  }

  async #print(): Promise<void> {
    const ledger = await this.#ledger();
    const { server } = this.#rig;
    const last = this.#samples.at(-1);
    if (last === undefined) return;
    const seconds = ["recorded", "gaps", "delivered", "waiting", "lost", "unaccounted"]
      .map((key) => (ledger[`${key}_s`] ?? NaN).toFixed(1));
    const faults = [...this.#struck.values()].reduce((a, b) => a + b, 0);
    printRow([
      (last.atMs / 60_000).toFixed(0),
      ...[last.rssKb, last.pssKb, last.anonymousKb].map(mb),
      last.descriptors,
      last.threads,
      ...seconds,
      server.chunks.length,
      server.duplicates,
      server.violations.length,
      faults,
      this.#wrong.length,
    ]);
  }

  #printFaults(): void {
    const faults = [...this.#struck].map(([name, times]) => `${name} ${times}`).sort();
    console.log(`faults: ${faults.join(", ")}`);
  }
}

const COLUMNS = [
  ...["min", "RSS MB", "PSS MB", "anonymous MB", "descriptors", "threads", "recorded s", "gaps s"],
  ...["delivered s", "waiting s", "lost s", "unaccounted s", "accepted", "again", "violations"],
  ...["faults", "wrong"],
];

function printHeader(): void {
  printRow(COLUMNS);
  printRow(COLUMNS.map(({ length }) => `${"-".repeat(length - 1)}:`));
}

function printRow(cells: readonly (string | number)[]): void {
  console.log(
    `| ${cells.map((cell, at) => String(cell).padStart(COLUMNS[at]?.length ?? 0)).join(" | ")} |`,
  );
}

function mb(kb: number): string {
  return (kb / 1024).toFixed(1);
}

function show(value: unknown): string {
  return JSON.stringify(value);
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      hours: { type: "string", default: "1" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      every: { type: "string", default: "10" },
      binary: { type: "string" },
    },
  });
  const [hours, seed] = [Number(values.hours), Number(values.seed)];
  if (!(hours > 0) || !Number.isInteger(seed)) {
    throw new Error(`--hours and --seed must be numbers: ${values.hours}, ${values.seed}`);
  }
  console.log(`${hours} hours, seed ${seed}`);
  const wrong = await soak({
    ...{ hours, seed, everyMinutes: Number(values.every) },
    ...(values.binary === undefined ? {} : { program: values.binary }),
  });
  for (const line of wrong) console.error(line);
  console.log(wrong.length === 0 ? "no errors" : `${wrong.length} errors`);
  if (wrong.length > 0) Deno.exitCode = 1;
}
