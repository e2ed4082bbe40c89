// The HTTP server on 127.0.0.1: /health for whoever supervises the till, the status page for who looks
// at it, /metrics for a fleet's monitoring. It answers from what status.ts knows and offers nothing
// that could change anything.

import { delay } from "@std/async/delay";
import { accepts } from "@std/http/negotiation";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { collectMetrics, formatMetrics, METRICS_TYPE } from "./metrics.ts";
import { renderPage, renderParts } from "./page.ts";
import { MAX_CLIENTS, PageEvents } from "./page_events.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { HealthReport, Status } from "../status/status.ts";
import type { StatusView } from "./view.ts";

/** Names under which this machine is asked. */
const LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"];
/** An answer is made at once and fits into the socket; what is under way is through after this. */
const CLOSING_MS = 50;
const TYPES = ["application/json", "text/html"];

export interface HealthServerOptions {
  /** 0 takes a free port. */
  port: number;
  report: () => HealthReport;
  /** Everything else that is known. */
  view: () => StatusView;
  status: Status;
  clock: Clock;
  log: Logger;
}

export interface HealthServer {
  readonly port: number;
  /** Lets answers under way finish, for a moment, and ends what is watched. */
  close(): Promise<void>;
}

/**
 * Listens at once. A port that is taken is a problem to report, not a reason not to record: then the
 * answer is null.
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
          options.log.error("An answer of the health server failed.", { error: String(error) });
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
        // Not shutdown(): Deno 2.7's waits for ever for a client that says nothing, and throws where
        // nobody can catch it if the signal aborts meanwhile.
        await delay(CLOSING_MS);
        aborter.abort();
        await server.finished;
      },
    };
  } catch (error) {
    // Until the next start: the port is asked for once.
    new ProblemReport(options).set(problems.healthPortUnavailable(options.port, error));
    return null;
  }
}

class Site {
  readonly events: PageEvents;
  readonly #options: HealthServerOptions;
  /** What can be asked for, by the path. */
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
    // A web page can give a name of its own this address, and read the answer (DNS rebinding).
    if (url === null || !LOCAL_NAMES.includes(url.hostname)) {
      return json(403, { error: "forbidden: ask for localhost" });
    }
    const page = this.#pages.get(url.pathname);
    if (page === undefined) {
      return json(404, { error: "not found: /, /health and /metrics are here" });
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return json(405, { error: "only GET" }, { allow: "GET, HEAD" });
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
    // Another site's page could not read the stream, but would take the place of one who may.
    const site = request.headers.get("sec-fetch-site") ?? "same-origin";
    if (site !== "same-origin" && site !== "none") {
      return json(403, { error: "forbidden: only for the status page" });
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
