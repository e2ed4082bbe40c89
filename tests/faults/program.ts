// One run of the program, from its start to its end or a crash: the real parts that agent.ts builds
// around the spool, on a disk that fails and a clock that jumps. Sound comes from the schedule instead of
// a microphone.

import { setImmediate } from "node:timers";
import { delay } from "@std/async/delay";
import { getLogger } from "@logtape/logtape";
import { ChunkWriter } from "../../src/spool/chunk_writer.ts";
import { ChunkChain } from "../../src/capture/chunk_chain.ts";
import { StreamCutter } from "../../src/capture/stream_cutter.ts";
import type { Boot } from "../../src/system/clock_sync.ts";
import type { OpusEvent } from "../../src/chunk/opus.ts";
import type { ChunkName } from "../../src/chunk/chunk_name.ts";
import { Janitor } from "../../src/spool/janitor.ts";
import { recoverRecordings } from "../../src/spool/recovery.ts";
import type { RetentionLimits } from "../../src/spool/retention.ts";
import { retimeEarlier } from "../../src/agent/follow_clock.ts";
import { writeBootTime } from "../../src/spool/boot_time.ts";
import { retimeChunks } from "../../src/spool/retiming.ts";
import { readTrueTime } from "../../src/spool/true_time.ts";
import { NO_TIMING } from "../../src/spool/folder_watch.ts";
import { Spool } from "../../src/spool/spool.ts";
import { Status } from "../../src/status/status.ts";
import { IngestClient } from "../../src/upload/ingest_client.ts";
import { PUBLIC_TLS } from "../fixtures/public_tls.ts";
import type { UploadFile } from "../../src/upload/upload_file.ts";
import type { Verdict } from "../../src/upload/verdict.ts";
import { Uploader } from "../../src/upload/uploader.ts";
import { Wakeup } from "../../src/system/wakeup.ts";
import { ids } from "../fixtures/chunks.ts";
import { DiskProcess, type FaultDisk } from "../fixtures/fault_disk.ts";
import { TOKEN } from "../fixtures/upload_rig.ts";
import type { ScheduleClock, WorkerClock } from "./clock.ts";
import { Exchanges } from "./exchanges.ts";
import type { Oracle } from "./oracle.ts";
import { numberedPacket, PACKET_MS } from "./sound.ts";

/** Everything that outlasts a run of the program. */
export interface World {
  readonly disk: FaultDisk;
  readonly clock: ScheduleClock;
  readonly oracle: Oracle;
  readonly random: () => number;
  /** The boot of the kernel; a power cut starts another one. */
  boot: Boot;
  clockIsTrusted: boolean;
}

export interface ProgramOptions {
  readonly baseUrl: string;
  readonly tlsCaFile: string | null;
  readonly timeoutMs: number;
  readonly chunkSeconds: number;
  readonly syncIntervalMs: number;
  readonly limits: RetentionLimits;
  readonly deferMs: number;
  /** Requests in flight, as configured. */
  readonly concurrency: number;
}

const HEAD: OpusEvent = {
  kind: "head",
  head: { channels: 1, preSkip: 312, inputSampleRate: 48_000 },
};
const BREAK: OpusEvent = { kind: "break", reason: "a test", offset: 0 };
/** A read returns at most this number of packets: a page of ffmpeg. */
const READ_PACKETS = 20;

/** Event loop turns without a call of the disk, after which only the network or time can cause the next. */
const REST_TURNS = 2;
/** A step that takes longer than this in real time is stuck. An attempt takes up to 3 s and the length of a chunk. */
const STUCK_MS = 30_000;

export class Program {
  readonly process = new DiskProcess();
  readonly status: Status;
  readonly #world: World;
  readonly #options: ProgramOptions;
  readonly #stop = new AbortController();
  readonly #client: IngestClient;
  readonly #log = getLogger(["faults"]);
  readonly #clockTrusted = new Wakeup();
  readonly #workers: { clock: WorkerClock; ended: Promise<void> }[] = [];
  readonly #writerClock: WorkerClock;
  #spool: Spool | null = null;
  #writer: ChunkWriter | null = null;
  #cutter: StreamCutter | null = null;
  #packets = 0;
  /** What ffmpeg has written and nobody has read yet, and how many packets are read together. */
  #unread: OpusEvent[] = [];
  #readPackets = 1;
  #hasPushed = false;
  readonly #exchanges: Exchanges;

  constructor(world: World, options: ProgramOptions) {
    this.#world = world;
    this.#options = options;
    this.#writerClock = world.clock.worker();
    this.#exchanges = new Exchanges(world.random);
    this.status = new Status({ ...ids, version: "1" }, this.#writerClock);
    this.#client = new IngestClient({
      baseUrl: options.baseUrl,
      readToken: () => Promise.resolve(TOKEN),
      ids,
      timestampFormat: "unix",
      timeoutMs: options.timeoutMs,
      tls: { ...PUBLIC_TLS, tlsCaFile: options.tlsCaFile },
      concurrency: options.concurrency,
    });
  }

  get spool(): Spool | null {
    return this.#spool;
  }

  get isAlive(): boolean {
    return !this.process.isDead;
  }

  /** Starts everything. The program may crash during the start, or give up because the disk fails. */
  async start(): Promise<void> {
    const { disk, oracle } = this.#world;
    oracle.started(this.#options.concurrency);
    if (this.#world.clockIsTrusted) oracle.clockTrusted(this.#world.boot.id);
    const starting = disk.run(this.process, () => this.#start()).catch(() => this.process.kill());
    await Promise.race([starting, this.process.died]);
    await this.settle();
  }

  async #start(): Promise<void> {
    const { clock, disk, oracle } = this.#world;
    const { limits } = this.#options;
    const spool = await Spool.open(disk.dir, undefined, NO_TIMING);
    Object.assign(spool, { freeBytes: () => Promise.resolve(Math.min(disk.freeBytes, 1e12)) });
    oracle.deleting = spool.deleting;
    const janitorClock = clock.worker();
    this.#followGaps(spool, janitorClock);
    await recoverRecordings(spool, this.#log);
    await retimeEarlier(spool, this.#log);
    oracle.recovered();
    const { outbox, rejected } = spool.tally;
    this.status.carriedOver(outbox.durationUs, rejected.durationUs);
    const { chunksLost } = this.status;
    this.status.chunksLost = (losses) => {
      chunksLost.call(this.status, losses);
      if (this.isAlive) oracle.countedLost(losses);
    };
    this.#writer = new ChunkWriter(spool, this.#options.syncIntervalMs, {
      clock: this.#writerClock,
      status: this.status,
      log: this.#log,
      onSealed: ({ name, times }) => oracle.sealed(name.key, times),
    });
    this.#spool = spool;
    this.#work(janitorClock, (workerClock, signal) => {
      const deps = { clock: workerClock, status: this.status, log: this.#log };
      const isClockTrusted = () => this.#world.clockIsTrusted;
      return new Janitor(spool, limits, { ...deps, isClockTrusted }).run(signal);
    });
    this.#work(clock.worker(), (workerClock, signal) => {
      const deps = { clock: workerClock, status: this.status, log: this.#log };
      const upload = this.#upload.bind(this, workerClock);
      const clockWaitEndsMs = clock.monotonicMs + this.#options.deferMs;
      const deferMs = ({ provisional }: ChunkName) =>
        provisional?.bootId === this.#world.boot.id
          ? Math.max(0, clockWaitEndsMs - clock.monotonicMs)
          : 0;
      const { concurrency } = this.#options;
      const options = { retryMinMs: 0, retryMaxMs: 1, concurrency, deferMs };
      return new Uploader(spool, { upload }, options, deps).run(signal);
    });
    this.#work(
      clock.worker(),
      (workerClock, signal) => this.#followClock(spool, workerClock, signal),
    );
  }

  /**
   * Informs the oracle of what is declared. While the janitor writes deletions, chunks are sent and answered, and
   * attempts fail.
   */
  #followGaps({ gaps }: Spool, janitorClock: WorkerClock): void {
    const { oracle, random } = this.#world;
    const { signal } = this.#stop;
    const { append } = gaps;
    gaps.append = async (...records) => {
      oracle.declares(records);
      if (records.some(({ cause }) => cause === "evicted" || cause === "expired")) {
        if (random() < 0.5) await this.#exchanges.pause(signal);
        else await janitorClock.sleep(1, signal).catch(() => {});
      }
      try {
        await append.call(gaps, ...records);
        oracle.declared(true);
      } catch (error) {
        oracle.declared(false);
        throw error;
      }
    };
  }

  #work(
    clock: WorkerClock,
    run: (clock: WorkerClock, signal: AbortSignal) => Promise<void>,
  ): void {
    this.#workers.push({ clock, ended: run(clock, this.#stop.signal) });
  }

  /** Follows the clock as agent.ts does. */
  async #followClock(spool: Spool, clock: WorkerClock, signal: AbortSignal): Promise<void> {
    const { boot, oracle } = this.#world;
    let isKept = false;
    while (!signal.aborted) {
      let again = false;
      if (this.#world.clockIsTrusted) {
        if (!isKept) await writeBootTime(spool.dir, readTrueTime(boot, clock)).catch(() => {});
        isKept = true;
        const joined = oracle.joinedChunks(boot.id);
        const done = await retimeChunks(spool, readTrueTime(boot, clock)).catch(() => ({
          busy: 1,
        }));
        again = done.busy > 0;
        if (!again) oracle.retimed(joined);
      }
      if (again) await clock.sleep(5000, signal);
      else if (this.#world.clockIsTrusted) await spool.provisional.wait(clock, 3_600_000, signal);
      else await this.#clockTrusted.wait(clock, 3_600_000, signal);
    }
  }

  /**
   * Sends with the real client, and informs the oracle. A failure is returned only when time advances:
   * otherwise the retries would continue in real time while a server fails.
   */
  async #upload(
    clock: WorkerClock,
    name: ChunkName,
    file: UploadFile,
    signal: AbortSignal,
  ): Promise<Verdict> {
    const send = () => this.#client.upload(name, file, signal);
    const verdict = await this.#exchanges.exchange(send, signal);
    if (verdict.kind !== "delivered") await clock.sleep(1, signal);
    const status = verdict.kind === "refused" ? verdict.status : null;
    this.#world.oracle.answered(name.key, file.sizeBytes, verdict.kind, status);
    return verdict;
  }

  /** Tells the program that the system clock is now synchronized. */
  clockTrusted(): void {
    this.#world.clockIsTrusted = true;
    this.#world.oracle.clockTrusted(this.#world.boot.id);
    this.#clockTrusted.ring();
  }

  /**
   * The microphone delivers sound for this time, a packet every 20 ms, read one by one or some together,
   * with a break or a new stream among them; all workers run when there is something to write. Returns
   * false if the program has died meanwhile.
   */
  async hear(ms: number): Promise<boolean> {
    const { clock, disk, oracle, random } = this.#world;
    for (let left = Math.ceil(ms / PACKET_MS); left > 0 && this.isAlive; left--) {
      clock.jump(PACKET_MS);
      disk.run(this.process, () => {
        const stream = this.#stream;
        if (this.#unread.length > 0 && random() < 0.01) this.#interrupt();
        const packet = numberedPacket(oracle.heard(), ++this.#packets, random);
        this.#unread.push({ kind: "packet", packet });
        if (left > 1 && this.#unread.length < this.#readPackets) return;
        stream.take(this.#unread.splice(0), clock.monotonicMs);
        if (random() < 0.05) this.#readPackets = this.#drawRead();
      });
      if (this.#hasPushed || left === 1 || random() < 0.05) await this.settle();
      this.#hasPushed = false;
    }
    return this.isAlive;
  }

  /** How many packets are read together from now on. */
  #drawRead(): number {
    const { random } = this.#world;
    return random() < 0.6 ? 1 : 2 + Math.floor(random() * (READ_PACKETS - 1));
  }

  /** Among the packets of one read the stream is damaged, or another begins. */
  #interrupt(): void {
    const isNew = this.#world.random() < 0.5;
    if (isNew) this.#packets = 0;
    this.#unread.push(isNew ? HEAD : BREAK);
    this.#world.oracle.interrupted(isNew ? "new stream in a read" : "break in a read");
  }

  /** The microphone is gone: the next sound is another stream. */
  endStream(): void {
    this.#world.disk.run(this.process, () => this.#cutter?.finish());
    this.#cutter = null;
  }

  get #stream(): StreamCutter {
    if (this.#cutter !== null) return this.#cutter;
    const { clock, boot } = this.#world;
    const writer = this.#writer;
    if (writer === null) throw new Error("the program is not running");
    this.#packets = 0;
    this.#cutter = new StreamCutter(null, {
      chunkSeconds: this.#options.chunkSeconds,
      vendor: "test",
      tags: { POINT_ID: ids.pointId, REGISTER_ID: ids.registerId, DEVICE_ID: ids.deviceId },
    }, {
      clock: this.#writerClock,
      writer: {
        push: (step) => {
          this.#hasPushed = true;
          writer.push(step);
        },
        get isFull() {
          return writer.isFull;
        },
      },
      log: this.#log,
      provisional: (startMs) =>
        this.#world.clockIsTrusted ? undefined : {
          bootId: boot.id,
          startBootUs: Math.max(0, Math.round((startMs + boot.zeroMs) * 1000)),
          seenUnixS: null,
        },
      gapCause: "starting",
      chain: new ChunkChain(),
      onSound: () => {},
      onDropping: () => {},
    });
    this.#cutter.take([HEAD], clock.monotonicMs);
    return this.#cutter;
  }

  /** Time passes without sound. */
  async wait(ms: number): Promise<boolean> {
    this.#world.clock.jump(ms);
    await this.settle();
    return this.isAlive;
  }

  /** Resolves when the program has nothing to do at this moment of its time, or has died. */
  async settle(): Promise<void> {
    const startMs = performance.now();
    for (let turn = 0; this.isAlive; turn++) {
      await Promise.race([this.#takeTurn(turn), this.process.died]);
      if (this.#isQuiet) return this.#quiet();
      if (performance.now() - startMs > STUCK_MS) throw new Error("the program is stuck");
    }
  }

  /**
   * Lets everything run that needs no network. When it has come to rest, one exchange with the server takes
   * its next step, so that a schedule does not depend on the speed of the network.
   */
  async #takeTurn(turn: number): Promise<void> {
    const { trace } = this.#world.disk;
    const calls = trace.length;
    for (let rest = 0; rest < REST_TURNS; rest++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (trace.length > calls || !this.isAlive) return;
    }
    if (this.#exchanges.isEmpty && turn > 100) await delay(1);
    else await this.#exchanges.step();
  }

  get #isQuiet(): boolean {
    return this.#exchanges.isEmpty &&
      this.#workers.every(({ clock }) => clock.isAsleep) &&
      (this.#writer?.isIdle !== false || this.#writerClock.isAsleep);
  }

  #quiet(): void {
    const { oracle } = this.#world;
    if (this.#spool === null) return;
    oracle.checkTally(this.#spool);
    if (this.#writer?.isIdle) {
      oracle.everythingWritten();
      if (this.#spool.deleting.size === 0) oracle.checkBooks(this.#spool, this.status);
    }
    oracle.verify();
  }

  /** Stops the program as SIGTERM does. Returns false if it died before it had stopped. */
  async stop(): Promise<boolean> {
    const { clock, disk, oracle } = this.#world;
    this.endStream();
    let isFinished = false;
    disk.run(this.process, () => Promise.resolve(this.#writer?.finish()))
      .then(() => isFinished = true);
    while (!isFinished && this.isAlive) {
      await Promise.race([this.#takeTurn(0), this.process.died]);
      // The writer sleeps between retries while the disk fails.
      if (this.#writerClock.sleepers.size > 1) clock.jump(500);
    }
    this.#stop.abort();
    await Promise.race([Promise.all(this.#workers.map(({ ended }) => ended)), this.process.died]);
    if (!this.isAlive || this.#spool === null) return false;
    oracle.checkTally(this.#spool, true);
    if (this.#writer?.isIdle) oracle.checkBooks(this.#spool, this.status);
    this.#spool.close();
    this.process.kill();
    this.#clear();
    return true;
  }

  /** Kills the program as kill -9 does, unless it has died already. */
  die(): void {
    this.process.kill();
    this.#stop.abort();
    this.#clear();
  }

  #clear(): void {
    this.#world.clock.forgetWorkers();
    this.#client[Symbol.dispose]();
  }
}
