// One schedule: a till starts, records, waits, fails, crashes and starts again, all drawn from one seed;
// on its last day everything works. The schedule decides what happens; the oracle judges the outcome.

import { join } from "@std/path/join";
import type { Behaviour } from "../fixtures/ingest_server.ts";
import { FaultDisk } from "../fixtures/fault_disk.ts";
import { seededRandom, seededUuid } from "../fixtures/random.ts";
import { drawAnswer } from "./answers.ts";
import { ScheduleClock } from "./clock.ts";
import { breakDisk, damageName, drawDeath, repairDisk } from "./disk_faults.ts";
import { Oracle, type Outcome } from "./oracle.ts";
import type { Stop } from "./packets.ts";
import type { Surroundings } from "./surroundings.ts";
import { Program, type ProgramOptions, type World } from "./program.ts";

const NOON = Date.UTC(2026, 10, 23, 12);
const DAY_MS = 86_400_000;
/** The timeout of an attempt at a slow server, in real time. */
const SHORT_TIMEOUT_MS = 80;

export interface ScheduleResult {
  readonly outcome: Outcome;
  /** Faults that happened, by kind. */
  readonly injected: Readonly<Record<string, number>>;
  readonly boots: number;
  readonly largestLossMs: Readonly<Record<Stop, number>>;
}

/** A schedule that the oracle did not accept, with its trace. */
export class ScheduleFailed extends Error {
  constructor(readonly seed: number, readonly trace: readonly string[], cause: unknown) {
    super(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** @throws {ScheduleFailed} if sound is lost, doubled, out of order or torn. */
export async function runSchedule(
  seed: number,
  surroundings: Surroundings,
): Promise<ScheduleResult> {
  using schedule = new Schedule(seed, surroundings);
  try {
    return await schedule.run();
  } catch (error) {
    throw new ScheduleFailed(seed, schedule.trace, error);
  }
}

class Schedule implements Disposable {
  readonly #random: () => number;
  readonly #surroundings: Surroundings;
  readonly #clock = new ScheduleClock(NOON);
  readonly #disk: FaultDisk;
  readonly #oracle: Oracle;
  readonly #world: World;
  readonly #options: Omit<ProgramOptions, "baseUrl" | "timeoutMs">;
  readonly #randomUUID = crypto.randomUUID;
  readonly #counts: Record<string, number> = {};
  /** The kind of fault that this schedule has most of: some faults coincide only if each is frequent. */
  readonly #theme: "any" | "refusals" | "evictions";
  /** Names of the answers, for the count. */
  readonly #answers = new Map<Behaviour, string>();
  #boots = 0;
  /** The offset of a correct clock. */
  readonly #trueOffsetMs: number;

  constructor(seed: number, surroundings: Surroundings) {
    const random = this.#random = seededRandom(seed);
    this.#surroundings = surroundings;
    const { server } = surroundings;
    server.onAnswer = (behaviour) => {
      const name = this.#answers.get(behaviour);
      if (name !== undefined) this.#counts[name] = (this.#counts[name] ?? 0) + 1;
    };
    server.chunks.length = server.violations.length = server.script.length = 0;
    server.duplicates = 0;
    server.byKey.clear();
    const dir = join(surroundings.dir, `seed-${seed}`, "spool");
    // Concurrent code draws from random numbers of its own.
    this.#disk = new FaultDisk(dir, seededRandom(seed + 1e9), () => this.#clock.unixMs());
    this.#oracle = new Oracle(this.#disk, server);
    this.#trueOffsetMs = this.#clock.offsetMs;
    this.#theme = this.#pick(["any", "any", "any", "refusals", "evictions"]);
    this.#world = {
      disk: this.#disk,
      clock: this.#clock,
      oracle: this.#oracle,
      random,
      boot: this.#newBoot(),
      clockIsTrusted: this.#theme !== "refusals",
    };
    if (!this.#world.clockIsTrusted) this.#clock.offsetMs -= 30 * DAY_MS;
    this.#options = {
      tlsCaFile: null,
      chunkSeconds: this.#pick([1, 2, 4, 8]),
      syncIntervalMs: 5000,
      concurrency: this.#pick([1, 2, 3, 4]),
      deferMs: this.#theme === "refusals" ? 0 : this.#pick([0, 60_000]),
      limits: {
        keepDeliveredDays: this.#pick([7, 7, 0.02]),
        maxWaitingDays: this.#pick([7, 7, 0.01]),
        maxSpoolBytes: this.#pick([1e9, 1e9, 12_000, 40_000]),
        minFreeBytes: this.#pick([0, 5000]),
        chunkBytes: 6000,
      },
    };
    crypto.randomUUID = this.#seededUuids(seededRandom(seed + 2e9));
  }

  get trace(): readonly string[] {
    return this.#disk.trace;
  }

  [Symbol.dispose](): void {
    crypto.randomUUID = this.#randomUUID;
    this.#disk[Symbol.dispose]();
    Deno.removeSync(join(this.#disk.dir, ".."), { recursive: true });
  }

  async run(): Promise<ScheduleResult> {
    Deno.mkdirSync(this.#disk.dir, { recursive: true });
    for (let boots = 2 + this.#draw(3); boots > 0; boots--) await this.#boot();
    await this.#drain();
    const { injected } = this.#disk;
    const { largestLoss } = this.#oracle.packets;
    return {
      outcome: this.#oracle.outcome(),
      injected: { ...injected, ...this.#counts },
      boots: this.#boots,
      largestLossMs: {
        "kill": largestLoss["kill"] * 20,
        "power cut": largestLoss["power cut"] * 20,
        "end": largestLoss["end"] * 20,
      },
    };
  }

  async #boot(): Promise<void> {
    const stop: Stop = this.#pick(["end", "kill", "kill", "power cut", "power cut"]);
    const isSlow = this.#random() < 0.04;
    if (isSlow) this.#surroundings.server.script.unshift(this.#answer({ slow: true }));
    const program = this.#makeProgram(this.#drawUrl(), isSlow ? SHORT_TIMEOUT_MS : 3000);
    if (stop !== "end") {
      program.process.death = drawDeath(this.#random);
    }
    this.#note(`--- boot ${this.#boots}, ${stop}, ${JSON.stringify(program.process.death)}`);
    if (this.#random() < 0.2) this.#breakDisk();
    await program.start();
    for (let actions = 2 + this.#draw(6); actions > 0 && program.isAlive; actions--) {
      await this.#act(program);
    }
    await this.#end(program, stop);
  }

  /** A day on which everything works, unless the server stays unreachable: then everything waits. */
  async #drain(): Promise<void> {
    const { server } = this.#surroundings;
    repairDisk(this.#disk);
    await this.#surroundings.server.goOnline();
    server.script.length = 0;
    if (this.#random() < 0.5) server.byKey.clear();
    server.behaviour = { kind: "ok" };
    this.#setClock(this.#trueOffsetMs);
    this.#world.clockIsTrusted = true;
    const program = this.#makeProgram(this.#random() < 0.1 ? this.#dnsFailure : server.url);
    this.#note("--- drain");
    await program.start();
    for (let rounds = 0; rounds < 40 && program.spool?.tally.outbox.files !== 0; rounds++) {
      await program.wait(60_000);
    }
    // Refused chunks are tried again after an hour, and then one after the other.
    for (let rounds = 0; rounds < 4 && program.spool?.tally.rejected.files !== 0; rounds++) {
      await program.wait(3_600_000);
    }
    await this.#end(program, "end");
  }

  async #end(program: Program, stop: Stop): Promise<void> {
    const isClean = stop === "end" && program.isAlive && await program.stop();
    this.#oracle.verify();
    if (!isClean) program.die();
    await this.#connectionsClosed();
    if (isClean) return this.#oracle.check("end");
    this.#count(stop === "power cut" ? "power cut" : "kill");
    if (stop !== "power cut") {
      this.#oracle.check("kill");
      this.#clock.jump(5000);
      return;
    }
    this.#disk.cutPower(this.#pick(["journal", "journal", "scattered"]));
    this.#oracle.check("power cut");
    this.#clock.jump(this.#pick([20_000, 600_000, DAY_MS / 2]));
    this.#world.boot = this.#newBoot();
    // No battery keeps the time: after a boot it is the last saved time, until the network corrects it.
    if (this.#random() < 0.4) {
      this.#world.clockIsTrusted = false;
      this.#setClock(this.#clock.offsetMs - this.#pick([20_000, DAY_MS / 2, 30 * DAY_MS]));
      this.#count("clock not synchronized");
    }
    if (this.#random() < 0.5) repairDisk(this.#disk);
  }

  async #act(program: Program): Promise<void> {
    const action = this.#pick([
      ...Array<"hear">(8).fill("hear"),
      "wait",
      "wait",
      "reconnect",
      "disk",
      "disk",
      ...Array<"name">(this.#theme === "evictions" ? 4 : 1).fill("name"),
      "answers",
      "answers",
      "window",
      "limit",
      ...Array<"poison">(3).fill("poison"),
      "offline",
      "backlog",
      ...Array<"clock">(this.#world.clockIsTrusted ? 1 : 4).fill("clock"),
    ]);
    this.#note(`- ${action}`);
    const { server } = this.#surroundings;
    switch (action) {
      case "hear":
        await program.hear(400 + this.#draw(6000));
        return;
      case "wait":
        program.endStream();
        await program.wait(this.#pick([1000, 60_000, 301_000, 1_200_000]));
        return;
      case "reconnect":
        program.endStream();
        return;
      case "disk":
        return this.#random() < 0.5 ? repairDisk(this.#disk) : this.#breakDisk();
      case "name":
        this.#count("damaged name");
        return this.#note(`  ${damageName(this.#disk, this.#random)}`);
      case "answers":
        for (let count = 1 + this.#draw(5); count > 0; count--) {
          server.script.push(this.#answer());
        }
        return;
      case "window":
        server.behaviour = this.#random() < (this.#theme === "refusals" ? 0.2 : 0.6)
          ? { kind: "ok" }
          : this.#answer();
        return;
      case "limit":
        server.behaviour = { kind: "limit", bytes: 400 + this.#draw(4000) };
        this.#count("size limit");
        return;
      case "poison":
        return this.#poison();
      case "offline":
        this.#count("connection refused");
        server.goOffline();
        await program.hear(1000);
        if (this.#random() < 0.7) await this.#surroundings.server.goOnline();
        return;
      case "backlog":
        return await this.#drainBacklog(program);
      case "clock":
        return this.#changeClock(program);
    }
  }

  /** From now on the server fails on one of the waiting chunks, forever or until the last day. */
  #poison(): void {
    const { server } = this.#surroundings;
    const waiting = this.#oracle.waiting;
    const key = waiting[this.#draw(waiting.length)];
    if (key === undefined) return;
    const answer = this.#answer();
    server.byKey.set(key, answer);
    this.#count("fails on one chunk");
  }

  /** Chunks have waited for a server that is now back, and that fails only occasionally. */
  async #drainBacklog(program: Program): Promise<void> {
    const { server } = this.#surroundings;
    this.#count("connection refused");
    server.goOffline();
    await program.hear(3000 + this.#draw(12_000));
    program.endStream();
    for (let count = 12; count > 0; count--) {
      server.script.push(this.#random() < 0.85 ? { kind: "ok" } : this.#answer());
    }
    await this.#surroundings.server.goOnline();
    await program.wait(this.#pick([1000, 60_000, 301_000]));
  }

  #answer(options: { slow?: boolean } = {}) {
    const refusals = this.#theme === "refusals" ? 0.7 : 0.2;
    const { name, behaviour } = drawAnswer(this.#random, { ...options, refusals });
    this.#note(`  ${name}`);
    this.#answers.set(behaviour, name);
    return behaviour;
  }

  #changeClock(program: Program): void {
    if (this.#world.clockIsTrusted) {
      this.#count("clock step");
      this.#setClock(this.#clock.offsetMs + this.#pick([-7200e3, -5000, 1500, 3600e3, DAY_MS]));
    } else {
      this.#setClock(this.#trueOffsetMs);
      program.clockTrusted();
    }
  }

  #setClock(offsetMs: number): void {
    this.#clock.offsetMs = offsetMs;
  }

  #breakDisk(): void {
    const calls = this.#theme === "evictions"
      ? ["list", "remove", "rename", "write"] as const
      : undefined;
    this.#note(`  disk: ${breakDisk(this.#disk, this.#random, calls)}`);
  }

  #makeProgram(baseUrl: string, timeoutMs = 3000): Program {
    this.#boots++;
    const limits = { ...this.#options.limits };
    // Where the limit was reduced, several chunks must go at a time.
    if (this.#theme === "evictions") limits.maxSpoolBytes = this.#pick([9000, 12_000, 60_000]);
    return new Program(this.#world, { ...this.#options, limits, baseUrl, timeoutMs });
  }

  #drawUrl(): string {
    const { server, untrusted } = this.#surroundings;
    const draw = this.#random();
    if (draw < 0.04) return this.#dnsFailure;
    if (draw < 0.08) {
      this.#count("certificate not trusted");
      return untrusted.url;
    }
    if (draw < 0.12) {
      this.#count("no TLS at the port");
      return server.url.replace("http:", "https:");
    }
    return server.url;
  }

  /** No DNS query contains a label of more than 63 characters (RFC 1035, section 2.3.4). */
  get #dnsFailure(): string {
    this.#count("DNS failure");
    return `http://${"x".repeat(64)}.invalid`;
  }

  #newBoot() {
    const id = Math.floor(this.#random() * 2 ** 32).toString(16).padStart(8, "0");
    return { id, zeroMs: -this.#clock.monotonicMs };
  }

  /** Waits until the connections of a dead client are closed. */
  async #connectionsClosed(): Promise<void> {
    const { server } = this.#surroundings;
    while (server.openConnections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Seeded UUIDs for the program only: the server draws its own in an unpredictable order. */
  #seededUuids(random: () => number): typeof crypto.randomUUID {
    const original = () => this.#randomUUID.call(crypto);
    return () => {
      if (!this.#disk.isInside) return original();
      return seededUuid(random);
    };
  }

  #draw(below: number): number {
    return Math.floor(this.#random() * below);
  }

  #pick<T>(of: readonly [T, ...T[]] | readonly T[]): T {
    return of[this.#draw(of.length)] as T;
  }

  #count(kind: string): void {
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
    this.#note(`  ${kind}`);
  }

  #note(line: string): void {
    this.#disk.trace.push(line);
  }
}
