// Pushes all metrics to an OTLP receiver at an interval, because a till behind NAT cannot be scraped. What
// could not be sent waits in memory, within a bound, and is sent oldest first. It never disturbs anything
// else: it sends one request at a time, and its failures end here.

import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { problems } from "../status/problems.ts";
import type { ProblemReport } from "../status/problem_report.ts";
import type { MetricFamily } from "../system/prometheus.ts";
import { encodeOtlp, type OtlpContext } from "./otlp.ts";
import { PushQueue } from "./push_queue.ts";

/** An hour at the default interval; then every other snapshot goes. One takes about 10 kB. */
const MAX_WAITING = 60;
/** The most snapshots in one request: about 150 kB. */
const MAX_TOGETHER = 15;
/** These may succeed later; any other refusal would be repeated forever (OTLP, "Failures"). */
const RETRYABLE: readonly number[] = [429, 502, 503, 504];

/** Sends a request to the receiver. Resolves with the status of the answer. @throws without an answer. */
export type Push = (body: Uint8Array<ArrayBuffer>, signal: AbortSignal) => Promise<number>;

export interface MetricsPushOptions {
  readonly intervalMs: number;
  /** What is left of the first interval for this till, so that a fleet does not send in step. */
  readonly firstIntervalMs?: number;
  readonly resource: OtlpContext["resource"];
  readonly collect: () => readonly MetricFamily[];
  readonly push: Push;
}

export interface MetricsPushDeps {
  readonly clock: Clock;
  readonly problem: Pick<ProblemReport, "set" | "clear">;
}

interface Waiting {
  readonly families: readonly MetricFamily[];
  /** Monotonic: a clock that is corrected later corrects what waits. */
  readonly atMs: number;
}

export class MetricsPush {
  readonly #options: MetricsPushOptions;
  readonly #deps: MetricsPushDeps;
  readonly #queue = new PushQueue<Waiting>(MAX_WAITING);
  readonly #startMs: number;

  constructor(options: MetricsPushOptions, deps: MetricsPushDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#startMs = deps.clock.monotonicMs();
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { intervalMs } = this.#options;
    let { firstIntervalMs: waitMs = intervalMs } = this.#options;
    while (!signal.aborted) {
      const wait = clock.sleep(waitMs, signal);
      waitMs = intervalMs;
      try {
        this.#queue.add({ families: this.#options.collect(), atMs: clock.monotonicMs() });
        await this.#send(signal);
      } catch (error) {
        if (!signal.aborted) this.#deps.problem.set(problems.metricsPushFailing(messageOf(error)));
      }
      await wait;
    }
  }

  /** Sends what waits, up to the first failure. The next interval tries again. @throws as `push`. */
  async #send(signal: AbortSignal): Promise<void> {
    const { problem } = this.#deps;
    while (this.#queue.length > 0 && !signal.aborted) {
      const batch = this.#queue.oldest(MAX_TOGETHER);
      const status = await this.#options.push(this.#encode(batch), signal);
      const isAccepted = status >= 200 && status < 300;
      if (isAccepted) problem.clear();
      else problem.set(problems.metricsPushFailing(`the receiver answered ${status}`));
      if (!isAccepted && RETRYABLE.includes(status)) return;
      this.#queue.drop(batch);
    }
  }

  #encode(batch: readonly Waiting[]): Uint8Array<ArrayBuffer> {
    const { clock } = this.#deps;
    const offsetMs = clock.unixMs() - clock.monotonicMs();
    const snapshots = batch.map(({ families, atMs }) => ({ families, unixMs: atMs + offsetMs }));
    const { resource } = this.#options;
    return encodeOtlp(snapshots, { resource, startUnixMs: this.#startMs + offsetMs });
  }
}
