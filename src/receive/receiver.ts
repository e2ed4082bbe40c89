// The reference server of the Ingest API: which path is answered by whom, and who may ask. It builds its
// parts and stops them. It never decides what a chunk is called or whether a form is valid.

import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import type { CertificateFiles } from "./certificate_files.ts";
import { ChunkIntake, json, type Received } from "./chunk_intake.ts";
import type { HttpAnswer } from "../system/http_answer.ts";
import type { HttpLimits, Incoming } from "../system/http_connection.ts";
import { HttpListener } from "../system/http_listener.ts";
import type { Overview, OverviewSource } from "./overview.ts";
import { METRICS_TYPE } from "../system/prometheus.ts";
import { formatReceiverMetrics, renderTills } from "./pages.ts";
import { pagesOf, shareOf, Shares } from "./shares.ts";
import type { Store } from "./store.ts";
import type { Grant, Tokens } from "./token_file.ts";

/** How long a renewed certificate may go unnoticed. */
export const RENEWAL_MS = 10_000;
/** When a client with too many uploads or pages may try again. */
const RETRY_S = 5;
/** Statuses of a body that is not read to its end: too slow, announced as too large, or in an unknown coding. */
const BODY_FAULTS = [408, 413, 501];
/** Enough for an hour at 256 kbit/s. */
export const DEFAULT_MAX_MB = 128;

/** Anybody can reach the port, and lines may be slow. */
export const RECEIVER_LIMITS: Omit<HttpLimits, "bodyBytes"> = {
  // Each may also have a file open: the program needs twice as many descriptors.
  connections: 1024,
  // When 1,000 tills come at once, some are read before others (docs/explanation/findings.md, "Deno and V8").
  headMs: 60_000,
  // Longer than the two minutes for which an agent keeps a connection.
  idleMs: 150_000,
  // A request at work has shown that it knows what to ask.
  keepsWork: true,
  closingMs: 15_000,
};

export interface ReceiverOptions {
  readonly hostname: string;
  /** 0: any free port. */
  readonly port: number;
  /** Null: without TLS. */
  readonly tls: CertificateFiles | null;
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
  readonly #server: HttpListener;
  readonly #shares = new Shares();
  readonly #closing = new AbortController();
  readonly #renewing: Promise<void> | null;

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
    this.#server = HttpListener.listen({
      ...options,
      log,
      tls: options.tls?.read() ?? null,
      name: "The receiver",
      limits: { ...RECEIVER_LIMITS, bodyBytes: options.maxBodyBytes },
      budget: null,
      answer: (incoming) => this.#answer(incoming),
      refuse: (status, reason, peer) => this.#refuse(status, reason, peer),
    });
    this.#renewing = options.tls === null ? null : this.#renew(options.tls);
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
    this.#closing.abort();
    await Promise.all([this.#server.close(), this.#renewing]);
  }

  /** Shows a certificate that was renewed. Never rejects. */
  async #renew(files: CertificateFiles): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await clock.sleep(RENEWAL_MS, signal);
      if (signal.aborted || !files.hasChanged()) continue;
      try {
        this.#server.renew(files.read());
        log.info("The certificate was read again.");
      } catch (error) {
        // The certificate and the key are not replaced at the same moment.
        const fields = repeating("certificate", { error: messageOf(error) });
        log.warning("The certificate cannot be used: the one from before stays.", fields);
      }
    }
  }

  async #answer(incoming: Incoming): Promise<HttpAnswer<string>> {
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
        return await this.#receive(incoming, grant);
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
        return await this.#read(incoming.peer, () => this.#page(path, overview));
      }
      default:
        return notFound();
    }
  }

  /** What cannot be read as a request, or its body as one: only uploads have bodies. */
  #refuse(status: number, reason: string, peer: string): HttpAnswer<string> {
    if (BODY_FAULTS.includes(status)) {
      this.#count(status, null);
      const fields = repeating(`refused ${status}`, { reason, status, peer });
      this.#options.log.warning("Refused an upload: {reason}", fields);
    }
    return json(status, { status: "error", error: reason });
  }

  async #receive(incoming: Incoming, grant: Grant): Promise<HttpAnswer<string>> {
    const { peer } = incoming;
    const [client, share] = shareOf(grant, peer);
    const giveBack = this.#shares.take(client, share);
    if (giveBack !== null) return await this.#intake.receive(incoming, grant).finally(giveBack);
    this.#count(429, null);
    const reason = `the ${client} has ${share} uploads in progress`;
    const fields = repeating("share", { reason, status: 429, peer });
    this.#options.log.warning("Refused an upload: {reason}", fields);
    return tooMany(reason);
  }

  /** Makes a page if the reader, and all readers together, have not too many that are still sent. */
  async #read(peer: string, make: () => Promise<HttpAnswer<string>>): Promise<HttpAnswer<string>> {
    const onEnd = this.#shares.takeAll(pagesOf(peer));
    if (onEnd === null) return tooMany("too many pages are read at the same time");
    try {
      return { ...await make(), onEnd };
    } catch (error) {
      onEnd();
      throw error;
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

  async #page(path: string, from: OverviewSource): Promise<HttpAnswer<string>> {
    const { clock, log } = this.#options;
    let overview: Overview;
    try {
      overview = await from.read();
    } catch (error) {
      const fields = repeating("overview", { error: messageOf(error) });
      log.error("The store cannot be listed.", fields);
      return json(503, { status: "error", error: "the store cannot be listed" });
    }
    if (path === "/") {
      return page("text/html; charset=utf-8", renderTills(overview, clock.unixMs()));
    }
    const counts = {
      ...{ answers: this.#answers, stored: this.#stored, repeated: this.#repeated },
      ...{ storedBytes: this.#storedBytes, connections: this.#server.connections },
    };
    return page(METRICS_TYPE, formatReceiverMetrics(overview, counts));
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

function page(type: string, body: string): HttpAnswer<string> {
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

function tooMany(reason: string): HttpAnswer<string> {
  return json(429, { status: "error", error: reason }, { "retry-after": String(RETRY_S) });
}

function notFound(): HttpAnswer<string> {
  const error = "this server has /api/v1/chunks, /health, / and /metrics";
  return json(404, { status: "error", error });
}

function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

function notAllowed(allow: string): HttpAnswer<string> {
  return json(405, { status: "error", error: `only ${allow} is allowed` }, { allow });
}

function unauthorized(scheme: string): HttpAnswer<string> {
  const headers = { "www-authenticate": `${scheme} realm="recorder-agent receive"` };
  return json(401, { status: "error", error: "the token is missing or not known" }, headers);
}
