// The composition root: builds the parts, and starts and stops them in a fixed order.
//
//   start   1 spool (lock)   2 recovery   3 health   4 janitor, delivery, reporting   5 recorder
//           6 commands, settings, notifications to systemd
//   stop    1 recorder: ffmpeg gets SIGINT, the last chunk is finished and kept (at most 6 s)
//           2 delivery: it has a moment to deliver the chunk; an attempt in progress is then abandoned
//           3 janitor, reporting, commands, systemd   4 health   5 spool (lock)
//   change  of the settings: delivery and reporting are replaced one after the other, each by itself; the
//           recorder takes its options with it; the others read the settings in force each time
//
// The sides that are built anew have modules of their own in agent/. The module contains no logic of its own.

import { CaptureOptionsMaker } from "./agent/capture.ts";
import { Delivery } from "./agent/delivery.ts";
import { Pausing } from "./agent/pausing.ts";
import { type ConfigSource, Reload } from "./agent/reload.ts";
import { startReporting } from "./agent/reporting.ts";
import { Settings } from "./agent/settings.ts";
import { watchTimeZone } from "./agent/time_zone.ts";
import { followClock, retimeEarlier } from "./agent/follow_clock.ts";
import { declaredEnds } from "./capture/before_start.ts";
import { Recorder } from "./capture/recorder.ts";
import type { Config } from "./config/config.ts";
import { scheduleOf } from "./config/schedule.ts";
import type { Microphone } from "./microphone/microphones.ts";
import { SoundEvents } from "./microphone/sound_events.ts";
import { Janitor } from "./spool/janitor.ts";
import { closeOpenFolders } from "./spool/private_folders.ts";
import { recoverRecordings } from "./spool/recovery.ts";
import { restoreHistory } from "./spool/restore_history.ts";
import { BYTES_PER_GB, estimateChunkBytes, type RetentionLimits } from "./spool/retention.ts";
import { Spool } from "./spool/spool.ts";
import { watchBootFile } from "./status/boot_file.ts";
import { readLastGaps } from "./status/gap_log.ts";
import { ProblemReport } from "./status/problem_report.ts";
import { reportRollback } from "./status/rollback.ts";
import { type HealthReport, Status } from "./status/status.ts";
import { type Clock, systemClock } from "./system/clock.ts";
import { type Boot, ClockSync, readBoot, type SyncProbe } from "./system/clock_sync.ts";
import { collectGarbage } from "./system/garbage.ts";
import type { Logger } from "./system/log.ts";
import { CONTROL_SOCKET, type ControlRequest } from "./system/control_protocol.ts";
import { onAbort } from "./system/on_abort.ts";
import { connectServiceManager, runtimeDirectory } from "./system/notify_socket.ts";
import { TaskGroup } from "./system/task_group.ts";
import { VERSION } from "./system/version.ts";
import type { Wakeup } from "./system/wakeup.ts";
import { serveControl } from "./web/control_socket.ts";
import { HealthServer } from "./web/health_server.ts";
import { Supervision } from "./web/supervision.ts";
import type { StatusView } from "./web/view.ts";

/** How long the delivery of the last chunk may take. */
const LAST_DELIVERY_MS = 2000;

export interface AgentOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Where the configuration comes from; it is read again when `requested` rings. */
  readonly configuration?: ConfigSource & { readonly requested: Wakeup };
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
  const settings = new Settings(config);
  const status = new Status(
    settings.live((config) => ({ ...config, version: VERSION })),
    clock,
    timeZone,
  );
  const spool = await Spool.open(config.spoolDir);
  spool.keepsDelivered = config.keepDeliveredDays > 0;
  try {
    log.info("recorder-agent starts.", { version: VERSION, spool_dir: config.spoolDir });
    using notifier = connectServiceManager(env, config.spoolDir, log.getChild("systemd"));
    const watchdogUsec = env.WATCHDOG_USEC;
    const reload = new Reload(options.configuration ?? { load: () => config }, {
      settings,
      clock,
      status,
      log: log.getChild("settings"),
    });
    const onReady = () => void reload.ready();
    const supervision = new Supervision({ notifier, watchdogUsec, timeZone, onReady }, clock);
    // A demo, or a run by hand, is not what was updated.
    if (notifier !== null) await reportRollback({ clock, status, log: log.getChild("update") });
    await closeOpenFolders(spool.dir, log.getChild("spool"));
    const recovered = await recoverRecordings(spool, log.getChild("recovery"));
    await retimeEarlier(spool, log.getChild("clock"));
    status.carriedOver(spool.tally.outbox.durationUs, spool.tally.rejected.durationUs);
    const boot = await readBoot(clock);
    const before = {
      chunk: spool.latest(boot.id),
      wasCutOff: recovered > 0,
      declaredEndsMs: declaredEnds(await readLastGaps(spool.dir)),
      boot,
      pause: () => pausing.earlier(),
    };
    const { clockProbe: probe, microphone } = options;
    const clockSync = new ClockSync({
      clock,
      log: log.getChild("clock"),
      ...(probe === undefined ? {} : { probe }),
    });
    const soundEvents = new SoundEvents({ clock, log: log.getChild("recorder") });
    const parts = { ...options, env, clock, settings, status, spool, boot, clockSync, timeZone };
    const pausing = new Pausing({
      ...parts,
      log: log.getChild("control"),
      spoolDir: config.spoolDir,
      onChange: () => recorder.pauseChanged(),
    });
    await pausing.takeUp();
    const maker = new CaptureOptionsMaker({ ...parts, microphone, before, soundEvents });
    const recorder = new Recorder(maker.optionsOf(config), {
      clock,
      status,
      spool,
      log: log.getChild("recorder"),
      pausedForMs: () => pausing.leftMs(),
      onAlive: () => supervision.alive(),
    });
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
    const workers = {
      ...parts,
      maker,
      reload,
      pausing,
      recorder,
      soundEvents,
      supervision,
      health,
      report,
      view,
    };
    try {
      await runWorkers(workers, stop);
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
  settings: Settings;
  env: Readonly<Record<string, string>>;
  status: Status;
  spool: Spool;
  boot: Boot;
  clockSync: ClockSync;
  /** IANA name of the local time zone. */
  timeZone: string;
}

interface Workers extends Parts {
  maker: CaptureOptionsMaker;
  reload: Reload;
  pausing: Pausing;
  recorder: Recorder;
  soundEvents: SoundEvents;
  supervision: Supervision;
  health: HealthServer;
  report: () => HealthReport;
  view: () => StatusView;
}

async function runWorkers(parts: Workers, stop: AbortSignal): Promise<void> {
  const { clock, log, status, spool, settings, clockSync } = parts;
  const janitor = new Janitor(spool, settings.live(limitsOf), {
    clock,
    status,
    log: log.getChild("janitor"),
    isClockTrusted: () => clockSync.isTrusted,
  });
  const delivery = new Delivery(parts);

  const others = new TaskGroup();
  others.start("garbage", (signal) => collectGarbage(clock, signal));
  const onTrusted = () => {
    parts.pausing.clockTrusted();
    parts.recorder.clockTrusted();
  };
  others.start("clock", (signal) => followClock({ ...parts, onTrusted }, signal));
  const zone = new ProblemReport({ clock, status, log: log.getChild("clock") });
  others.start("time zone", (signal) => watchTimeZone({ clock, clockSync, problem: zone }, signal));
  others.start("janitor", (signal) => janitor.run(signal));
  others.start("uploader", (signal) => delivery.run(signal));
  others.start("history", () => restoreHistory(status.history, spool, clock.unixMs()));
  startReporting(others, parts);
  const setup = { clock, status, log: log.getChild("setup") };
  others.start("boot file", (signal) => watchBootFile(setup, signal));
  const capture = new TaskGroup();
  capture.start("recorder", (signal) => parts.recorder.run(signal));
  capture.start("sound events", (signal) => parts.soundEvents.run(signal));
  others.start("pause", (signal) => parts.pausing.run(signal));
  others.start("control", (signal) => serveCommands(parts, signal));
  others.start("settings", (signal) => followSettings(parts, signal));
  others.start(
    "systemd",
    (signal) => parts.supervision.run(parts.report, capture.signal, signal),
  );
  parts.onRunning?.({ healthPort: parts.health.port, report: parts.report });

  const stopCapture = () => capture.stop();
  using _ = onAbort(stop, stopCapture);
  others.signal.addEventListener("abort", stopCapture);
  try {
    await capture.join();
    const giveUpMs = clock.monotonicMs() + LAST_DELIVERY_MS;
    while (!delivery.idle && !others.signal.aborted && clock.monotonicMs() < giveUpMs) {
      await clock.sleep(20);
    }
  } finally {
    others.stop();
    await others.join();
  }
}

/** Takes commands from root and the group of the service. */
async function serveCommands(parts: Workers, signal: AbortSignal): Promise<void> {
  const { env, log, pausing, settings: { config } } = parts;
  const path = `${runtimeDirectory(env, config.spoolDir)}/${CONTROL_SOCKET}`;
  const control = (request: ControlRequest) => pausing.control(request);
  await serveControl(path, control, log.getChild("control"), signal);
}

/** Puts another configuration in force whenever that is requested. */
async function followSettings(parts: Workers, signal: AbortSignal): Promise<void> {
  const { settings, spool, maker, recorder, reload, configuration } = parts;
  if (configuration === undefined) return;
  while (!signal.aborted) {
    await configuration.requested.rung(signal);
    if (signal.aborted) return;
    if (!reload.reload()) continue;
    recorder.change(maker.optionsOf(settings.config));
    spool.keepsDelivered = settings.config.keepDeliveredDays > 0;
    spool.roomWanted.ring();
    await reload.keep();
  }
}

/** The limits of the spool. */
function limitsOf(config: Config): RetentionLimits {
  return {
    ...config,
    maxSpoolBytes: config.maxSpoolGb * BYTES_PER_GB,
    minFreeBytes: config.minFreeGb * BYTES_PER_GB,
    chunkBytes: estimateChunkBytes(config.chunkSeconds, config.opusBitrateKbps),
  };
}

/** The current data for the status page and the metrics. */
function viewStatus(parts: Parts, report: HealthReport): StatusView {
  const { clock, settings: { config }, spool, status, timeZone } = parts;
  const oldest = spool.oldestWaitingNow;
  return {
    nowMs: clock.unixMs(),
    timeZone,
    schedule: scheduleOf(config),
    report,
    history: status.history,
    counters: status.counters,
    tally: spool.tally,
    oldestWaitingMs: oldest ? oldest.startUnixUs / 1000 : oldest,
    maxSpoolBytes: config.maxSpoolGb * BYTES_PER_GB,
    minFreeBytes: config.minFreeGb * BYTES_PER_GB,
    rssBytes: Deno.memoryUsage().rss,
  };
}
