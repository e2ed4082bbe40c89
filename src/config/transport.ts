// Whether the configured servers may be sent tokens and recordings: over TLS, or unencrypted where nobody
// else can listen or where the configuration allows it. Pure: it decides, and sends nothing.

import { quote } from "./config_values.ts";

/** Stands for the server while the keys of delivery are wrong (start_config.ts). */
export const NO_SERVER = "https://no-server.invalid";

/**
 * Why the agent must not send to this server, to follow "as"; null: it may. Unencrypted HTTP is permitted on this
 * machine (127.0.0.0/8, ::1, localhost), and elsewhere with `allow_insecure_http`.
 */
export function refuseTransport(
  { ingestBaseUrl, allowInsecureHttp }: {
    readonly ingestBaseUrl: string;
    readonly allowInsecureHttp: boolean;
  },
): string | null {
  if (ingestBaseUrl === NO_SERVER) {
    return "the settings for it must be right: sudo recorder-agent check lists what is wrong";
  }
  if (allowInsecureHttp || !isReadable(ingestBaseUrl)) return null;
  return `ingest_base_url must begin with https://, because everybody on the way can read the token ` +
    `and the recordings in http://: current value is ${quote(ingestBaseUrl)}; ${INSECURE_FIX}`;
}

/** What a person can do about a refused server. */
export const INSECURE_FIX =
  "use the https:// URL of the server, or set allow_insecure_http: true if the network is trusted";

/**
 * The header fields for the receiver of metrics; a token may be among them.
 * @throws if the agent must not send them to that receiver
 */
export function otlpHeadersToSend(
  { otlpEndpoint, otlpHeaders, allowInsecureHttp }: {
    readonly otlpEndpoint: string | null;
    readonly otlpHeaders: Readonly<Record<string, string>> | null;
    readonly allowInsecureHttp: boolean;
  },
): Readonly<Record<string, string>> {
  if (otlpHeaders === null || otlpEndpoint === null) return {};
  if (allowInsecureHttp || !isReadable(otlpEndpoint)) return otlpHeaders;
  throw new Error(
    "Cannot send otlp_headers as otlp_endpoint must begin with https://, because everybody on the " +
      `way can read them in http://: current value is ${quote(otlpEndpoint)}; ${INSECURE_FIX}`,
  );
}

/** Whether others can read what is sent to this URL. */
function isReadable(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  const isHere = hostname === "localhost" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
  return protocol !== "https:" && !isHere;
}
