// deno-lint-ignore-file no-console -- a person runs this
// Updates and downgrades over full spools. The first program of a chain records until its chunks can be copied. With
// some thousand of them in its spool, in every state, each program but the last one records, delivers a part, is
// refused a part, and is killed in the middle of both; the last one delivers everything. Held of every takeover: each
// chunk arrives once, whole, under its own id and its own time; what was delivered is not sent again; what was
// refused keeps its reason; no declared gap is lost. stock.ts makes the chunks.
//
// `deno task test:releases`; needs the git history, and the packages of the old releases in Deno's cache or a registry.
// The chains run side by side.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { type Behaviour, IngestServer } from "../fixtures/ingest_server.ts";
import { cutToLastPage, samplesToUs } from "../../src/chunk/chunk_file.ts";
import { namesOf, RELEASES, unpackRelease } from "./sources.ts";
import {
  faultOf,
  gapLines,
  keyIn,
  type Owed,
  type Place,
  putChunks,
  putParts,
  putRefused,
  putRest,
  putUnsure,
  sampleOf,
} from "./stock.ts";

const SOURCE = new URL("../..", import.meta.url).pathname;
const NOW = "this source";
/** Each program takes over from the one before it. A downgrade goes one release back. */
const CHAINS: readonly (readonly string[])[] = [
  ["0.1.0", NOW],
  ["0.2.0", NOW],
  [NOW, "0.2.0"],
  ["0.1.0", "0.2.0", NOW, "0.2.0", NOW],
];

/** Waiting chunks whose time is known. */
const WAITING = 3000;
/** Waiting chunks of a clock that was not set: of this boot, and of another one, seen by a right clock and not. */
const PROVISIONAL = 100;
const UPLOADED = 500;
const REJECTED = 300;
const PARTS = 20;
const GAPS = 500;
/** What each program delivers before it is killed. */
const DELIVERED = 500;
/** What each program is refused meanwhile: some of the chunks that it sends first. */
const REFUSED = 4;
const CONCURRENCY = 6;
const REFUSAL: Behaviour = { kind: "status", status: 422, body: '{"error":"the sound is odd"}' };
/** Each step must take less; it is for runs that hang. */
const LIMIT_MS = 600_000;

const dir = await Deno.makeTempDir({ prefix: "releases-" });
const bootId = (await Deno.readTextFile("/proc/sys/kernel/random/boot_id")).slice(0, 8);

/** The folder with the source of a release. */
const sourceOf = (name: string) => name in RELEASES ? join(dir, name) : SOURCE;

/** The names of the files in a directory of a spool, in order. */
async function list(spool: string, sub: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(join(spool, sub)), ({ name }) => name)).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return []; // no program has run yet
    throw error;
  }
}

async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!await isSo()) {
    if (performance.now() > endMs) throw new Error(`Not within ten minutes: ${what}`);
    await delay(100);
  }
}

/** What a spool holds, and how many requests the server had until then. */
interface State {
  readonly recording: readonly string[];
  readonly outbox: readonly string[];
  readonly uploaded: readonly string[];
  readonly rejected: readonly string[];
  readonly gaps: string;
  readonly requests: number;
}

class Chain {
  readonly #programs: readonly string[];
  readonly #spool: string;
  readonly #config: string;
  readonly #ingest: IngestServer;
  /** What must arrive, by key. */
  readonly #owed = new Map<string, Owed>();
  readonly #faults: string[] = [];
  /** The chunk that is copied. */
  #place: Place | null = null;
  /** Recordings of which nothing can be delivered. */
  #rests: string[] = [];
  /** How often a program was killed while it delivered. */
  #kills = 0;

  constructor(programs: readonly string[], spool: string, ingest: IngestServer) {
    this.#programs = programs;
    this.#spool = spool;
    this.#config = `${spool}.yaml`;
    this.#ingest = ingest;
  }

  /** What is wrong; empty if nothing is. */
  async run(): Promise<string[]> {
    const [first = ""] = this.#programs;
    await this.#fill(first);
    for (const [at, program] of this.#programs.slice(0, -1).entries()) {
      await this.#deliverSome(program);
      if (at === 0) await this.#addUnfinished();
    }
    await this.#deliverAll(this.#programs.at(-1) ?? "");
    this.#judge();
    return this.#faults;
  }

  /** How much arrived, for a person. */
  get summary(): string {
    const { chunks, duplicates } = this.#ingest;
    return `${chunks.length} chunks, ${duplicates} of them sent again after ${this.#kills} kills`;
  }

  #expect(what: string, holds: boolean): void {
    if (!holds) this.#faults.push(what);
  }

  async #configure(url: string): Promise<void> {
    await Deno.writeTextFile(
      this.#config,
      `point_id: 11111111-1111-4111-8111-111111111111
register_id: 22222222-2222-4222-8222-222222222222
device_id: 33333333-3333-4333-8333-333333333333
ingest_base_url: ${url}
ingest_token: test-token
audio_device: "null"
schedule_start: "00:00"
schedule_end: "00:00"
chunk_seconds: 2
retry_min_s: 0.2
upload_concurrency: ${CONCURRENCY}
spool_dir: ${this.#spool}
min_free_gb: 0
health_port: 0
`,
    );
  }

  #command(program: string, ...args: string[]): Deno.Command {
    return new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "main.ts", ...args, "-c", this.#config],
      cwd: sourceOf(program),
      stdout: "piped",
      stderr: "null",
    });
  }

  /** Runs a program as the service until `isOver`, and ends it with this signal. */
  async #serve(program: string, signal: Deno.Signal, isOver: () => Promise<void>): Promise<void> {
    const child = this.#command(program).spawn();
    const output = child.stdout.pipeTo(new WritableStream());
    try {
      await isOver();
    } finally {
      child.kill(signal);
      await Promise.all([child.status, output]);
    }
  }

  /** Whether there is sound in recording/. */
  async #isRecording(): Promise<boolean> {
    const { recording } = await this.#state();
    const parts = recording.filter((file) => !this.#rests.includes(file));
    return (await Promise.all(parts.map((file) => this.#cutOff(file)))).some((part) =>
      part !== null && part.samples > 0
    );
  }

  /** What can be delivered of a recording; null if it has become a chunk. */
  async #cutOff(file: string) {
    const bytes = await Deno.readFile(join(this.#spool, "recording", file)).catch(() => null);
    return bytes && cutToLastPage(bytes);
  }

  #owe(owed: readonly Owed[]): void {
    for (const one of owed) this.#owed.set(one.name.key, one);
  }

  /** The first program records without a server; its chunks are copied. */
  async #fill(program: string): Promise<void> {
    await this.#configure("http://127.0.0.1:9");
    await this.#serve(program, "SIGKILL", () =>
      until(`${program} records`, async () => {
        return (await list(this.#spool, "outbox")).length >= 3 &&
          await this.#isRecording();
      }));
    await this.#oweWhatIsThere(program);
    const place = await sampleOf(this.#spool, await namesOf(sourceOf(program)));
    this.#place = place;
    const seconds = place.name.durationUs / 1e6;
    const beforeS = WAITING * seconds + 100;
    this.#owe(await putChunks(place, "outbox", WAITING, { beforeS }));
    await putChunks(place, "uploaded", UPLOADED, { beforeS: 40_000 });
    await Deno.writeTextFile(join(this.#spool, "gaps.jsonl"), gapLines(place, GAPS), {
      append: true,
    });
    await this.#configure(this.#ingest.url);
  }

  /** What a program records itself must arrive as well, up to the last page before it was killed. */
  async #oweWhatIsThere(program: string): Promise<void> {
    const { parseChunkName, parsePartName } = await namesOf(sourceOf(program));
    const { recording, outbox } = await this.#state();
    for (const file of outbox) {
      const name = parseChunkName(file);
      this.#expect(`${program} does not read its own name ${file}`, name !== null);
      if (name === null || this.#owed.has(name.key)) continue;
      const bytes = await Deno.readFile(join(this.#spool, "outbox", file));
      this.#owe([{ name, bytes, isTimeRight: name.provisional === undefined }]);
    }
    for (const file of recording) {
      const [name, part] = [parsePartName(file), await this.#cutOff(file)];
      if (name === null || part === null || part.samples === 0) continue;
      const durationUs = samplesToUs(part.samples);
      const isTimeRight = name.provisional === undefined;
      this.#owe([{ name: { ...name, durationUs }, bytes: part.bytes, isTimeRight }]);
    }
  }

  /** Takes over, and is killed while it records and delivers. */
  async #deliverSome(program: string): Promise<void> {
    const before = await this.#state();
    const rejected = new Set(before.rejected);
    const { parseChunkName } = await namesOf(sourceOf(program));
    const waiting = before.outbox.filter((file) => parseChunkName(file)?.provisional === undefined);
    const refused = Array.from({ length: REFUSED }, (_, at) => keyIn(waiting[at * 20 + 10] ?? ""));
    for (const key of refused) this.#ingest.byKey.set(key, REFUSAL);
    const goal = this.#ingest.chunks.length + DELIVERED;
    await this.#serve(
      program,
      "SIGKILL",
      () =>
        until(`${program} delivers, is refused, and records`, async () => {
          const now = await list(this.#spool, "rejected");
          const isRefused = refused.every((key) =>
            now.some((file) => file.endsWith(".ogg") && keyIn(file) === key)
          );
          return isRefused && this.#ingest.chunks.length >= goal && await this.#isRecording();
        }),
    );
    this.#kills++;
    const after = await this.#state();
    this.#judgeTakeover(program, before, after);
    for (const file of after.rejected.filter((file) => !rejected.has(file))) {
      if (!file.endsWith(".ogg")) continue;
      const hasReason = after.rejected.includes(`${file}.reason.json`);
      this.#expect(`${program} refuses ${file} without a reason`, hasReason);
    }
    await this.#oweWhatIsThere(program);
  }

  /**
   * Adds what the next program must do something about: provisional times, recordings that were cut off, and chunks
   * that the release was refused, with the reason that it wrote itself.
   */
  async #addUnfinished(): Promise<void> {
    const place = this.#place;
    if (place === null) return;
    const rejected = join(this.#spool, "rejected");
    const written = (await list(this.#spool, "rejected")).find((file) => file.endsWith(".json"));
    const reason = await Deno.readTextFile(join(rejected, written ?? ""));
    this.#owe([
      ...await putRefused(place, REJECTED, { beforeS: 50_000, reason, key: keyIn(written ?? "") }),
      ...await putParts(place, PARTS, 60_000),
      ...await putUnsure(place, PROVISIONAL, { bootId, beforeS: 20_000 }),
    ]);
    await putRest(place, new Uint8Array(0));
    this.#rests = [await putRest(place, new TextEncoder().encode("This is not sound. ".repeat(9)))];
  }

  /** The last program: everything arrives, also what was refused, once a person asks for it. */
  async #deliverAll(program: string): Promise<void> {
    const before = await this.#state();
    this.#ingest.byKey.clear();
    const parts = new Set(before.recording);
    await this.#serve(program, "SIGTERM", async () => {
      const waiting = new Set(before.outbox);
      await until(`${program} delivers what waits`, async () => {
        const { outbox, recording } = await this.#state();
        // Renamed, a chunk keeps its key.
        return !recording.some((file) => parts.has(file)) &&
          !outbox.some((file) => waiting.has(file) || this.#owed.has(keyIn(file)));
      });
      const listed = await this.#requeue(program);
      const refused = before.rejected.filter((file) => file.endsWith(".ogg"));
      for (const file of refused) {
        const line = listed.split("\n").find((line) => line.includes(keyIn(file))) ?? "";
        this.#expect(
          `${program} does not list why ${file} was refused: ${line}`,
          line.includes("422"),
        );
      }
      const moved = await this.#requeue(program, "--all");
      this.#expect(
        `${program} requeues ${moved.trim().split("\n").at(-1)}`,
        moved.includes(`${refused.length} chunks moved to outbox/.`),
      );
      const keys = () => new Set(this.#ingest.chunks.map(({ key }) => key));
      await until(`${program} delivers what was refused`, () => {
        const arrived = keys();
        return refused.every((file) => arrived.has(keyIn(file)));
      });
    });
    const after = await this.#state();
    this.#judgeTakeover(program, before, after);
    this.#expect(`recording/ still has ${after.recording}`, after.recording.length === 0);
    const rest = this.#rests.flatMap((file) => [file, `${file}.reason.json`]);
    this.#expect(
      `rejected/ has ${after.rejected}, and must have ${rest}`,
      after.rejected.join() === rest.join(),
    );
    const { parseChunkName } = await namesOf(sourceOf(program));
    const kept = new Set(after.uploaded.map((file) => parseChunkName(file)?.key));
    for (const key of this.#owed.keys()) {
      this.#expect(`uploaded/ does not have ${key}`, kept.has(key));
    }
  }

  async #requeue(program: string, ...args: string[]): Promise<string> {
    const { stdout } = await this.#command(program, "requeue", ...args).output();
    return new TextDecoder().decode(stdout);
  }

  async #state(): Promise<State> {
    const [recording, outbox, uploaded, rejected] = await Promise.all(
      ["recording", "outbox", "uploaded", "rejected"].map((sub) => list(this.#spool, sub)),
    ) as [string[], string[], string[], string[]];
    const gaps = await Deno.readTextFile(join(this.#spool, "gaps.jsonl")).catch(() => "");
    return { recording, outbox, uploaded, rejected, gaps, requests: this.#ingest.requests.length };
  }

  /** What every takeover must leave as it was. */
  #judgeTakeover(
    program: string,
    before: State,
    after: State,
  ): void {
    const delivered = new Set(before.uploaded.map(keyIn));
    for (const { key } of this.#ingest.requests.slice(before.requests)) {
      this.#expect(
        `${program} sends ${key} again, which is in uploaded/`,
        !delivered.has(key ?? ""),
      );
    }
    const kept = new Set(after.uploaded.map(keyIn));
    for (const key of delivered) this.#expect(`${program} deletes ${key}`, kept.has(key));
    this.#expect(`${program} loses a declared gap`, after.gaps.startsWith(before.gaps));
    const there = new Set([...after.recording, ...after.outbox, ...after.rejected].map(keyIn));
    for (const file of before.recording) {
      this.#expect(`${program} leaves ${file}`, !after.recording.includes(file));
    }
    for (const key of this.#owed.keys()) {
      this.#expect(`${program} loses ${key}`, kept.has(key) || there.has(key));
    }
  }

  #judge(): void {
    const { chunks, violations, duplicates } = this.#ingest;
    const arrived = new Map(chunks.map((chunk) => [chunk.key, chunk]));
    this.#expect("a chunk was accepted twice", arrived.size === chunks.length);
    for (const owed of this.#owed.values()) {
      const fault = faultOf(owed, arrived.get(owed.name.key), bootId);
      if (fault !== null) this.#faults.push(`${owed.name.key} ${fault}`);
    }
    this.#faults.push(...violations);
    // The server had them, and the program was killed before it knew.
    const most = this.#kills * CONCURRENCY;
    this.#expect(`${duplicates} chunks were sent again, not ${most}`, duplicates <= most);
  }
}

let failed = 0;
try {
  for (const name of Object.keys(RELEASES)) await unpackRelease(name, sourceOf(name));
  await Promise.all(CHAINS.map(async (programs) => {
    await using ingest = await IngestServer.start();
    const chain = new Chain(programs, await Deno.makeTempDir({ dir }), ingest);
    const faults = await chain.run().catch((error) => [String(error)]);
    failed += faults.length;
    console.log(`${faults.length === 0 ? "✔" : "✘"} ${programs.join(" → ")}: ${chain.summary}`);
    for (const fault of faults.slice(0, 20)) console.log(`    ${fault}`);
    if (faults.length > 20) console.log(`    and ${faults.length - 20} more`);
  }));
} finally {
  await Deno.remove(dir, { recursive: true });
}
Deno.exit(failed === 0 ? 0 : 1);
