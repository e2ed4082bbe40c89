// The reference server of the Ingest API: which path is answered by whom, and who may ask. It builds its
// parts and stops them. It never decides what a chunk is called or whether a form is valid.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { ChunkIntake, json, type Received } from "./chunk_intake.ts";
import { HttpServer, type Incoming, type Reply } from "./http_server.ts";
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
  readonly #server: HttpServer;

  private constructor(options: ReceiverOptions) {
    const { store, clock, onChunk } = options;
    const log = options.log.getChild("receive");
    this.#options = options;
    this.#intake = new ChunkIntake({
      ...{ store, clock, log },
      onAnswer: (_status, received) => {
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
        const grant = this.#grantOf(incoming);
        if (grant === null || grant.kind === "page") return unauthorized("Bearer");
        return await this.#intake.receive(incoming, grant);
      }
      case "/health":
        return isReading(method) ? json(200, { status: "ok" }) : notAllowed("GET, HEAD");
      default:
        return json(404, { status: "error", error: "this server has /api/v1/chunks and /health" });
    }
  }

  /** What the sender may do; null: nothing. */
  #grantOf({ request }: Incoming): Grant | null {
    const { tokens } = this.#options;
    if (tokens === null) return { kind: "all" };
    const [, bearer] = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
    return bearer === undefined ? null : tokens.grantOf(bearer);
  }
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
