// Answers one question about every schedule: where is the sound? It receives what was heard, sealed,
// answered, deleted and counted, reads the folder itself, and reports violations. It drives nothing, and
// every exception that it accepts is written here.

import { join } from "@std/path/join";
import {
  CHUNK_DIRS,
  type ChunkName,
  formatChunkName,
  parseChunkName,
  parsePartName,
  type PartName,
} from "../../src/chunk/chunk_name.ts";
import type { ChunkTimes } from "../../src/chunk/chunk_times.ts";
import type { Spool } from "../../src/spool/spool.ts";
import type { GapRecord } from "../../src/status/gap_log.ts";
import type { Status } from "../../src/status/status.ts";
import type { FaultDisk } from "../fixtures/fault_disk.ts";
import type { IngestServer } from "../fixtures/ingest_server.ts";
import { Packets, type Stop } from "./packets.ts";
import { readSound, type Sound } from "./sound.ts";

/** After this many failed attempts, or refusals, a chunk no longer blocks those after it. */
const SUSPECT_AFTER = 8;
const SUSPECT_AFTER_REFUSALS = 2;
/** The length in a name may differ from that of the sound by this much, as the system clock slews. */
const SLEWED_US = 20_000;
/**
 * Or by so much, where a stream broke off within a read: the packets before it had waited, by up to a page,
 * and what they tell of the stream's start is put right by those that follow.
 */
const READ_US = 400_000;
/** A larger distance is not a seam: the system clock was stepped there. */
const STEPPED_US = 1e6;
/** Chunks of unsure time that lie this close are one sound, and must join when they get their true time. */
const JOIN_US = 5_000;

/** After this many chunks that it cannot delete the janitor gives up, with the others declared. */
const MAX_STUCK = 10;

const REASON = ".reason.json";
/** Causes of gaps that are deleted chunks. */
const DELETIONS = ["evicted", "expired"];

/** A result that the oracle does not accept. */
export class Violation extends Error {}

interface Place {
  readonly dir: string;
  readonly fileName: string;
  readonly sound: Sound;
}

/** Two chunks of one sound in a directory, by their keys. */
export interface JoinedChunks {
  readonly dir: string;
  readonly first: string;
  readonly second: string;
}

interface Removal {
  readonly dir: string;
  readonly key: string;
  readonly name: ChunkName;
  readonly bytes: number;
  readonly seconds: number;
}

/** The failures of a chunk in this run of the program. */
interface Failures {
  attempts: number;
  refusals: number;
  /** The size of the largest chunk that was accepted after the last failure. */
  acceptedBytes: number;
  /** A refusal, after which another chunk was accepted that proves that the server accepts such chunks. */
  isBlamed: boolean;
}

/** What became of the chunks, for the table. */
export interface Outcome {
  /** The sum of the next six. */
  sealed: number;
  accepted: number;
  waiting: number;
  refused: number;
  evicted: number;
  /** Deleted, and not declared as the disk did not let it. */
  undeclared: number;
  lost: number;
  /** Accepted, with the same sound also accepted under another key. */
  doubled: number;
  /** Deleted and counted; the deletion was undone by a power cut. */
  returned: number;
  /** The same chunk under the same key, again. */
  repeats: number;
  /** Sent while an older one was in flight. */
  begunBehind: number;
  /** Went to rejected/, where they may have been delivered from since. */
  blamed: number;
}

export class Oracle {
  readonly packets = new Packets();
  /** Keys of chunks that the program is about to delete. */
  deleting: ReadonlySet<string> = new Set();
  readonly #disk: FaultDisk;
  readonly #server: IngestServer;
  readonly #sealed = new Set<string>();
  /** Keys of chunks that were deleted before they were delivered, and whether they were declared. */
  readonly #evicted = new Map<string, "declared" | "undeclared">();
  readonly #soundOf = new Map<string, readonly number[]>();
  readonly #acceptedKeyOf = new Map<number, string>();
  #acceptedSeen = 0;
  #removals: Removal[] = [];
  /** Removals of this run of the program. */
  #removedInRun: Removal[] = [];
  /** Whether the last attempt of this run to write gaps.jsonl failed: what it held is not declared yet. */
  #isUndeclarable = false;
  /** What this run has declared as deleted, written or held. */
  #declaredInRun: GapRecord[] = [];
  /** Names of the chunks that this run sent. */
  readonly #sentAs = new Map<string, ChunkName>();
  /** Keys of chunks that the disk may not have let the program delete in this run. */
  readonly #undeletable = new Set<string>();
  /** Attempts of this run of the program without delivery, by key. */
  #failures = new Map<string, Failures>();
  /** Deleted, and restored by a power cut: perhaps without its reason file. */
  readonly #returned = new Set<string>();
  /** Requests that may be in flight together. */
  #concurrency = 1;
  /** Keys of chunks that the uploader has started to send, without a known failure. */
  readonly #inFlight = new Set<string>();
  /** Those of them that were accepted: moved to uploaded/ at the latest when the program is idle. */
  readonly #landed = new Set<string>();
  /** Keys of chunks that the server has accepted in this run: they are never sent again in it. */
  readonly #acceptedInRun = new Set<string>();
  /** Requests that started while an older one was in flight. */
  #begunBehind = 0;
  /** Keys of the chunks in rejected/ that were there before. */
  #refused = new Set<string>();
  /** Keys of all chunks that ever were in rejected/. */
  readonly #blamed = new Set<string>();
  /** Names of the chunks in outbox/ when time last advanced. */
  #waiting: ReadonlySet<string> = new Set();
  /** Keys of chunks whose reason could not be written, whatever their present name. */
  readonly #unwritable = new Set<string>();
  /** The number of sizes that could not be read before this run began. */
  #untold = 0;
  /** The times of the chunk that this run sealed last. */
  #sealedLast: ChunkTimes | null = null;
  /** Boots whose names may have got their true time: the clock was right in them. */
  readonly #rightBoots = new Set<string>();
  /** By key, the boot that a name of unsure time told. */
  readonly #bootOf = new Map<string, string>();
  #isInterrupted = false;
  #violation: Violation | null = null;

  constructor(disk: FaultDisk, server: IngestServer) {
    this.#disk = disk;
    this.#server = server;
    disk.onCall = (call, path) => {
      if (call !== "read") return;
      const name = parseChunkName(path.slice(path.lastIndexOf("/") + 1));
      if (name !== null) this.#sentAs.set(name.key, name);
      if (path.startsWith(join(disk.dir, "outbox"))) this.#sends(path);
    };
    disk.onRemoved = (path, content) => this.#removed(path, content);
    disk.onFault = (path, call, isDamaged) => {
      // What cannot be renamed, deleted or read is there all the same.
      if (!isDamaged || call === "sync") this.packets.diskFailed();
      if (path.endsWith(REASON)) this.#unwritable.add(keyOfReason(path));
      const fileName = path.slice(path.lastIndexOf("/") + 1);
      const key = parseChunkName(fileName)?.key;
      if (key === undefined) return;
      this.#undeletable.add(key);
      if (this.#inFlight.has(key)) this.#failed(key, 0, 0);
      else this.#mayHaveFailed(key);
    };
  }

  /** Keys of the chunks that waited when time last advanced. */
  get waiting(): string[] {
    return [...this.#waiting].map((name) => parseChunkName(name)?.key ?? "");
  }

  /** Records a packet from the microphone. Returns its number. */
  heard(): number {
    return this.packets.heard();
  }

  /** Records that the program reports this chunk as durable in outbox/. Where nothing is missing, it joins. */
  sealed(key: string, times: ChunkTimes): void {
    this.#sealed.add(key);
    const before = this.#sealedLast;
    this.#sealedLast = times;
    if (before === null || times.gapMs > 0 || times.startMs !== before.endMs) return;
    const betweenUs = times.startUnixUs - before.endUnixUs;
    this.#must(
      betweenUs === 0 || Math.abs(betweenUs) > STEPPED_US,
      () => `${key} begins ${betweenUs} us behind the chunk that it joins`,
    );
  }

  /** Something else than a packet came within a read. */
  interrupted(kind: string): void {
    this.#isInterrupted = true;
    this.#disk.injected[kind] = (this.#disk.injected[kind] ?? 0) + 1;
  }

  /** The system clock is right in this boot, from now on. */
  clockTrusted(bootId: string): void {
    this.#rightBoots.add(bootId);
  }

  /** Chunks of this boot and of unsure time, of which one ends where the next begins. */
  joinedChunks(bootId: string): JoinedChunks[] {
    return CHUNK_DIRS.flatMap((dir) => {
      const unsure = this.#disk.outside(() => this.#list(dir)).map(parseChunkName)
        .filter((name) =>
          name?.provisional?.bootId === bootId || name?.provisional?.seenUnixS === null
        )
        .filter((name) => name !== null);
      return unsure.flatMap((second, index) => {
        const first = unsure[index - 1];
        if (first?.provisional?.bootId !== bootId || second.provisional?.bootId !== bootId) {
          return [];
        }
        const endUs = first.provisional.startBootUs + first.durationUs;
        const isJoined = Math.abs(second.provisional.startBootUs - endUs) < JOIN_US;
        return isJoined ? [{ dir, first: first.key, second: second.key }] : [];
      });
    });
  }

  /** All names have got their true time: of the chunks that joined before, those still there do. */
  retimed(joined: readonly JoinedChunks[]): void {
    for (const { dir, first, second } of joined) {
      const names = this.#disk.outside(() => this.#list(dir)).map(parseChunkName);
      const [one, other] = [first, second].map((key) => names.find((name) => name?.key === key));
      if (!one || !other || one.provisional || other.provisional) continue;
      const betweenUs = other.startUnixUs - one.startUnixUs - one.durationUs;
      this.#must(betweenUs === 0, () => `${second} got a time ${betweenUs} us behind ${first}`);
    }
  }

  /** Records a start of the program. @param concurrency requests that it may have in flight. */
  started(concurrency: number): void {
    this.#concurrency = concurrency;
    this.#sealedLast = null;
    this.#inFlight.clear();
    this.#landed.clear();
    this.#acceptedInRun.clear();
    this.#removedInRun = [];
    this.#isUndeclarable = false;
    this.#declaredInRun = [];
    this.#sentAs.clear();
    this.#undeletable.clear();
    this.#failures = new Map();
    this.#untold = this.#disk.injected["EIO look"] ?? 0;
    this.packets.started();
  }

  /** Records that the start has recovered what the last run left in recording/. */
  recovered(): void {
    this.#waiting = new Set(this.#list("outbox"));
    this.#refused = new Set(this.#list("rejected").map((name) => parseChunkName(name)?.key ?? ""));
    this.packets.recovered(this.#list("recording").length === 0);
  }

  /** Records that the program writes gaps to gaps.jsonl, before it does. */
  declares(gaps: readonly GapRecord[]): void {
    this.#declaredInRun.push(...gaps.filter(({ cause }) => DELETIONS.includes(cause)));
  }

  /** Records the result: what could not be written before is written, too, or nothing is. */
  declared(isWritten: boolean): void {
    this.#isUndeclarable = !isWritten;
  }

  /** Records that everything from the chunker has been written. */
  everythingWritten(): void {
    this.packets.written();
  }

  /** Records a verdict; `status` is that of a refusal. */
  answered(key: string, sizeBytes: number, verdict: string, status: number | null): void {
    if (verdict !== "delivered") return this.#failed(key, sizeBytes, status);
    this.#landed.add(key);
    this.#acceptedInRun.add(key);
    for (const [other, failures] of this.#failures) {
      if (other === key) continue;
      failures.acceptedBytes = Math.max(failures.acceptedBytes, sizeBytes);
    }
  }

  /** @param status 0: the file could not be read. */
  #failed(key: string, sizeBytes: number, status: number | null): void {
    this.#inFlight.delete(key);
    const before = this.#failures.get(key) ??
      { attempts: 0, refusals: 0, acceptedBytes: 0, isBlamed: false };
    const proofBytes = status === 413 ? sizeBytes : 1;
    this.#failures.set(key, {
      attempts: before.attempts + 1,
      refusals: before.refusals + (status === null ? 0 : 1),
      acceptedBytes: 0,
      isBlamed: status !== null && before.acceptedBytes >= proofBytes,
    });
  }

  /** A look at the file failed: the uploader's, which then counts as a failure, or that of another part. */
  #mayHaveFailed(key: string): void {
    const before = this.#failures.get(key) ??
      { attempts: 0, refusals: 0, acceptedBytes: 0, isBlamed: false };
    this.#failures.set(key, {
      attempts: before.attempts + 1,
      refusals: before.refusals + 1,
      acceptedBytes: before.acceptedBytes,
      isBlamed: before.isBlamed || before.acceptedBytes > 0,
    });
  }

  /** Records a loss that the program counts: chunks that the janitor deleted have names, unsealed ones do not. */
  countedLost(losses: { chunks: number; seconds: number; bytes: number; first?: string }): void {
    if (losses.first === undefined) return;
    // Each directory is counted by itself.
    const counted = Map.groupBy(this.#removals, ({ dir }) => dir).values().find((removed) => {
      const sum = (of: (removal: Removal) => number) => removed.reduce((a, b) => a + of(b), 0);
      return losses.chunks === removed.length && losses.bytes === sum(({ bytes }) => bytes) &&
        Math.abs(losses.seconds - sum(({ seconds }) => seconds)) < 1e-3;
    });
    const text = () =>
      `counted as lost: ${JSON.stringify(losses)}; deleted: ${JSON.stringify(this.#removals)}`;
    this.#must(counted !== undefined, text);
    this.#removals = this.#removals.filter((removal) => counted?.includes(removal) !== true);
  }

  /**
   * Asserts, while the program is idle, that its tally agrees with the folder.
   * @param isStopped a stop ends the counting of sizes.
   */
  checkTally(spool: Spool, isStopped = false): void {
    for (const key of this.#landed) this.#inFlight.delete(key);
    this.#landed.clear();
    this.#must(
      this.#removals.length === 0 || spool.deleting.size > 0, // it counts at the end
      () => `deleted and not counted: ${JSON.stringify(this.#removals)}`,
    );
    for (const dir of CHUNK_DIRS) {
      const names = this.#list(dir).filter((name) => parseChunkName(name) !== null);
      if (dir === "outbox") this.#waiting = new Set(names);
      if (dir === "rejected") this.#checkRefused(names);
      const bytes = names.reduce((sum, name) => sum + this.#size(dir, name), 0);
      const { files, bytes: tallied } = spool.tally[dir];
      // A size that could not be read counts as 0 until the directory is counted again, and all do so until
      // the first pass of the janitor is over.
      const isTold = (this.#disk.injected["EIO look"] ?? 0) === this.#untold &&
        spool.deleting.size === 0 && !isStopped;
      this.#must(
        files === names.length && (tallied === bytes || !isTold),
        () => `${dir}/ has ${names.length} chunks, ${bytes} bytes; the tally: ${files}, ${tallied}`,
      );
    }
  }

  /**
   * Asserts that chunks went to rejected/ for a fault of their own: each was refused once more after another
   * chunk had been accepted, for its size only if that one was at least as large.
   */
  #checkRefused(names: readonly string[]): void {
    for (const key of names.map((name) => parseChunkName(name)?.key ?? "")) {
      const isKnown = this.#refused.has(key);
      this.#refused.add(key);
      this.#blamed.add(key);
      this.#must(
        isKnown || this.#failures.get(key)?.isBlamed === true,
        () => `${key} is in rejected/, and nothing proves that the server accepts others`,
      );
    }
  }

  /** Asserts, while the program is idle and no chunk is being sealed, that the seconds add up. */
  checkBooks(spool: Spool, status: Status): void {
    const { ledger } = status.report(spool);
    this.#must(
      Math.abs(ledger.unaccounted_s) < 1e-6,
      () => `the ledger does not balance: ${JSON.stringify(ledger)}`,
    );
  }

  /** @throws the first violation, whichever call found it. */
  verify(): void {
    if (this.#violation !== null) throw this.#violation;
  }

  /** Asserts, after the end of the program, that all sound is somewhere and visible files are whole. */
  check(stop: Stop): void {
    this.#differences();
    this.#checkDeclared();
    this.#checkDelivered();
    this.#removals = [];
    this.#readAccepted();
    const places = this.#places();
    for (const [key, found] of places) {
      const where = found.map(({ dir, fileName }) => `${dir}/${fileName}`).join(", ");
      this.#must(found.length === 1, () => `${key} exists more than once: ${where}`);
      if (!this.#evicted.has(key)) continue;
      this.#must(stop === "power cut", () => `${key} was deleted, but exists: ${where}`);
      this.#evicted.delete(key);
      this.#returned.add(key);
    }
    const found = new Set<number>(this.#acceptedKeyOf.keys());
    for (const [key, [place]] of places) {
      for (const number of place?.sound.packets ?? []) found.add(number);
      this.#soundOf.set(key, place?.sound.packets ?? []);
    }
    for (const key of this.#evicted.keys()) {
      for (const number of this.#soundOf.get(key) ?? []) found.add(number);
    }
    const accepted = new Set(this.#server.chunks.map(({ key }) => key));
    for (const key of this.#sealed) {
      this.#must(
        accepted.has(key) || places.has(key) || this.#evicted.has(key),
        () => `a sealed chunk is nowhere: ${key}`,
      );
    }
    const [missing] = this.packets.account(stop, found);
    this.#must(missing === undefined, () => `sound is missing: ${missing}`);
    this.#must(this.#server.violations.length === 0, () => this.#server.violations.join("; "));
    this.verify();
  }

  /** Asserts that what this run deleted undelivered is declared as missing, whatever the run ended by. */
  #checkDeclared(): void {
    const declared = this.#readDeletions();
    for (const { key, name } of this.#removedInRun) {
      const isDeclared = declared.some(({ start, end }) =>
        Date.parse(start) <= name.startUnixUs / 1000 &&
        (name.startUnixUs + name.durationUs) / 1000 < Date.parse(end) + 1
      );
      this.#evicted.set(key, isDeclared ? "declared" : "undeclared");
      this.#must(
        isDeclared || this.#isUndeclarable,
        () => `${formatChunkName(name)} was deleted, and gaps.jsonl does not say so`,
      );
    }
  }

  /** Asserts that nothing was declared as deleted and delivered in one run, unless the disk did not let it go. */
  #checkDelivered(): void {
    if (this.#undeletable.size >= MAX_STUCK) return;
    for (const { start, end } of this.#declaredInRun) {
      const [startMs, endMs] = [Date.parse(start), Date.parse(end)];
      for (const key of this.#acceptedInRun) {
        const name = this.#sentAs.get(key);
        if (name === undefined || this.#undeletable.has(key)) continue;
        // Of chunks that overlap, another one may begin or end there.
        const isFirst = startOf(name) === startMs &&
          !this.#removedInRun.some(({ name }) => startOf(name) === startMs);
        const isLast = endOf(name) === endMs &&
          !this.#removedInRun.some(({ name }) => endOf(name) === endMs);
        this.#must(
          !isFirst && !isLast,
          () =>
            `${formatChunkName(name)} was delivered, and is declared as deleted: ${start}, ${end}`,
        );
      }
    }
  }

  #readDeletions(): GapRecord[] {
    try {
      return Deno.readTextFileSync(this.#gapsPath).split("\n").flatMap((line) => {
        try {
          return [JSON.parse(line) as GapRecord];
        } catch {
          return []; // torn
        }
      }).filter(({ cause }) => DELETIONS.includes(cause));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  get #gapsPath(): string {
    return join(this.#disk.dir, "gaps.jsonl");
  }

  /** The place of every chunk, each counted once: an accepted chunk can also be elsewhere if the answer was lost. */
  outcome(): Outcome {
    const accepted = new Set(this.#server.chunks.map(({ key }) => key));
    const known = new Set([...accepted, ...this.#sealed, ...this.#evicted.keys()]);
    const dirOf = new Map<string, string>();
    for (const [key, [place]] of this.#places()) {
      known.add(key);
      dirOf.set(key, place?.dir ?? "");
    }
    const counts = { accepted: 0, outbox: 0, rejected: 0, declared: 0, undeclared: 0, nowhere: 0 };
    for (const key of known) {
      const where = accepted.has(key) ? "accepted" : dirOf.get(key) ?? this.#evicted.get(key);
      counts[
        where === undefined || !(where in counts) ? "nowhere" : where as keyof typeof counts
      ]++;
    }
    return {
      sealed: known.size,
      accepted: counts.accepted,
      waiting: counts.outbox,
      refused: counts.rejected,
      evicted: counts.declared,
      undeclared: counts.undeclared,
      lost: counts.nowhere,
      doubled: this.#server.chunks.length - new Set(this.#acceptedKeyOf.values()).size,
      returned: this.#returned.size,
      repeats: this.#server.duplicates,
      begunBehind: this.#begunBehind,
      blamed: this.#blamed.size,
    };
  }

  /** Asserts that chunks accepted since the last call are whole, and not accepted before under another key. */
  #readAccepted(): void {
    for (const { key, bytes } of this.#server.chunks.slice(this.#acceptedSeen)) {
      const sound = readSound(bytes);
      this.#must(
        sound?.isWhole === true && sound.key === key,
        () => `the server accepted a file that is not whole: ${key}`,
      );
      for (const number of sound?.packets ?? []) {
        const other = this.#acceptedKeyOf.get(number);
        this.#must(
          other === undefined,
          () => `packet ${number} was accepted under two keys: ${other}, ${key}`,
        );
        this.#acceptedKeyOf.set(number, key);
      }
    }
    this.#acceptedSeen = this.#server.chunks.length;
  }

  /** Every file with sound, by key. Visible files must be whole and match their names. */
  #places(): Map<string, Place[]> {
    const places = new Map<string, Place[]>();
    for (const dir of ["recording", ...CHUNK_DIRS]) {
      for (const fileName of this.#list(dir)) {
        const name = dir === "recording" ? parsePartName(fileName) : parseChunkName(fileName);
        if (name === null) continue;
        this.#checkMark(name, `${dir}/${fileName}`);
        const sound = readSound(Deno.readFileSync(join(this.#disk.dir, dir, fileName)));
        if (dir !== "recording") this.#checkVisible(dir, fileName, sound);
        if (sound === null || sound.packets.length === 0) continue;
        this.#must(sound.key === name.key, () => `${dir}/${fileName} holds ${sound.key}`);
        places.set(name.key, [...places.get(name.key) ?? [], { dir, fileName, sound }]);
      }
    }
    return places;
  }

  /** A name says that its time is unsure until it gets the true one: a recovered chunk's, too. */
  #checkMark({ key, provisional }: PartName, path: string): void {
    const bootId = this.#bootOf.get(key) ?? provisional?.bootId;
    if (bootId === undefined) return;
    this.#bootOf.set(key, bootId);
    const isRight = provisional === undefined
      ? this.#rightBoots.has(bootId)
      : provisional.bootId === bootId;
    this.#must(isRight, () => `${path} does not say that its time is unsure, as in boot ${bootId}`);
  }

  #checkVisible(dir: string, fileName: string, sound: Sound | null): void {
    const name = parseChunkName(fileName);
    this.#must(sound?.isWhole === true, () => `${dir}/${fileName} is not whole`);
    const offUs = Math.abs((sound?.durationUs ?? 0) - (name?.durationUs ?? 0));
    const mostUs = SLEWED_US + (this.#isInterrupted ? READ_US : 0);
    this.#must(offUs < mostUs, () => `${dir}/${fileName} is ${sound?.durationUs} us long`);
    if (dir === "uploaded") {
      const isAccepted = this.#server.chunks.some(({ key }) => key === name?.key);
      this.#must(isAccepted, () => `uploaded/${fileName} was never accepted`);
    }
    const key = name?.key ?? "";
    if (dir === "rejected" && !this.#evicted.has(key) && !this.#returned.has(key)) {
      const reason = this.#readReason(fileName);
      this.#must(typeof reason === "string", () => `rejected/${fileName} has no reason beside it`);
    }
  }

  #readReason(fileName: string): unknown {
    const path = join(this.#disk.dir, "rejected", `${fileName}${REASON}`);
    try {
      return JSON.parse(Deno.readTextFileSync(path)).reason;
    } catch {
      // If it could not be written, the log has it.
      return this.#unwritable.has(keyOfReason(path)) ? "could not be written" : null;
    }
  }

  /**
   * Checks the order when the uploader starts to send a chunk. Consider the older chunks that have waited
   * since time last advanced. Either all of them are in flight or have just been accepted, and the limit of
   * requests in flight is kept. Or the oldest has failed eight times in this run, or was refused twice, and
   * all others before this one failed at least once, except those that wait for clock sync. A chunk that is about
   * to be deleted does not count. The order of acceptance follows: a chunk arrives later than that only if it
   * appeared, or got its final name, after a newer one was sent, or if the server failed on it.
   */
  #sends(path: string): void {
    const fileName = path.slice(path.lastIndexOf("/") + 1);
    // A file is read in pieces, as it is hashed and as it is sent: the first one counts.
    if (this.#inFlight.has(parseChunkName(fileName)?.key ?? "")) return;
    const waiting = this.#list("outbox");
    if (!waiting.includes(fileName)) return; // it was renamed to its true time at this moment
    this.#must(
      !this.#acceptedInRun.has(parseChunkName(fileName)?.key ?? ""),
      () => `${fileName} was accepted in this run, and is sent again`,
    );
    const older = waiting.filter((name) => this.#waiting.has(name)).map(parseChunkName)
      .filter((name) => name !== null)
      .filter((name) => formatChunkName(name) < fileName && !this.deleting.has(name.key))
      .filter(({ key }) => !this.#acceptedInRun.has(key) || this.#inFlight.has(key));
    const ahead = older.filter(({ key }) => this.#inFlight.has(key));
    this.#must(
      ahead.length < this.#concurrency,
      () => `${fileName} is sent while ${ahead.length} older ones are in flight`,
    );
    const isTriedBehind = (fileName: string) =>
      waiting.some((name) =>
        name > fileName && (this.#failures.get(parseChunkName(name)?.key ?? "")?.attempts ?? 0) > 0
      );
    const isSuspect = (key: string) => {
      const { attempts = 0, refusals = 0 } = this.#failures.get(key) ?? {};
      return attempts >= SUSPECT_AFTER || refusals >= SUSPECT_AFTER_REFUSALS;
    };
    // One that appears before the suspect, as the clock was set back, or among those that were tried in its place,
    // has its turn after them.
    const own = parseChunkName(fileName)?.key ?? "";
    const mayAppear = isSuspect(own) || older.some(({ key }) => isSuspect(key));
    // A suspect that has been deleted, or is being deleted: the chunk in its place had been chosen before.
    const isSuspectGone = [...this.#waiting].filter((name) => name < fileName).map(parseChunkName)
      .some((name) =>
        name !== null && isSuspect(name.key) && !this.#acceptedInRun.has(name.key) &&
        !older.some(({ key }) => key === name.key)
      );
    for (const [index, name] of older.entries()) {
      const { key, provisional } = name;
      const { attempts = 0 } = this.#failures.get(key) ?? {};
      const isTried = index === 0 && !isSuspectGone
        ? isSuspect(key) || (mayAppear && isTriedBehind(formatChunkName(name)))
        : attempts > 0 || isTriedBehind(formatChunkName(name));
      this.#must(
        this.#inFlight.has(key) || isTried || (provisional !== undefined && index > 0),
        () => `${fileName} is sent while ${key} waits, which was tried ${attempts} times`,
      );
    }
    this.#inFlight.add(parseChunkName(fileName)?.key ?? "");
    if (ahead.length > 0) this.#begunBehind++;
  }

  #removed(path: string, content: Uint8Array): void {
    const [dir = "", fileName = ""] = path.split("/").slice(-2);
    const name = parseChunkName(fileName);
    if (name === null || dir === "uploaded") return;
    this.#soundOf.set(name.key, readSound(content)?.packets ?? []);
    // What the server has accepted is not lost, wherever it is.
    if (this.#acceptedInRun.has(name.key)) return;
    const seconds = name.durationUs / 1e6;
    const removal = { dir, key: name.key, name, bytes: content.length, seconds };
    this.#removals.push(removal);
    this.#removedInRun.push(removal);
  }

  #differences(): void {
    const [path] = this.#disk.differences();
    if (path !== undefined) throw new Error(`fault_disk.ts is wrong about ${path}`);
  }

  #list(dir: string): string[] {
    try {
      return [...Deno.readDirSync(join(this.#disk.dir, dir))].map(({ name }) => name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return []; // the first start has not created it yet
      throw error;
    }
  }

  #size(dir: string, fileName: string): number {
    return Deno.lstatSync(join(this.#disk.dir, dir, fileName)).size;
  }

  #must(isSo: boolean, message: () => string): void {
    // Stored, not thrown: the program might take an exception for an error of the disk.
    if (!isSo) this.#violation ??= new Violation(message());
  }
}

/** The key of the chunk to which a reason belongs. */
function keyOfReason(path: string): string {
  const fileName = path.slice(path.lastIndexOf("/") + 1, -REASON.length);
  return parseChunkName(fileName)?.key ?? fileName;
}

/** Whole Unix milliseconds, as in gaps.jsonl. */
function startOf({ startUnixUs }: ChunkName): number {
  return Math.floor(startUnixUs / 1000);
}

function endOf({ startUnixUs, durationUs }: ChunkName): number {
  return Math.floor((startUnixUs + durationUs) / 1000);
}
