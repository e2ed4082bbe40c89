// deno-lint-ignore-file no-console -- a benchmark talks to a person
// The compiled program for hours, recording a simulated microphone in short chunks over TLS, while the
// server and the microphone fail at random moments, for seconds and for minutes, and people watch it or
// do not read its log (soak/faults.ts). It is judged from outside: /proc for what it
// holds, the kernel for every file that came into its outbox/, the server for what arrived; its books
// are held to all of these.
//
// `bench/soak.ts [--hours N] [--seed S] [--every MINUTES] [--binary PROGRAM]`. A line every 10 min goes
// to stdout. The exit code is 1 if the books do not balance, if a chunk was lost, came under two keys
// or with a hole, if the server had an objection, or if descriptors or memory grow. The moments of the
// faults are the seed's; what they meet is up to the machine.

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
/** Behind the last fault: the longest wait for a microphone is 64 s, for the server 10 s. */
const CALM_MS = 90_000;
/** A chunk that is being filed away is in two places, or in none, for so long at most. */
const SETTLE_MS = 5000;
/** It counts from its start, this from its first sound, seconds. */
const START_S = 5;
/** Nothing before this counts as growth: V8 has not seen all of its code yet, ms. */
const WARM_UP_MS = 300_000;
const MOST_DESCRIPTORS_MORE = 3;
const MOST_MEMORY_MORE_KB = 16_384;

interface Sample extends Footprint {
  readonly atMs: number;
}

interface SoakOptions {
  readonly hours: number;
  readonly seed: number;
  /** The compiled program; made if it is not given. */
  readonly program?: string;
  readonly everyMinutes?: number;
}

/** Runs to the end and returns everything that is wrong, a line each. */
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
    // It is awaited at the end of the faults; what goes wrong in it before must not end the process.
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

  /** Until all is well again and nothing waits, or the end has come. */
  async #settle(endMs: number): Promise<void> {
    while (true) {
      const { body } = await this.#rig.agent.health();
      if (body["recording"] === true && body["queue_size"] === 0) return;
      if (performance.now() > endMs) {
        this.#wrong.push(`It is not well ${CALM_MS / 1000} s behind the last fault: ${show(body)}`);
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

  /** The books against themselves, the clock, and what the server has. */
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
    // What the server has taken and the agent does not know yet is more by a chunk that is under way,
    // or whose answer was lost.
    const known = of("delivered") + of("waiting");
    if (of("delivered") > accepted + 1e-3 || accepted > known + 1e-3) {
      wrong.push(`The server has ${accepted} s: ${text}`);
    }
    return wrong;
  }

  /** Ends it as a service is ended; then what it left and what arrived must agree. */
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

  /** The least of the last third against the least of the third before it: peaks come and go. */
  #judgeGrowth(): void {
    const counted = this.#samples.filter(({ atMs }) => atMs > WARM_UP_MS);
    const third = Math.floor(counted.length / 3);
    if (third < 4) return console.log("too short to say anything of growth");
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
    // Not what is private: the pages of the program's file are that only while no other runs it.
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
  console.log(wrong.length === 0 ? "nothing is wrong" : `${wrong.length} things are wrong`);
  if (wrong.length > 0) Deno.exitCode = 1;
}
