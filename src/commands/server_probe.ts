// Sends the probes of `check` the way of the uploader: same client, proxy, addresses and certificates. Each
// is an upload in all but its form: it has a file of the wanted size under a name that is not `chunk_file`,
// and none of the fields, so no server can store it as a chunk. It judges nothing.

import type { Config } from "../config/config.ts";
import { trustNoPublicAuthority } from "../config/places.ts";
import { readTlsFiles } from "../config/tls_files.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { Redactor } from "../system/redact.ts";
import { VERSION } from "../system/version.ts";
import { HttpClient, type RequestBody } from "../system/http_client.ts";
import { encodeMultipart } from "../upload/multipart.ts";
import type { Step } from "../system/open_connection.ts";
import type { ProbeAnswer } from "./check_answers.ts";

const PIECE_BYTES = 65_536;

export interface ProbeOptions {
  readonly token: string;
  /** Of the file in it. */
  readonly sizeBytes: number;
  /** Of everything: looking up, connecting, sending, the answer. */
  readonly limitMs: number;
  readonly onStep: (step: Step) => void;
}

export class ServerProbe implements Disposable {
  readonly #http: HttpClient;
  readonly #path: string;
  readonly #redactor: Redactor;

  /** @param hidden the right token, which no answer shows */
  constructor(config: Config, env: Readonly<Record<string, string>>, hidden: string | null) {
    if (config.tlsCaOnly) trustNoPublicAuthority();
    const url = new URL(`${config.ingestBaseUrl}/api/v1/chunks`);
    this.#http = new HttpClient({ url, tls: () => readTlsFiles(config), env });
    this.#path = url.pathname;
    this.#redactor = new Redactor(hidden ?? "");
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  /** @throws {TransportFailure} if there is no answer. */
  async send({ token, sizeBytes, limitMs, onStep }: ProbeOptions): Promise<ProbeAnswer> {
    const form = encodeMultipart({}, {
      field: "probe",
      fileName: "check.bin",
      type: "application/octet-stream",
      sizeBytes,
    }, `recorder-agent-${crypto.randomUUID()}`);
    const body: RequestBody = {
      sizeBytes: form.sizeBytes,
      async *pieces(before) {
        yield concatBytes([before, form.head]);
        for (let left = sizeBytes; left > 0; left -= PIECE_BYTES) {
          yield new Uint8Array(Math.min(left, PIECE_BYTES));
        }
        yield form.tail;
      },
    };
    const headers = {
      authorization: `Bearer ${token}`,
      "content-type": form.contentType,
      "user-agent": `recorder-agent/${VERSION}`,
    };
    const answer = await this.#http.send({ path: this.#path, headers, body }, {
      signal: new AbortController().signal,
      totalMs: limitMs,
      silenceMs: () => limitMs,
      onStep,
    });
    // A server may echo what it was sent.
    const { hide } = this.#redactor;
    return {
      status: answer.status,
      headers: new Headers([...answer.headers].map(([name, value]) => [name, hide(value)])),
      body: hide(answer.body),
    };
  }
}
