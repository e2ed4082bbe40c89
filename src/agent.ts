// The composition root: builds the parts, and starts and stops them in a fixed order.
//
//   start   1 spool (lock)   2 recovery   3 health   4 janitor, uploader   5 recorder
//           6 notifications to systemd
//   stop    1 recorder: ffmpeg gets SIGINT, the last chunk is finished and kept (at most 6 s)
//           2 uploader: it has a moment to deliver the chunk; an attempt in progress is then abandoned
//           3 janitor, systemd   4 health   5 spool (lock)
//
// The module contains no logic of its own.

import { Supervision } from "./web/supervision.ts";
import { type Microphone, singleMicrophone, SystemMicrophones } from "./microphone/microphones.ts";
import type { Before } from "./capture/chunk_chain.ts";
import { Recorder } from "./capture/recorder.ts";
import { SoundEvents } from "./microphone/sound_events.ts";
import { type Clock, systemClock } from "./system/clock.ts";
import { type Boot, ClockSync, readBoot, type SyncProbe } from "./system/clock_sync.ts";
import type { Config } from "./config/config.ts";
import { collectGarbage } from "./system/garbage.ts";
import type { Logger } from "./system/log.ts";
import { Janitor } from "./spool/janitor.ts";
import { closeOpenFolders } from "./spool/private_folders.ts";
import { recoverRecordings } from "./spool/recovery.ts";
import { BYTES_PER_GB, estimateChunkBytes } from "./spool/retention.ts";
import { readTrueTime, retimeChunks } from "./spool/retiming.ts";
import { Spool } from "./spool/spool.ts";
import type { Schedule } from "./config/schedule.ts";
import { otlpHeadersToSend } from "./config/transport.ts";
import { HealthServer } from "./web/health_server.ts";
import { collectMetrics } from "./web/metrics.ts";
import { restoreHistory } from "./spool/restore_history.ts";
import { sendHeartbeats } from "./web/heartbeat.ts";
import { OTLP_TYPE } from "./web/otlp.ts";
import { MetricsPush } from "./web/metrics_push.ts";
import { declaredEnds } from "./status/gap_log.ts";
import { ProblemReport } from "./status/problem_report.ts";
import { problems } from "./status/problems.ts";
import { reportRollback } from "./status/rollback.ts";
import { type HealthReport, Status } from "./status/status.ts";
import { connectServiceManager, runtimeDirectory } from "./system/notify_socket.ts";
import type { StatusView } from "./web/view.ts";
import { TaskGroup } from "./system/task_group.ts";
import { type IngestClient, ingestClientOf } from "./upload/ingest_client.ts";
import { TextPost } from "./upload/text_post.ts";
import { Uploader } from "./upload/uploader.ts";
import { VERSION } from "./system/version.ts";

/** Chunks of another process ring no bell: they get their true time after a day at the latest. */
const RETIMING_INTERVAL_MS = 86_400_000;
/** How long the uploader may take to deliver the last chunk. */
const LAST_DELIVERY_MS = 2000;

export interface AgentOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  /** A source of sound in place of the configured one (for the demo). */
  readonly microphone?: Microphone;
  /** Replaces the query whether the system clock is synchronized (for tests). */
  readonly clockProbe?: SyncProbe;
  /** The environment variables of the service manager. Without them it is not notified. */
  readonly env?: Readonly<Record<string, string>>;
  /** Called when all parts are running. */
  readonly onRunning?: (running: RunningAgent) => void;
}

export interface RunningAgent {
  /** Null if the port of the health server is in use. */
  readonly healthPort: number | null;
  readonly report: () => HealthReport;
}

/**
 * Runs the service until `stop` aborts, and resolves when everything has ended.
 * @throws {SpoolLockedError}, or an error that names the part that cannot run.
 */
export async function runAgent(options: AgentOptions, stop: AbortSignal): Promise<void> {
  const { config, log, clock = systemClock, env = {} } = options;
  const timeZone = Temporal.Now.timeZoneId();
  const status = new Status({ ...config, version: VERSION }, clock, timeZone);
  const spool = await Spool.open(config.spoolDir);
  spool.keepsDelivered = config.keepDeliveredDays > 0;
  try {
    log.info("recorder-agent starts.", { version: VERSION, spool_dir: config.spoolDir });
    using notifier = connectServiceManager(env, config.spoolDir, log.getChild("systemd"));
    const watchdogUsec = env.WATCHDOG_USEC;
    const supervision = new Supervision({ notifier, watchdogUsec, timeZone }, clock);
    // A demo, or a run by hand, is not what was updated.
    if (notifier !== null) await reportRollback({ clock, status, log: log.getChild("update") });
    await closeOpenFolders(spool.dir, log.getChild("spool"));
    const recovered = await recoverRecordings(spool, log.getChild("recovery"));
    using client = ingestClientOf(config, env, { clock });
    status.carriedOver(spool.tally.outbox.durationUs, spool.tally.rejected.durationUs);
    const boot = await readBoot(clock);
    const before = {
      chunk: spool.latest(boot.id),
      wasCutOff: recovered > 0,
      declaredEndsMs: await declaredEnds(config.spoolDir),
      boot,
    };
    const clockSync = new ClockSync({
      clock,
      log: log.getChild("clock"),
      ...(options.clockProbe === undefined ? {} : { probe: options.clockProbe }),
    });
    const soundEvents = new SoundEvents({ clock, log: log.getChild("recorder") });
    const parts = {
      ...options,
      clock,
      status,
      spool,
      boot,
      before,
      clockSync,
      soundEvents,
      supervision,
      timeZone,
    };
    const recorder = makeRecorder(parts);
    const report = () => status.report(spool, recorder.balance());
    const view = () => viewStatus(parts, report());
    const health = HealthServer.start({
      port: config.healthPort,
      report,
      view,
      status,
      clock,
      log: log.getChild("health"),
    });
    try {
      await runWorkers({ ...parts, client, health, recorder, report, view }, stop);
    } finally {
      await health.close();
    }
    const { outbox, rejected } = spool.tally;
    log.info("recorder-agent has stopped.", { waiting: outbox.files, refused: rejected.files });
  } finally {
    spool.close();
  }
}

interface Parts extends AgentOptions {
  clock: Clock;
  status: Status;
  spool: Spool;
  boot: Boot;
  before: Before;
  clockSync: ClockSync;
  soundEvents: SoundEvents;
  supervision: Supervision;
  /** IANA name of the local time zone. */
  timeZone: string;
}

interface Workers extends Parts {
  client: IngestClient;
  recorder: Recorder;
  health: HealthServer;
  report: () => HealthReport;
  view: () => StatusView;
}

async function runWorkers(parts: Workers, stop: AbortSignal): Promise<void> {
  const { config, clock, log, status, spool, clockSync } = parts;
  const janitor = new Janitor(spool, {
    maxSpoolDays: config.maxSpoolDays,
    keepDeliveredDays: config.keepDeliveredDays,
    maxWaitingDays: config.maxWaitingDays,
    maxSpoolBytes: config.maxSpoolGb * BYTES_PER_GB,
    minFreeBytes: config.minFreeGb * BYTES_PER_GB,
    chunkBytes: estimateChunkBytes(config.chunkSeconds, config.opusBitrateKbps),
  }, { clock, status, log: log.getChild("janitor"), isClockTrusted: () => clockSync.isTrusted });
  const clockWaitEndsMs = clock.monotonicMs() + config.maxClockWaitS * 1000;
  const uploader = new Uploader(spool, parts.client, {
    retryMinMs: config.retryMinS * 1000,
    retryMaxMs: config.retryMaxS * 1000,
    concurrency: config.uploadConcurrency,
    timeoutMs: config.uploadTimeoutS * 1000,
    maxSpoolBytes: config.maxSpoolGb * BYTES_PER_GB,
    clockWaitMs: ({ provisional }) =>
      provisional?.bootId === parts.boot.id
        ? Math.max(0, clockWaitEndsMs - clock.monotonicMs())
        : 0,
  }, { clock, status, log: log.getChild("uploader") });

  const delivery = new TaskGroup();
  delivery.start("garbage", (signal) => collectGarbage(clock, signal));
  delivery.start("clock", (signal) => followClock(parts, signal));
  delivery.start("janitor", (signal) => janitor.run(signal));
  delivery.start("uploader", (signal) => uploader.run(signal));
  delivery.start("history", () => restoreHistory(status.history, spool, clock.unixMs()));
  startReporting(delivery, parts);
  const capture = new TaskGroup();
  capture.start("recorder", (signal) => parts.recorder.run(signal));
  capture.start("sound events", (signal) => parts.soundEvents.run(signal));
  delivery.start(
    "systemd",
    (signal) => parts.supervision.run(parts.report, capture.signal, signal),
  );
  parts.onRunning?.({ healthPort: parts.health.port, report: parts.report });

  const stopCapture = () => capture.stop();
  for (const signal of [stop, delivery.signal]) signal.addEventListener("abort", stopCapture);
  if (stop.aborted) stopCapture();
  try {
    await capture.join();
    const giveUpMs = clock.monotonicMs() + LAST_DELIVERY_MS;
    while (!uploader.idle && !delivery.signal.aborted && clock.monotonicMs() < giveUpMs) {
      await clock.sleep(20);
    }
  } finally {
    stop.removeEventListener("abort", stopCapture);
    delivery.stop();
    await delivery.join();
  }
}

/** Starts what tells the operator of many tills how this one is. */
function startReporting(group: TaskGroup, parts: Workers): void {
  const { config, clock, log, status, env = {} } = parts;
  const deps = () => ({
    clock,
    problem: new ProblemReport({ clock, status, log: log.getChild("fleet") }),
  });
  const way = { tls: config, env, clock };
  const { otlpEndpoint, heartbeatUrl } = config;
  if (otlpEndpoint !== null) {
    const url = new URL(otlpEndpoint);
    const path = `${url.pathname.replace(/\/$/, "")}/v1/metrics`;
    group.start("metrics push", async (signal) => {
      using post = new TextPost(url, { ...way, key: "otlp_endpoint" });
      await new MetricsPush({
        intervalMs: config.otlpIntervalS * 1000,
        resource: {
          "service.name": "recorder-agent",
          "service.instance.id": config.deviceId,
          "service.version": VERSION,
          "point_id": config.pointId,
          "register_id": config.registerId,
        },
        collect: () => collectMetrics(parts.view()),
        push: (content, signal) =>
          post.post(
            path,
            { type: OTLP_TYPE, content },
            otlpHeadersToSend(config),
            signal,
          ),
      }, deps()).run(signal);
    });
  }
  if (heartbeatUrl !== null) {
    group.start("heartbeat", async (signal) => {
      using post = new TextPost(new URL(heartbeatUrl), { ...way, key: "heartbeat_url" });
      await sendHeartbeats(
        {
          url: heartbeatUrl,
          intervalMs: config.heartbeatIntervalS * 1000,
          report: parts.report,
          ping: (url, content, signal) => {
            const { pathname, search } = new URL(url);
            return post.post(pathname + search, { type: "text/plain", content }, {}, signal);
          },
        },
        deps(),
        signal,
      );
    });
  }
}

/** Waits until the clock is synchronized, then gives the waiting chunks their true time. */
async function followClock(parts: Parts, signal: AbortSignal): Promise<void> {
  const { clock, clockSync, log, spool, status, boot } = parts;
  const problem = new ProblemReport({ clock, status, log: log.getChild("clock") });
  await clockSync.run(signal, () => problem.set(problems.clockNotSynchronized()));
  if (clockSync.isTrusted) problem.clear();
  while (!signal.aborted) {
    let again = true;
    try {
      const { retimed, busy } = await retimeChunks(spool, readTrueTime(boot, clock));
      if (retimed > 0) {
        log.info("Chunks that waited got their true time.", { chunks: retimed });
        status.history.forgetDay();
        await restoreHistory(status.history, spool, clock.unixMs());
      }
      again = busy > 0;
    } catch (error) {
      log.debug("The spool cannot be listed.", { error: String(error) });
    }
    // A chunk that was named before the synchronization may be sealed later, if the disk is slow.
    if (again) await clock.sleep(5000, signal);
    else await spool.provisional.wait(clock, RETIMING_INTERVAL_MS, signal);
  }
}

/** The current data for the status page and the metrics. */
function viewStatus(parts: Parts, report: HealthReport): StatusView {
  const { clock, config, spool, status, timeZone } = parts;
  return {
    nowMs: clock.unixMs(),
    timeZone,
    schedule: scheduleOf(config),
    report,
    history: status.history,
    counters: status.counters,
    tally: spool.tally,
    maxSpoolBytes: config.maxSpoolGb * BYTES_PER_GB,
    minFreeBytes: config.minFreeGb * BYTES_PER_GB,
    rssBytes: Deno.memoryUsage().rss,
  };
}

function scheduleOf({ scheduleStart, scheduleEnd }: Config): Schedule {
  return { startMinute: scheduleStart, endMinute: scheduleEnd };
}

function makeRecorder(parts: Parts): Recorder {
  const { config, clock, log, status, spool, microphone, boot, clockSync, timeZone, env = {} } =
    parts;
  const { soundEvents } = parts;
  return new Recorder({
    schedule: scheduleOf(config),
    timeZone,
    stream: {
      chunkSeconds: config.chunkSeconds,
      sampleRate: config.sampleRate,
      bitrateKbps: config.opusBitrateKbps,
      gainDb: config.gainDb,
      highpassHz: config.highpassHz,
      socketDir: runtimeDirectory(env, config.spoolDir),
      vendor: `recorder-agent ${VERSION}`,
      onLevels: (levels) => status.history.heard(levels),
    },
    audioChannel: config.audioChannel,
    syncIntervalMs: config.syncIntervalS * 1000,
    tags: {
      POINT_ID: config.pointId,
      REGISTER_ID: config.registerId,
      DEVICE_ID: config.deviceId,
    },
    provisional: (startMs) =>
      clockSync.isTrusted ? undefined : {
        bootId: boot.id,
        startBootUs: Math.max(0, Math.round((startMs + boot.zeroMs) * 1000)),
        seenUnixS: null,
      },
    before: parts.before,
    microphones: microphone === undefined
      ? new SystemMicrophones({ ...config, events: soundEvents })
      : singleMicrophone(microphone),
  }, {
    clock,
    status,
    spool,
    log: log.getChild("recorder"),
    onAlive: () => parts.supervision.alive(),
  });
}
