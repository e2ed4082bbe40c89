// Whether the configured server may be sent the token and recordings: over TLS, or unencrypted where nobody
// else can listen or where the configuration allows it. Pure: it decides, and sends nothing.

import { quote } from "./config_values.ts";

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
  const { protocol, hostname } = new URL(ingestBaseUrl);
  const isHere = hostname === "localhost" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
  if (protocol === "https:" || isHere || allowInsecureHttp) return null;
  return `ingest_base_url must begin with https://, because everybody on the way can read the token ` +
    `and the recordings in http://: current value is ${quote(ingestBaseUrl)}; ${INSECURE_FIX}`;
}

/** What a person can do about a refused server. */
export const INSECURE_FIX =
  "use the https:// URL of the server, or set allow_insecure_http: true if the network is trusted";
