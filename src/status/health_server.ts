// GET /health on 127.0.0.1, for whoever supervises the till. It answers from what status.ts knows and
// offers nothing that could change anything.

import { delay } from "@std/async/delay";
import type { Logger } from "../log.ts";
import type { HealthReport, Status } from "./status.ts";

/** Names under which this machine is asked. */
const LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"];
/** An answer is made at once and fits into the socket; what is under way is through after this. */
const CLOSING_MS = 50;

export interface HealthServerOptions {
  /** 0 takes a free port. */
  port: number;
  report: () => HealthReport;
  status: Status;
  log: Logger;
}

export interface HealthServer {
  readonly port: number;
  /** Lets answers under way finish, for a moment. */
  close(): Promise<void>;
}

/**
 * Listens at once. A port that is taken is a problem to report, not a reason not to record: then the
 * answer is null.
 */
export function startHealthServer(options: HealthServerOptions): HealthServer | null {
  const aborter = new AbortController();
  try {
    const server = Deno.serve(
      {
        signal: aborter.signal,
        hostname: "127.0.0.1",
        port: options.port,
        onListen: () => {},
        onError: (error) => {
          options.log.error("An answer of the health server failed.", { error: String(error) });
          return answer(500, { error: "internal error" });
        },
      },
      (request) => handle(request, options.report),
    );
    const { port } = server.addr;
    options.log.info("Health is at http://127.0.0.1:{port}/health.", { port });
    return {
      port,
      async close() {
        // Not shutdown(): Deno 2.7's waits for ever for a client that says nothing, and throws where
        // nobody can catch it if the signal aborts meanwhile.
        await delay(CLOSING_MS);
        aborter.abort();
        await server.finished;
      },
    };
  } catch (error) {
    options.status.setProblem(
      "health_port_unavailable",
      `The health server cannot listen on 127.0.0.1:${options.port}: ${error}: ` +
        `stop what uses the port, or set health_port to another one, and restart`,
    );
    options.log.error("The health server cannot listen; recording goes on without it.", {
      port: options.port,
      error: String(error),
    });
    return null;
  }
}

function handle(request: Request, report: () => HealthReport): Response {
  const url = URL.parse(request.url);
  // A web page can give a name of its own this address, and read the answer (DNS rebinding).
  if (url === null || !LOCAL_NAMES.includes(url.hostname)) {
    return answer(403, { error: "forbidden: ask for localhost" });
  }
  if (url.pathname !== "/health") {
    return answer(404, { error: "not found: /health is here" });
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return answer(405, { error: "only GET" }, { allow: "GET, HEAD" });
  }
  const health = report();
  return answer(health.status === "error" ? 503 : 200, health);
}

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body, null, 2) + "\n", {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
  });
}
