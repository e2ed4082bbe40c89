// deno-lint-ignore-file no-console -- the process writes its ports to stdout
// An Ingest API that is never the bottleneck: a separate process that reads any request over TLS to the
// end, accepts it, and remembers the order. It checks nothing; tests/fixtures/ingest_server.ts checks
// whether a client follows the protocol.

import { JsonLines } from "./json_lines.ts";
import type { Certificates } from "../tests/fixtures/certificates.ts";

/** A request that was accepted. */
export interface Accepted {
  /** Its Idempotency-Key. */
  readonly key: string;
  /** When its last byte had arrived, Unix milliseconds with a fraction. */
  readonly atMs: number;
}

/** The running server. It ends with its scope, or with the process that started it. */
export class FastServer implements AsyncDisposable {
  readonly port: number;
  readonly #controlPort: number;
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess, ports: { ingest: number; control: number }) {
    this.#child = child;
    this.port = ports.ingest;
    this.#controlPort = ports.control;
  }

  static async start({ certPem, keyPem }: Certificates): Promise<FastServer> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", new URL(import.meta.url).pathname],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${JSON.stringify({ certPem, keyPem })}\n`));
    writer.releaseLock();
    const ports = await new JsonLines(child.stdout).next();
    return new FastServer(child, ports as { ingest: number; control: number });
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  /** How many were accepted since the last `take`. */
  async count(): Promise<number> {
    return await this.#ask("count") as number;
  }

  /** Resolves when `count` requests were accepted since the last `take`. @throws after `timeoutMs`. */
  async waitFor(count: number, timeoutMs: number): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    await this.#ask(`wait?${count}`, signal).catch(async (error) => {
      throw new Error(`${await this.count()} of ${count} came in ${timeoutMs} ms`, {
        cause: error,
      });
    });
  }

  /** The requests accepted since the last call, in order. */
  async take(): Promise<Accepted[]> {
    return await this.#ask("take") as Accepted[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.status;
  }

  async #ask(question: string, signal?: AbortSignal): Promise<unknown> {
    const url = `http://127.0.0.1:${this.#controlPort}/${question}`;
    const answer = await fetch(url, signal === undefined ? {} : { signal });
    return await answer.json();
  }
}

async function serve(): Promise<void> {
  const lines = new JsonLines(Deno.stdin.readable);
  const { certPem, keyPem } = await lines.next() as { certPem: string; keyPem: string };
  let accepted: Accepted[] = [];
  const waiting: { readonly count: number; readonly tell: (answer: Response) => void }[] = [];
  const onListen = () => {};
  const local = { hostname: "127.0.0.1", port: 0, onListen };
  const ingest = Deno.serve({ ...local, cert: certPem, key: keyPem }, async (request) => {
    await request.bytes();
    const key = request.headers.get("idempotency-key") ?? "";
    accepted.push({ key, atMs: performance.timeOrigin + performance.now() });
    for (const { count, tell } of waiting.splice(0)) {
      if (accepted.length >= count) tell(Response.json(count));
      else waiting.push({ count, tell });
    }
    return Response.json({ status: "ok", chunk_id: String(accepted.length) });
  });
  const control = Deno.serve(local, (request) => {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/count") return Response.json(accepted.length);
    if (pathname === "/wait") {
      const count = Number(search.slice(1));
      if (accepted.length >= count) return Response.json(count);
      return new Promise((tell) => waiting.push({ count, tell }));
    }
    const taken = accepted;
    accepted = [];
    return Response.json(taken);
  });
  console.log(JSON.stringify({ ingest: ingest.addr.port, control: control.addr.port }));
  await lines.ended();
  Deno.exit();
}

if (import.meta.main) await serve();
