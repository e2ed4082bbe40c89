// GET /health on 127.0.0.1, for whoever supervises the till. It answers from what status.ts knows and
// offers nothing that could change anything.

import type { Logger } from "../log.ts";
import type { HealthReport, Status } from "./status.ts";

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
        const cut = setTimeout(() => aborter.abort(), 500);
        await server.shutdown();
        clearTimeout(cut);
      },
    };
  } catch (error) {
    options.status.setProblem(
      "health_port_unavailable",
      `The health server cannot listen on 127.0.0.1:${options.port}: ${error}: ` +
        `stop what uses the port, or set health_port to another one`,
    );
    options.log.error("The health server cannot listen; recording goes on without it.", {
      port: options.port,
      error: String(error),
    });
    return null;
  }
}

function handle(request: Request, report: () => HealthReport): Response {
  if (new URL(request.url).pathname !== "/health") {
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
