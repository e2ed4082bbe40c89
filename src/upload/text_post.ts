// Posts short texts and messages to a server other than the Ingest API, over the same way as the uploads: their client,
// with its proxies, addresses and certificates. It does not know what they mean.

import { type Clock, systemClock } from "../system/clock.ts";
import { TransportFailure } from "../system/transport_failures.ts";
import { bodyOf, HttpClient } from "../system/http_client.ts";
import { readTlsFiles, type TlsConfig } from "../config/tls_files.ts";
import { VERSION } from "../system/version.ts";

/** Such a server has little to read and little to say. */
const TOTAL_MS = 20_000;
const SILENCE_MS = 10_000;

export interface TextPostOptions {
  /** The key of the configuration that has the URL, for messages. */
  readonly key: string;
  readonly tls: TlsConfig;
  /** Environment variables that may name a proxy. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock?: Clock;
}

/** Posts texts to one server. */
export class TextPost implements Disposable {
  readonly #http: HttpClient;
  readonly #key: string;

  /** @param url of the server: only its scheme, name and port count. */
  constructor(url: URL, { key, tls, env, clock = systemClock }: TextPostOptions) {
    this.#key = key;
    this.#http = new HttpClient({ url, tls: () => readTlsFiles(tls), env, clock });
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  /**
   * Posts a text or a message. Resolves with the status of the answer.
   * @param path with its query.
   * @throws {TransportFailure} if there is no answer; the reason of the signal.
   */
  async post(
    path: string,
    text: { readonly type: string; readonly content: string | Uint8Array<ArrayBuffer> },
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<number> {
    const { content } = text;
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const own = { "content-type": text.type, "user-agent": `recorder-agent/${VERSION}` };
    const request = { path, headers: { ...headers, ...own }, body: bodyOf(bytes) };
    const limits = { signal, totalMs: TOTAL_MS, silenceMs: () => SILENCE_MS };
    try {
      return (await this.#http.send(request, limits)).status;
    } catch (error) {
      if (!(error instanceof TransportFailure)) throw error;
      const { kind, what, fix } = error;
      const ownFix = fix?.replaceAll("ingest_base_url", this.#key) ?? null;
      throw new TransportFailure(kind, what, ownFix, { cause: error });
    }
  }
}
