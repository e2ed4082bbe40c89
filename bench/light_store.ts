// deno-lint-ignore-file no-console -- tells its port
// An object store for benchmarks, as a process of its own: as much of the S3 API as the receiver uses, and so
// little work that the receiver is the limit. It keeps what objects are called and how long they are, not their
// bytes, and checks nothing. tests/fixtures/s3_double.ts is the strict one, for tests.
//
// `bench/light_store.ts` prints its port, and runs until it is killed.

import { join } from "@std/path/join";

/** Notes and probes are kept whole. */
const WHOLE_BYTES = 256;
const PAGE = 1000;

interface LightObject {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly bytes: Uint8Array<ArrayBuffer> | null;
}

/** A store that runs; dispose it to kill the process. */
export class LightStore implements AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess, port: number) {
    this.#child = child;
    this.pid = child.pid;
    this.port = port;
  }

  static async start(): Promise<LightStore> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", join(import.meta.dirname ?? "", "light_store.ts")],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value = "" } = await reader.read();
    reader.cancel().catch(() => {});
    return new LightStore(child, Number(value));
  }

  /** The file for `--s3-credentials`. */
  get credentials(): string {
    return "[default]\naws_access_key_id = BENCH\naws_secret_access_key = bench\n" +
      `endpoint_url = http://127.0.0.1:${this.port}\n`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

const objects = new Map<string, LightObject>();

async function answer(request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const [, name = ""] = /^\/[^/]+\/?(.*)$/.exec(pathname) ?? [];
  const bytes = await request.bytes();
  if (name === "") return list(searchParams);
  const found = objects.get(name);
  switch (request.method) {
    case "PUT":
      if (found !== undefined && request.headers.get("if-none-match") === "*") {
        return new Response(null, { status: 412 });
      }
      objects.set(name, {
        sizeBytes: bytes.length,
        sha256: request.headers.get("x-amz-meta-sha256") ?? "",
        bytes: bytes.length <= WHOLE_BYTES ? bytes : null,
      });
      return new Response(null, { headers: { etag: '"light"' } });
    case "DELETE":
      objects.delete(name);
      return new Response(null, { status: 204 });
    default: {
      if (found === undefined) return new Response(null, { status: 404 });
      const headers = { "x-amz-meta-sha256": found.sha256 };
      if (request.method === "GET") return new Response(found.bytes, { headers });
      const length = { "content-length": String(found.sizeBytes) };
      return new Response(null, { headers: { ...headers, ...length } });
    }
  }
}

/** Names only: no prefixes. */
function list(query: URLSearchParams): Response {
  const [prefix, after] = [query.get("prefix") ?? "", query.get("continuation-token") ?? ""];
  const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after)
    .sort();
  const page = names.slice(0, PAGE);
  const next = names.length > PAGE
    ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>`
    : "";
  const contents = page.map((name) => `<Contents><Key>${name}</Key></Contents>`).join("");
  return new Response(
    `<ListBucketResult><IsTruncated>${
      next !== ""
    }</IsTruncated>${next}${contents}</ListBucketResult>`,
  );
}

if (import.meta.main) {
  Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) },
    answer,
  );
}
