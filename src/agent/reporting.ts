// What tells the operator of many tills how this one is: the push of metrics and the heartbeat, with the
// settings in force. It judges nothing and knows no protocol.

import type { Config } from "../config/config.ts";
import { firstInterval, phaseOf } from "../config/phase.ts";
import { assertTransport } from "../config/transport.ts";
import { ProblemReport } from "../status/problem_report.ts";
import type { HealthReport, Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { TaskGroup } from "../system/task_group.ts";
import { VERSION } from "../system/version.ts";
import { TextPost } from "../upload/text_post.ts";
import { sendHeartbeats } from "../web/heartbeat.ts";
import { collectMetrics } from "../web/metrics.ts";
import { MetricsPush } from "../web/metrics_push.ts";
import { OTLP_TYPE } from "../web/otlp.ts";
import type { StatusView } from "../web/view.ts";
import type { Settings } from "./settings.ts";

export interface ReportingDeps {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  readonly env: Readonly<Record<string, string>>;
  readonly report: () => HealthReport;
  readonly view: () => StatusView;
}

/** Their connections use the certificates of the uploads. */
const GROUPS = ["identity", "delivery", "fleet"] as const;

/** Starts the tasks; each waits while nothing is configured for it. */
export function startReporting(group: TaskGroup, deps: ReportingDeps): void {
  const { settings } = deps;
  const parts = { "metrics push": pushMetrics, heartbeat };
  for (const [name, run] of Object.entries(parts)) {
    group.start(name, (signal) =>
      settings.runWith(GROUPS, async (config, turn) => {
        const problem = new ProblemReport({ ...deps, log: deps.log.getChild("fleet") });
        await run(config, { ...deps, problem }, turn);
        if (!signal.aborted) problem.clear("the settings were changed");
      }, signal));
  }
}

interface Deps extends ReportingDeps {
  readonly problem: ProblemReport;
}

async function pushMetrics(config: Config, deps: Deps, signal: AbortSignal): Promise<void> {
  if (config.otlpEndpoint === null) return;
  const { env, clock } = deps;
  const url = new URL(config.otlpEndpoint);
  const path = `${url.pathname.replace(/\/$/, "")}/v1/metrics`;
  using post = new TextPost(url, { tls: config, env, clock, key: "otlp_endpoint" });
  await new MetricsPush({
    ...intervals(config, config.otlpIntervalS),
    resource: {
      "service.name": "recorder-agent",
      "service.instance.id": config.deviceId,
      "service.version": VERSION,
      "point_id": config.pointId,
      "register_id": config.registerId,
    },
    collect: () => collectMetrics(deps.view()),
    push: async (content, signal) => {
      assertTransport(config, "otlp_endpoint");
      const text = { type: OTLP_TYPE, content };
      return await post.post(path, text, config.otlpHeaders ?? {}, signal);
    },
  }, deps).run(signal);
}

function intervals({ deviceId }: Config, seconds: number) {
  const firstIntervalMs = firstInterval(seconds * 1000, phaseOf(deviceId));
  return { intervalMs: seconds * 1000, firstIntervalMs };
}

async function heartbeat(config: Config, deps: Deps, signal: AbortSignal): Promise<void> {
  if (config.heartbeatUrl === null) return;
  const { env, clock } = deps;
  const url = new URL(config.heartbeatUrl);
  using post = new TextPost(url, { tls: config, env, clock, key: "heartbeat_url" });
  await sendHeartbeats(
    {
      url: config.heartbeatUrl,
      ...intervals(config, config.heartbeatIntervalS),
      report: deps.report,
      ping: async (url, content, signal) => {
        assertTransport(config, "heartbeat_url");
        const { pathname, search } = new URL(url);
        return await post.post(pathname + search, { type: "text/plain", content }, {}, signal);
      },
    },
    deps,
    signal,
  );
}
