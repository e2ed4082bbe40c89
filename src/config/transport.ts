// Whether the configured servers may be sent what is not for everybody: over TLS, or unencrypted where nobody
// else can listen or where the configuration allows it. Pure: it decides, and sends nothing.

import { isThisMachine } from "../system/proxy.ts";
import { quote } from "./config_values.ts";

/** Stands for the server while the keys of delivery are wrong (start_config.ts). */
export const NO_SERVER = "https://no-server.invalid";

/** What decides about the way to the servers. */
export interface TransportConfig {
  readonly ingestBaseUrl: string;
  readonly otlpEndpoint: string | null;
  readonly heartbeatUrl: string | null;
  readonly allowInsecureHttp: boolean;
}

/** The keys with URLs that the agent sends to. */
export type Destination = "ingest_base_url" | "otlp_endpoint" | "heartbeat_url";

/** What everybody on the way could read. */
const SENT: Readonly<Record<Destination, string>> = {
  ingest_base_url: "the token and the recordings",
  otlp_endpoint: "the metrics and otlp_headers",
  heartbeat_url: "the path, which is a secret,",
};

/** What a person can do about a refused server. */
export const INSECURE_FIX =
  "use the https:// URL of the server, or set allow_insecure_http: true if the network is trusted";

/**
 * Why the agent must not send to this server, to follow "as"; null: it may. Unencrypted HTTP is permitted on this
 * machine (127.0.0.0/8, ::1, localhost), and elsewhere with `allow_insecure_http`.
 */
export function refuseTransport(config: TransportConfig, to: Destination): string | null {
  const { ingestBaseUrl, otlpEndpoint, heartbeatUrl, allowInsecureHttp } = config;
  const url = {
    ingest_base_url: ingestBaseUrl,
    otlp_endpoint: otlpEndpoint,
    heartbeat_url: heartbeatUrl,
  }[to];
  if (url === NO_SERVER) {
    return "the settings for it must be right: sudo recorder-agent check lists what is wrong";
  }
  if (allowInsecureHttp || url === null || !isReadable(url)) return null;
  const shown = to === "heartbeat_url" ? `${new URL(url).origin}/…` : url;
  return `${to} must begin with https://, because everybody on the way can read ${
    SENT[to]
  } in http://: ` +
    `current value is ${quote(shown)}; ${INSECURE_FIX}`;
}

/** As `refuseTransport`, of all servers: one line for each that is refused. */
export function refuseTransports(config: TransportConfig): string[] {
  const destinations: Destination[] = ["ingest_base_url", "otlp_endpoint", "heartbeat_url"];
  return destinations.flatMap((to) => refuseTransport(config, to) ?? []);
}

/**
 * Called before something is sent to a server.
 * @throws {Error} if the agent must not send to it: "Cannot send as …".
 */
export function assertTransport(config: TransportConfig, to: Destination): void {
  const refusal = refuseTransport(config, to);
  if (refusal !== null) throw new Error(`Cannot send as ${refusal}`);
}

/** Whether others can read what is sent to this URL. */
export function isReadable(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol !== "https:" && !isThisMachine(hostname);
}
