// The HTTP server on 127.0.0.1: /health for supervision, the status page for people, /metrics for the
// monitoring of a fleet. It answers from the data of status.ts. No request can change anything.

import { accepts } from "@std/http/negotiation";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { toJson } from "../system/printable.ts";
import type { HttpAnswer } from "../system/http_answer.ts";
import type { HttpLimits } from "../system/http_connection.ts";
import { HttpListener } from "../system/http_listener.ts";
import type { HttpRequest } from "../system/http_request.ts";
import { WorkBudget } from "../system/work_budget.ts";
import { formatMetrics, METRICS_TYPE } from "../system/prometheus.ts";
import { collectMetrics } from "./metrics.ts";
import { renderPage, renderParts } from "./page.ts";
import { MAX_CLIENTS, PageEvents } from "./page_events.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { HealthReport, Status } from "../status/status.ts";
import type { StatusView } from "./view.ts";

/** How a request may name this machine; the port may be a forwarded one. */
const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i;
/** Clients of HTTP/1.0 may name none. */
const NO_HOST = "localhost";
const TYPES = ["application/json", "text/html"];
/** A flood must cost the recording nothing, and no client of this machine is slow. */
export const HEALTH_LIMITS: HttpLimits = {
  connections: 32,
  headMs: 5_000,
  idleMs: 30_000,
  // No request needs a body: it is discarded.
  bodyBytes: 65_536,
  keepsWork: false,
  // An answer is made at once and fits into the socket.
  closingMs: 50,
};
/** How often a port that is in use is tried again. */
const LISTEN_AGAIN_MS = 60_000;

export interface HealthServerOptions {
  /** 0: any free port. */
  port: number;
  report: () => HealthReport;
  /** The data of the status page and the metrics. */
  view: () => StatusView;
  status: Status;
  clock: Clock;
  log: Logger;
}

/**
 * Listens, and tries again while the port is in use, which is a problem: the program records all the
 * same. Nothing that happens to the server ends the program.
 */
export class HealthServer {
  readonly #options: HealthServerOptions;
  readonly #site: Site;
  readonly #problem: ProblemReport;
  readonly #closing = new AbortController();
  #listener: HttpListener | null = null;
  #retrying: Promise<void> = Promise.resolve();

  private constructor(options: HealthServerOptions) {
    this.#options = options;
    this.#site = new Site(options);
    this.#problem = new ProblemReport(options);
    if (!this.#listen()) this.#retrying = this.#retry();
  }

  static start(options: HealthServerOptions): HealthServer {
    return new HealthServer(options);
  }

  /** Null while the port is in use by another program. */
  get port(): number | null {
    return this.#listener?.port ?? null;
  }

  /** Gives answers in progress a moment to finish, and ends the event streams. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#site.events.close();
    await this.#listener?.close();
    await this.#retrying;
  }

  #listen(): boolean {
    const { clock, log, port } = this.#options;
    try {
      this.#listener = HttpListener.listen({
        name: "The health server",
        hostname: "127.0.0.1",
        port,
        tls: null,
        limits: HEALTH_LIMITS,
        budget: new WorkBudget(),
        answer: ({ request }) => this.#site.answer(request),
        refuse: (status, error) => json(status, { error }),
        clock,
        log,
      });
    } catch (error) {
      this.#problem.set(problems.healthPortUnavailable(port, error));
      return false;
    }
    this.#problem.clear();
    log.info("Health is at http://127.0.0.1:{port}/health.", { port: this.#listener.port });
    return true;
  }

  async #retry(): Promise<void> {
    const { signal } = this.#closing;
    do await this.#options.clock.sleep(LISTEN_AGAIN_MS, signal); while (
      !signal.aborted && !this.#listen()
    );
  }
}

class Site {
  readonly events: PageEvents;
  readonly #options: HealthServerOptions;
  /** Handlers by path. */
  readonly #pages: ReadonlyMap<string, (request: HttpRequest) => HttpAnswer>;

  constructor(options: HealthServerOptions) {
    this.#options = options;
    const { clock, status, view } = options;
    this.events = new PageEvents({
      clock,
      program: () => `${view().report.version} ${view().report.started_ts}`,
      parts: () => renderParts(view()),
      levels: () => status.history.takeLive().map(({ peakDbfs }) => peakDbfs),
    });
    this.#pages = new Map<string, (request: HttpRequest) => HttpAnswer>([
      ["/health", () => this.#health()],
      [
        "/",
        (request) => wantsPage(request) ? this.#page() : this.#health(),
      ],
      ["/events", (request) => this.#events(request)],
      ["/metrics", () => this.#metrics()],
    ]);
  }

  answer(request: HttpRequest): HttpAnswer {
    // A web page can let its own host name resolve to this address and read the answer (DNS rebinding).
    if (!LOCAL_HOST.test(request.headers.get("host") ?? NO_HOST)) {
      return json(403, { error: "forbidden: use localhost" });
    }
    const page = this.#pages.get(request.path);
    if (page === undefined) {
      return json(404, { error: "not found: this server has /, /health and /metrics" });
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return json(405, { error: "only GET is allowed" }, { allow: "GET, HEAD" });
    }
    return page(request);
  }

  #health(): HttpAnswer {
    const health = this.#options.report();
    return json(health.status === "error" ? 503 : 200, health, { vary: "accept" });
  }

  #page(): HttpAnswer {
    const nonce = crypto.randomUUID();
    return answer(200, "text/html; charset=utf-8", renderPage(this.#options.view(), nonce), {
      vary: "accept",
      "content-security-policy": `default-src 'none'; script-src 'nonce-${nonce}'; ` +
        `style-src 'nonce-${nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; ` +
        `form-action 'none'; frame-ancestors 'none'`,
      "x-frame-options": "DENY",
      "referrer-policy": "no-referrer",
    });
  }

  #events(request: HttpRequest): HttpAnswer {
    // A page of another site cannot read the stream, but it would use up one of the few clients.
    const site = request.headers.get("sec-fetch-site") ?? "same-origin";
    if (site !== "same-origin" && site !== "none") {
      return json(403, { error: "forbidden: reserved for the status page" });
    }
    const type = "text/event-stream";
    if (request.method === "HEAD") return answer(200, type, "");
    const stream = this.events.open();
    if (stream !== null) return answer(200, type, stream);
    return json(503, { error: `${MAX_CLIENTS} status pages are open already: close one` });
  }

  #metrics(): HttpAnswer {
    return answer(200, METRICS_TYPE, formatMetrics(collectMetrics(this.#options.view())));
  }
}

/** Whether the client prefers HTML, as browsers do. */
function wantsPage({ headers }: HttpRequest): boolean {
  const accept = headers.get("accept");
  if (accept === undefined) return false;
  return accepts({ headers: new Headers({ accept }) }, ...TYPES) === "text/html";
}

function json(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): HttpAnswer<string> {
  return answer(status, "application/json", toJson(body, 2) + "\n", headers);
}

function answer<Body extends HttpAnswer["body"]>(
  status: number,
  type: string,
  body: Body,
  headers: Record<string, string> = {},
): HttpAnswer<Body> {
  return {
    status,
    body,
    headers: {
      "content-type": type,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "cross-origin-resource-policy": "same-origin",
      ...headers,
    },
  };
}
