// The reference server of the Ingest API: which path is answered by whom, and who may ask. It builds its
// parts and stops them. It never decides what a chunk is called or whether a form is valid.

import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { ChunkIntake, json, type Received } from "./chunk_intake.ts";
import { HttpServer, type Incoming, type Reply } from "./http_server.ts";
import type { Overview, OverviewSource } from "./overview.ts";
import { formatReceiverMetrics, METRICS_TYPE, renderTills } from "./pages.ts";
import type { Store } from "./store.ts";
import type { Grant, Tokens } from "./token_file.ts";

/** Enough for an hour at 256 kbit/s. */
export const DEFAULT_MAX_MB = 128;

export interface ReceiverOptions {
  readonly hostname: string;
  /** 0: any free port. */
  readonly port: number;
  /** PEM; null: without TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** Null: everybody may deliver. */
  readonly tokens: Tokens | null;
  readonly store: Store;
  /** What the pages show; null: there are no pages. */
  readonly overview: OverviewSource | null;
  /** Size of a whole request. */
  readonly maxBodyBytes: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when a chunk is durable, before its sender has the answer. */
  readonly onChunk?: (received: Received) => void;
}

export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #intake: ChunkIntake;
  readonly #answers = new Map<number, number>();
  #stored = 0;
  #repeated = 0;
  #storedBytes = 0;
  readonly #server: HttpServer;

  private constructor(options: ReceiverOptions) {
    const { store, clock, onChunk } = options;
    const log = options.log.getChild("receive");
    this.#options = options;
    this.#intake = new ChunkIntake({
      ...{ store, clock, log },
      onAnswer: (status, received) => {
        this.#count(status, received);
        if (received !== null) onChunk?.(received);
      },
    });
    this.#server = HttpServer.listen({
      ...options,
      log,
      answer: (incoming) => this.#answer(incoming),
      refuse: (status, reason) => json(status, { status: "error", error: reason }),
    });
  }

  /** @throws if the address cannot be used, or the certificate and the key do not fit. */
  static start(options: ReceiverOptions): Receiver {
    return new Receiver(options);
  }

  get port(): number {
    return this.#server.port;
  }

  /** Lets uploads in progress end within a limit. */
  async close(): Promise<void> {
    await this.#server.close();
  }

  async #answer(incoming: Incoming): Promise<Reply> {
    const { method, path } = incoming.request;
    switch (path) {
      case "/api/v1/chunks": {
        if (method !== "POST") return notAllowed("POST");
        // Without tokens, any page that a browser of this machine shows could deliver.
        if (this.#options.tokens === null && incoming.request.headers.has("origin")) {
          return json(403, { status: "error", error: "web pages may not deliver" });
        }
        const grant = this.#grantOf(incoming, ["bearer"]);
        if (grant === null || grant.kind === "page") {
          this.#count(401, null);
          return unauthorized("Bearer");
        }
        return await this.#intake.receive(incoming, grant);
      }
      case "/health":
        return isReading(method) ? json(200, { status: "ok" }) : notAllowed("GET, HEAD");
      case "/":
      case "/metrics": {
        const { overview } = this.#options;
        if (overview === null) return notFound();
        if (!isReading(method)) return notAllowed("GET, HEAD");
        const grant = this.#grantOf(incoming, ["bearer", "basic"]);
        if (grant === null || grant.kind === "device") return unauthorized("Basic");
        return await this.#page(path, overview);
      }
      default:
        return notFound();
    }
  }

  /**
   * What the sender may do; null: nothing.
   * @param schemes A delivery needs Bearer: a browser adds Basic to forms of other sites, too.
   */
  #grantOf({ request }: Incoming, schemes: readonly string[]): Grant | null {
    const { tokens } = this.#options;
    if (tokens === null) return { kind: "all" };
    const [, scheme, value = ""] =
      /^(Bearer|Basic) +(\S+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
    if (scheme === undefined || !schemes.includes(scheme.toLowerCase())) return null;
    return tokens.grantOf(scheme.toLowerCase() === "basic" ? passwordOf(value) : value);
  }

  async #page(path: string, from: OverviewSource): Promise<Reply> {
    let overview: Overview;
    try {
      overview = await from.read();
    } catch (error) {
      const fields = repeating("overview", { error: messageOf(error) });
      this.#options.log.error("The store cannot be listed.", fields);
      return json(503, { status: "error", error: "the store cannot be listed" });
    }
    if (path === "/") {
      return page("text/html; charset=utf-8", renderTills(overview, this.#unixMs()));
    }
    const counts = {
      ...{ answers: this.#answers, stored: this.#stored, repeated: this.#repeated },
      ...{ storedBytes: this.#storedBytes, connections: this.#server.connections },
    };
    return page(METRICS_TYPE, formatReceiverMetrics(overview, counts));
  }

  #unixMs(): number {
    return this.#options.clock.unixMs();
  }

  #count(status: number, received: Received | null): void {
    this.#answers.set(status, (this.#answers.get(status) ?? 0) + 1);
    if (received?.outcome === "repeated") this.#repeated++;
    if (received?.outcome !== "stored") return;
    this.#stored++;
    this.#storedBytes += received.sizeBytes;
  }
}

/** A browser asks for a name and a password: the password is the token, the name is not looked at. */
function passwordOf(basic: string): string {
  try {
    const text = atob(basic);
    return text.slice(text.indexOf(":") + 1);
  } catch {
    return "";
  }
}

function page(type: string, body: string): Reply {
  const headers = {
    "content-type": type,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; " +
      "form-action 'none'; frame-ancestors 'none'",
  };
  return { status: 200, headers, body };
}

function notFound(): Reply {
  const error = "this server has /api/v1/chunks, /health, / and /metrics";
  return json(404, { status: "error", error });
}

function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

function notAllowed(allow: string): Reply {
  return json(405, { status: "error", error: `only ${allow} is allowed` }, { allow });
}

function unauthorized(scheme: string): Reply {
  const headers = { "www-authenticate": `${scheme} realm="recorder-agent receive"` };
  return json(401, { status: "error", error: "the token is missing or not known" }, headers);
}
