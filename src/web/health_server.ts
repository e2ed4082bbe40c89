// The HTTP server on 127.0.0.1: /health for supervision, the status page for people, /metrics for the
// monitoring of a fleet. It answers from the data of status.ts. No request can change anything.

import { delay } from "@std/async/delay";
import { accepts } from "@std/http/negotiation";
import type { Clock } from "../system/clock.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { collectMetrics, formatMetrics, METRICS_TYPE } from "./metrics.ts";
import { renderPage, renderParts } from "./page.ts";
import { MAX_CLIENTS, PageEvents } from "./page_events.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { HealthReport, Status } from "../status/status.ts";
import type { StatusView } from "./view.ts";

/** Host names that requests may use for this machine. */
const LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"];
/** After this, answers in progress are complete: an answer is made at once and fits into the socket. */
const CLOSING_MS = 50;
const TYPES = ["application/json", "text/html"];

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

export interface HealthServer {
  readonly port: number;
  /** Gives answers in progress a moment to finish, and ends the event streams. */
  close(): Promise<void>;
}

/**
 * Starts to listen. Returns null and sets a problem if the port is in use: the program records all the
 * same.
 */
export function startHealthServer(options: HealthServerOptions): HealthServer | null {
  const aborter = new AbortController();
  const site = new Site(options);
  try {
    const server = Deno.serve(
      {
        signal: aborter.signal,
        hostname: "127.0.0.1",
        port: options.port,
        onListen: () => {},
        onError: (error) => {
          const fields = repeating("answer", { error: String(error) });
          options.log.error("The health server failed to answer a request.", fields);
          return json(500, { error: "internal error" });
        },
      },
      (request) => site.answer(request),
    );
    const { port } = server.addr;
    options.log.info("Health is at http://127.0.0.1:{port}/health.", { port });
    return {
      port,
      async close() {
        await site.events.close();
        // shutdown() is not used: in Deno 2.7 it waits forever for a silent client, and if the signal
        // aborts in the meantime, it throws an error that nobody can catch.
        await delay(CLOSING_MS);
        aborter.abort();
        await server.finished;
      },
    };
  } catch (error) {
    // The problem lasts until the next start, because the server tries to listen only once.
    new ProblemReport(options).set(problems.healthPortUnavailable(options.port, error));
    return null;
  }
}

class Site {
  readonly events: PageEvents;
  readonly #options: HealthServerOptions;
  /** Handlers by path. */
  readonly #pages: ReadonlyMap<string, (request: Request) => Response>;

  constructor(options: HealthServerOptions) {
    this.#options = options;
    const { clock, status, view } = options;
    this.events = new PageEvents({
      clock,
      program: () => `${view().report.version} ${view().report.started_ts}`,
      parts: () => renderParts(view()),
      levels: () => status.history.takeLive().map(({ peakDbfs }) => peakDbfs),
    });
    this.#pages = new Map<string, (request: Request) => Response>([
      ["/health", () => this.#health()],
      [
        "/",
        (request) => accepts(request, ...TYPES) === "text/html" ? this.#page() : this.#health(),
      ],
      ["/events", (request) => this.#events(request)],
      ["/metrics", () => this.#metrics()],
    ]);
  }

  answer(request: Request): Response {
    const url = URL.parse(request.url);
    // A web page can let its own host name resolve to this address and read the answer (DNS rebinding).
    if (url === null || !LOCAL_NAMES.includes(url.hostname)) {
      return json(403, { error: "forbidden: use localhost" });
    }
    const page = this.#pages.get(url.pathname);
    if (page === undefined) {
      return json(404, { error: "not found: this server has /, /health and /metrics" });
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return json(405, { error: "only GET is allowed" }, { allow: "GET, HEAD" });
    }
    return page(request);
  }

  #health(): Response {
    const health = this.#options.report();
    return json(health.status === "error" ? 503 : 200, health, { vary: "accept" });
  }

  #page(): Response {
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

  #events(request: Request): Response {
    // A page of another site cannot read the stream, but it would use up one of the few clients.
    const site = request.headers.get("sec-fetch-site") ?? "same-origin";
    if (site !== "same-origin" && site !== "none") {
      return json(403, { error: "forbidden: reserved for the status page" });
    }
    const type = "text/event-stream";
    if (request.method === "HEAD") return answer(200, type, null);
    const stream = this.events.open();
    if (stream !== null) return answer(200, type, stream);
    return json(503, { error: `${MAX_CLIENTS} status pages are open already: close one` });
  }

  #metrics(): Response {
    return answer(200, METRICS_TYPE, formatMetrics(collectMetrics(this.#options.view())));
  }
}

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return answer(status, "application/json", JSON.stringify(body, null, 2) + "\n", headers);
}

function answer(
  status: number,
  type: string,
  body: BodyInit | null,
  headers: Record<string, string> = {},
): Response {
  return new Response(body, {
    status,
    headers: {
      "content-type": type,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "cross-origin-resource-policy": "same-origin",
      ...headers,
    },
  });
}
