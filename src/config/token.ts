/**
 * The token of the Ingest API: the ways to give it, where it comes from when none is used, and what
 * it is at this moment. It never logs, and never shows a token.
 */

import type { Given } from "./config_file.ts";
import { refuseToken, TOKEN } from "./config_values.ts";
import { isThere, readKeyFile } from "./file_failure.ts";
import { missing, type Sources } from "./sources.ts";
import { refuseTransport, type TransportConfig } from "./transport.ts";

/** The two keys that give it. */
const VALUE_KEY = "ingest_token";
const FILE_KEY = "ingest_token_file";
export const TOKEN_KEYS: readonly string[] = [VALUE_KEY, FILE_KEY];
/** The systemd credential that holds the token if neither is given: LoadCredential= of the unit. */
const CREDENTIAL = "ingest-token";
/** Where `install` puts the token and the unit takes the credential from; commands run by root use it. */
export const INSTALLED_TOKEN_PATH = "/etc/recorder-agent/token";
const CREDENTIAL_PLACE =
  `${VALUE_KEY}: is not given, so the credential ${CREDENTIAL} is used, which the unit loads from ` +
  `${INSTALLED_TOKEN_PATH} (write the token there, or set ${VALUE_KEY})`;
const INSTALLED_TOKEN_PLACE = `${VALUE_KEY}: is not given, so ${INSTALLED_TOKEN_PATH} is used`;

/**
 * What is given, with the token's place added if neither key is: the unit's credential, else the
 * installed file if there is one.
 */
export function withUsualToken(
  given: ReadonlyMap<string, Given>,
  env: Readonly<Record<string, string>>,
): ReadonlyMap<string, Given> {
  if (TOKEN_KEYS.some((name) => given.has(name))) return given;
  const credentials = env.CREDENTIALS_DIRECTORY ?? "";
  if (credentials !== "") {
    const value = `${credentials}/${CREDENTIAL}`;
    return new Map([...given, [FILE_KEY, { place: CREDENTIAL_PLACE, value }]]);
  }
  if (!isThere(INSTALLED_TOKEN_PATH)) return given;
  const value = INSTALLED_TOKEN_PATH;
  return new Map([...given, [FILE_KEY, { place: INSTALLED_TOKEN_PLACE, value }]]);
}

/** What is wrong unless exactly one of the two keys is given. */
export function tokenProblems({ path, isUnderstood, given }: Sources): string[] {
  const tokens = TOKEN_KEYS.flatMap((name) => given.get(name) ?? []);
  if (tokens.length > 1) {
    return [`${tokens[1]?.place}: is given beside ${VALUE_KEY}: expected one of the two`];
  }
  return tokens.length === 0 && isUnderstood ? [missing(path, TOKEN_KEYS, TOKEN.accepted.en)] : [];
}

/**
 * The Bearer token: the configured one, or what its file holds now (trimmed), so that a token that
 * was replaced is found without a restart.
 * @throws Error naming the file if it cannot be read or holds no usable token
 */
export async function readToken(
  config: { readonly ingestToken: string | null; readonly ingestTokenFile: string | null },
): Promise<string> {
  if (config.ingestToken !== null) return config.ingestToken;
  const path = config.ingestTokenFile ?? "";
  return (await readKeyFile(`Cannot read the token: ${FILE_KEY}`, path, refuseToken)).trim();
}

/**
 * The token for a request to the configured server.
 * @throws as `readToken`, and if the agent must not send to that server
 */
export async function readTokenToSend(
  config: Parameters<typeof readToken>[0] & TransportConfig,
): Promise<string> {
  const refusal = refuseTransport(config, "ingest_base_url");
  if (refusal !== null) throw new Error(`Cannot deliver as ${refusal}`);
  return await readToken(config);
}
