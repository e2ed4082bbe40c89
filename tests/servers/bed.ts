// What every situation needs: an endpoint, and a certificate for whatever stands in front of it.

import { type Certificates, temporaryCertificates } from "../fixtures/certificates.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { type Arrival, type Endpoint, type Framework, startEndpoint } from "./endpoints.ts";
import { Till, TOKEN } from "./till.ts";

/** An endpoint: the strict server of the tests, or a small program of a framework. */
export type EndpointName = "strict" | Framework;

/** An endpoint, certificates, and the tills that deliver to it; release it with `await using`. */
export class Bed implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    /** For 127.0.0.1, ::1, localhost and ingest.test. */
    readonly tls: Certificates,
    /** The base URL of the endpoint itself, plain HTTP. */
    readonly url: string,
    /** What arrived there, in this order. */
    readonly arrivals: () => Promise<Arrival[]>,
    /** The endpoint, if it is the strict one. */
    readonly strict: IngestServer | null,
  ) {
    this.#stack = stack;
  }

  static async start(name: EndpointName): Promise<Bed> {
    await using stack = new AsyncDisposableStack();
    const tls = stack.use(await temporaryCertificates());
    if (name === "strict") {
      const ingest = stack.use(await IngestServer.start({ token: TOKEN }));
      return new Bed(stack.move(), tls, ingest.url, () => arrivalsOf(ingest), ingest);
    }
    const endpoint: Endpoint = stack.use(await startEndpoint(name, TOKEN));
    const arrivals = () => Promise.resolve(endpoint.arrivals());
    return new Bed(stack.move(), tls, endpoint.url, arrivals, null);
  }

  /** Asserts that the till has delivered everything here, and kept to the protocol. */
  async assertDelivered(till: Till): Promise<void> {
    till.assertArrived(await this.arrivals());
    if (this.strict === null) return;
    const { violations, duplicates } = this.strict;
    if (violations.length > 0) throw new Error(`violations: ${JSON.stringify(violations)}`);
    if (duplicates > 0) throw new Error(`${duplicates} chunks were accepted twice`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function arrivalsOf({ chunks }: IngestServer): Promise<Arrival[]> {
  return await Promise.all(chunks.map(async ({ fields, bytes }) => ({
    startTs: fields["start_ts"] ?? "",
    sizeBytes: bytes.length,
    sha256: new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes))).toHex(),
  })));
}
