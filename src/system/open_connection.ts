// Makes a connection to a server: looks the name up, connects to the first address that answers, passes a
// proxy, and shakes hands for TLS. It reports each step, and names the step that failed. It has no limit of
// time but that of each address.

import type { Clock } from "./clock.ts";
import { onAbort, untilAborted } from "./on_abort.ts";
import { VERSION } from "./version.ts";
import { connectFirst } from "./addresses.ts";
import { AnswerReader } from "./answer_reader.ts";
import { explainFailure, type Peer, type Stage, TransportFailure } from "./transport_failures.ts";
import type { Network } from "./network.ts";
import { type Proxy, withoutBrackets } from "./proxy.ts";
import { close, type TlsFiles, type Transport } from "./transport.ts";

/** A step that was done. */
export type Step =
  | { readonly kind: "looked up"; readonly hostname: string; readonly addresses: readonly string[] }
  | { readonly kind: "connected"; readonly address: string; readonly port: number }
  | { readonly kind: "passed the proxy"; readonly proxy: string }
  | { readonly kind: "secured" }
  | { readonly kind: "answered"; readonly status: number };

export interface OpenOptions {
  readonly url: URL;
  readonly proxy: Proxy | null;
  readonly tls: TlsFiles;
  readonly network: Network;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onStep: (step: Step) => void;
}

/** @throws {TransportFailure}; the reason of the signal when it aborts. */
export async function openConnection(options: OpenOptions): Promise<Transport> {
  const { url, proxy, tls, network, signal, onStep } = options;
  const isTls = url.protocol === "https:";
  const peer = peerOf(url, proxy);
  const next = proxy ?? peer;
  let stage: Stage = "lookup";
  let transport: Transport | null = null;
  const stop = () => transport !== null && close(transport);
  using _ = onAbort(signal, stop);
  try {
    const addresses = await lookUp(next.hostname, network, signal);
    onStep({ kind: "looked up", hostname: next.hostname, addresses });
    stage = "connect";
    const { address, connection } = await connectFirst(
      addresses,
      (address, signal) => network.connect(address, next.port, signal),
      options,
    );
    transport = connection;
    onStep({ kind: "connected", address, port: next.port });
    if (!isTls) return transport;
    if (proxy !== null) {
      stage = "proxy";
      await passProxy(transport, proxy, peer);
      onStep({ kind: "passed the proxy", proxy: proxy.shown });
    }
    stage = "tls";
    transport = await untilAborted(network.secure(transport, peer.hostname, tls, signal), signal);
    onStep({ kind: "secured" });
    return transport;
  } catch (error) {
    stop();
    signal.throwIfAborted();
    throw explainFailure(error, stage, peer);
  }
}

/** Where requests to this URL go. */
export function peerOf(url: URL, proxy: Proxy | null): Peer {
  return {
    hostname: withoutBrackets(url.hostname),
    port: Number(url.port) || (url.protocol === "https:" ? 443 : 80),
    proxy: proxy?.shown ?? null,
  };
}

async function lookUp(
  hostname: string,
  network: Network,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (/^\d+(\.\d+){3}$|:/.test(hostname)) return [hostname];
  return await untilAborted(network.lookup(hostname), signal);
}

/** Asks the proxy for a tunnel (RFC 9110, section 9.3.6). */
async function passProxy(transport: Transport, proxy: Proxy, peer: Peer): Promise<void> {
  const { hostname, port } = peer;
  const target = `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  const lines = [
    `CONNECT ${target} HTTP/1.1`,
    `host: ${target}`,
    `user-agent: recorder-agent/${VERSION}`,
    ...(proxy.authorization === null ? [] : [`proxy-authorization: ${proxy.authorization}`]),
  ];
  const request = new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
  for (let at = 0; at < request.length;) at += await transport.write(request.subarray(at));
  const reader = new AnswerReader({ opensTunnel: true });
  const buffer = new Uint8Array(4096);
  while (reader.answer === null) {
    const size = await transport.read(buffer);
    if (size === null) reader.end();
    else reader.push(buffer.subarray(0, size));
  }
  const { status, isReusable } = reader.answer;
  if (status >= 300) throw proxyFailure(proxy.shown, status, target);
  if (!isReusable) throw new Error("it sends more than an answer");
}

/** What a status of the proxy itself means. */
export function proxyFailure(shown: string, status: number, target: string): TransportFailure {
  if (status === 407) {
    return new TransportFailure(
      "proxy",
      `the proxy ${shown} requires a user and a password (407)`,
      "write them as http://USER:PASSWORD@HOST:PORT",
    );
  }
  return new TransportFailure(
    "proxy",
    `the proxy ${shown} answered ${status} and does not connect to ${target}`,
    "check that the proxy may reach this server",
  );
}
