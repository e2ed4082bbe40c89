// deno-lint-ignore-file no-console -- a benchmark talks to a person
// The compiled program for hours, recording a simulated microphone in short chunks over TLS, while the
// server and the microphone fail at random moments. It is judged from outside: /proc for what it
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
import { cutToLastPage, readChunkHeader } from "../src/chunk/chunk_file.ts";
import { parseChunkName } from "../src/chunk/chunk_name.ts";
import type { AgentProcess } from "../tests/fixtures/agent_process.ts";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { makeCertificates } from "../tests/fixtures/certificates.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { type Behaviour, IngestServer } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";
import { seededRandom } from "../tests/fixtures/random.ts";
import { objectionTo } from "../tests/kill/strict_chunk.ts";
import { startRecordingAgent } from "./recording_agent.ts";
import { childrenOf, type Footprint, footprintOf, processesWith } from "./process.ts";

const TOKEN = "soak";
const CHUNK_SECONDS = 5;
const SAMPLE_MS = 15_000;
/** Between faults, shortest and longest: a microphone that is back is found within 64 s. */
const SERVER_PAUSE_S = [5, 40] as const;
const MICROPHONE_PAUSE_S = [15, 120] as const;
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
/** Chunks of two streams may overlap by what the estimate of a stream's start is off, seconds. */
const MOST_OVERLAP_S = 0.1;

interface Fault {
  readonly name: string;
  /** Begins it; what is returned ends it, after `seconds` if that is given, else at once. */
  readonly strike: () => Promise<() => Promise<void> | void> | (() => Promise<void> | void);
  /** How long it lasts, shortest and longest. */
  readonly seconds: readonly [number, number];
}

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

/** What the microphone hears; the player ends with the microphone. */
class Sound implements AsyncDisposable {
  #playing: AsyncDisposable | null = null;
  constructor(readonly microphone: PulseMicrophone, readonly wavFile: string) {}

  begin(): void {
    this.#playing = this.microphone.playLooped(this.wavFile);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#playing?.[Symbol.asyncDispose]();
    this.#playing = null;
  }
}

/** The keys of all files that ever came into the folder, as inotify tells it. */
class Outbox implements AsyncDisposable {
  readonly keys = new Set<string>();
  readonly #watcher: Deno.FsWatcher;
  readonly #watched: Promise<void>;

  constructor(dir: string) {
    this.#watcher = Deno.watchFs(dir, { recursive: false });
    for (const { name } of Deno.readDirSync(dir)) this.#add(name);
    this.#watched = this.#watch();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    await this.#watched;
  }

  async #watch(): Promise<void> {
    for await (const { paths } of this.#watcher) {
      for (const path of paths) this.#add(path.slice(path.lastIndexOf("/") + 1));
    }
  }

  #add(fileName: string): void {
    const key = parseChunkName(fileName)?.key;
    if (key !== undefined) this.keys.add(key);
  }
}

interface Rig {
  readonly outbox: Outbox;
  readonly agent: AgentProcess;
  readonly server: IngestServer;
  readonly microphone: PulseMicrophone;
  readonly sound: Sound;
  readonly spoolDir: string;
}

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
    const afflicted = Promise.all([
      this.#afflict(this.#serverFaults(), SERVER_PAUSE_S, seededRandom(seed), calm.signal),
      this.#afflict(
        this.#microphoneFaults(),
        MICROPHONE_PAUSE_S,
        seededRandom(seed + 1),
        calm.signal,
      ),
    ]);
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

  /** One fault after the other, with pauses. */
  async #afflict(
    faults: readonly Fault[],
    pauseS: readonly [number, number],
    random: () => number,
    calm: AbortSignal,
  ): Promise<void> {
    const between = ([least, most]: readonly [number, number]) =>
      1000 * (least + (most - least) * random());
    const pause = (ms: number) => delay(ms, { signal: calm }).catch(() => {});
    while (true) {
      await pause(between(pauseS));
      const fault = faults[Math.floor(random() * faults.length)];
      if (calm.aborted || fault === undefined) return;
      this.#struck.set(fault.name, (this.#struck.get(fault.name) ?? 0) + 1);
      const undo = await fault.strike();
      await pause(between(fault.seconds));
      await undo();
    }
  }

  #serverFaults(): Fault[] {
    const { server } = this.#rig;
    const well = () => void (server.behaviour = { kind: "ok" });
    const behaving = (name: string, behaviour: Behaviour): Fault => ({
      name,
      seconds: [2, 40],
      strike: () => {
        server.behaviour = behaviour;
        return well;
      },
    });
    return [
      behaving("503", { kind: "status", status: 503 }),
      behaving("429", { kind: "status", status: 429, headers: { "retry-after": "3" } }),
      behaving("reset before the body", { kind: "reset-before-body" }),
      behaving("reset after the body", { kind: "reset-after-body" }),
      behaving("accepted, then reset", { kind: "accept-then-reset" }),
      behaving("silence", { kind: "silence" }),
      behaving("half an answer", { kind: "broken-json" }),
      {
        name: "frozen connections",
        seconds: [0, 1],
        strike: () => {
          server.freezeConnections();
          return () => {};
        },
      },
      {
        name: "refused connections",
        seconds: [2, 40],
        strike: () => {
          server.goOffline();
          return () => this.#goOnline();
        },
      },
    ];
  }

  #microphoneFaults(): Fault[] {
    const { microphone, sound, agent } = this.#rig;
    const signal = (signal: Deno.Signal) => {
      const pids = childrenOf(agent.pid, "ffmpeg");
      for (const pid of pids) send(pid, signal);
      return pids;
    };
    return [
      {
        name: "unplugged",
        seconds: [1, 40],
        strike: async () => {
          await microphone.unplug();
          await sound[Symbol.asyncDispose]();
          return async () => {
            await microphone.replug();
            sound.begin();
          };
        },
      },
      {
        name: "suspended",
        seconds: [1, 25],
        strike: async () => {
          await microphone.suspend();
          return () => microphone.resume();
        },
      },
      {
        name: "ffmpeg killed",
        seconds: [0, 1],
        strike: () => {
          signal("SIGKILL");
          return () => {};
        },
      },
      {
        name: "ffmpeg stopped for 15 s",
        seconds: [15, 15],
        strike: () => {
          const pids = signal("SIGSTOP");
          return () => pids.forEach((pid) => send(pid, "SIGCONT"));
        },
      },
    ];
  }

  /** A connection to elsewhere may have the port meanwhile. */
  async #goOnline(): Promise<void> {
    while (true) {
      try {
        return this.#rig.server.goOnline();
      } catch (error) {
        if (!(error instanceof Deno.errors.AddrInUse)) throw error;
        await delay(50);
      }
    }
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
    const accepted = this.#acceptedS();
    // What the server has taken and the agent does not know yet is more by a chunk that is under way,
    // or whose answer was lost.
    const known = of("delivered") + of("waiting");
    if (of("delivered") > accepted + 1e-3 || accepted > known + 1e-3) {
      wrong.push(`The server has ${accepted} s: ${text}`);
    }
    return wrong;
  }

  #acceptedS(): number {
    return this.#rig.server.chunks.reduce((sum, { fields }) => sum + secondsOf(fields), 0);
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
    this.#judgeKeys();
    this.#judgeStreams();
  }

  #judgeKeys(): void {
    const { outbox, server, spoolDir } = this.#rig;
    const names = (sub: string) => [...Deno.readDirSync(join(spoolDir, sub))].map((e) => e.name);
    const keys = (files: readonly string[]) =>
      files.map((file) => parseChunkName(file)?.key ?? file);
    const accepted = new Set(server.chunks.map(({ key }) => key));
    const waiting = new Set(keys(names("outbox")));
    const sealed = [...outbox.keys];
    const uploaded = keys(names("uploaded"));
    const wrong: [string, string[]][] = [
      ["sealed and neither accepted nor waiting", sealed.filter((k) => !has(accepted, waiting, k))],
      ["filed as delivered and never accepted", uploaded.filter((k) => !accepted.has(k))],
      ["accepted and never sealed", [...accepted].filter((k) => !outbox.keys.has(k))],
      ["accepted and not filed", [...accepted].filter((k) => !uploaded.includes(k))],
      ["left in recording/", names("recording")],
      ["refused", names("rejected")],
    ];
    for (const [what, which] of wrong) {
      if (which.length > 0) this.#wrong.push(`${which.length} chunks ${what}: ${which[0]}`);
    }
    const seconds = this.#acceptedS().toFixed(1);
    console.log(
      `\nsealed ${sealed.length}, accepted ${accepted.size} (${seconds} s of sound), ` +
        `asked again under the same key ${server.duplicates}, waiting ${waiting.size}`,
    );
  }

  /** Every file whole; of each stream, every sample once. */
  #judgeStreams(): void {
    const streams = new Map<string, { from: number; to: number }[]>();
    const times: { startS: number; endS: number }[] = [];
    for (const { key, bytes, fields } of this.#rig.server.chunks) {
      const objection = objectionTo(bytes);
      if (objection !== null) this.#wrong.push(`${key}: ${objection}`);
      const tags = readChunkHeader(bytes)?.tags ?? {};
      const from = Number(tags["STREAM_SAMPLE"]);
      const id = tags["STREAM_ID"] ?? "";
      const to = from + (cutToLastPage(bytes)?.samples ?? NaN);
      streams.set(id, [...streams.get(id) ?? [], { from, to }]);
      times.push({ startS: Number(fields["start_ts"]), endS: Number(fields["end_ts"]) });
    }
    let [missing, doubled] = [0, 0];
    for (const pieces of streams.values()) {
      pieces.sort((a, b) => a.from - b.from);
      for (const [at, { from }] of pieces.entries()) {
        const before = at === 0 ? from : pieces[at - 1]?.to ?? from;
        missing += Math.max(0, from - before);
        doubled += Math.max(0, before - from);
      }
    }
    times.sort((a, b) => a.startS - b.startS);
    const overlapS = Math.max(0, ...times.slice(1).map((t, i) => (times[i]?.endS ?? 0) - t.startS));
    console.log(
      `${streams.size} streams: ${missing} samples missing inside them, ${doubled} twice; ` +
        `chunks overlap by ${(overlapS * 1000).toFixed(1)} ms at most`,
    );
    if (missing > 0) this.#wrong.push(`${missing} samples are missing inside streams`);
    if (doubled > 0) this.#wrong.push(`${doubled} samples came twice`);
    if (overlapS > MOST_OVERLAP_S) this.#wrong.push(`Chunks overlap by ${overlapS} s`);
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

function has(accepted: Set<string>, waiting: Set<string>, key: string): boolean {
  return accepted.has(key) || waiting.has(key);
}

function secondsOf(fields: Record<string, string>): number {
  return Number(fields["end_ts"]) - Number(fields["start_ts"]);
}

function send(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch { /* it has ended */ }
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
