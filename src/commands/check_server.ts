// The checks of the way to the Ingest API, by requests of the uploader's own client: the name, the proxy, the
// connection, TLS, who answers, the token, and a request as large as a chunk. A failure is reported by the
// step that it happened in. It sends no chunk unless requested, and takes no longer than 15 s without one.

import { systemClock } from "../system/clock.ts";
import { TEST_COMMENT } from "../chunk/chunk_tags.ts";
import type { Config } from "../config/config.ts";
import { readToken } from "../config/token.ts";
import { INSECURE_FIX, refuseTransport } from "../config/transport.ts";
import { type FailureKind, TransportFailure } from "../system/transport_failures.ts";
import { ingestClientOf } from "../upload/ingest_client.ts";
import type { Step } from "../system/open_connection.ts";
import { proxyFor } from "../system/proxy.ts";
import { inMemory } from "../upload/upload_file.ts";
import { parseRetryAfter } from "../upload/verdict.ts";
import { failed, type Finding, hasFailed, ok, sentence, skippedAll, warning } from "./finding.ts";
import { isBusy, judgeSize, judgeToken, type ProbeAnswer, sayBytes } from "./check_answers.ts";
import { silentChunk } from "./probe_chunk.ts";
import { ServerProbe } from "./server_probe.ts";
import { messageOf } from "../system/error_text.ts";

/** The names of the checks, in this order; "proxy" stands in for the first two where there is one. */
export const SERVER_CHECKS = ["dns", "connection", "tls", "api", "token", "size"] as const;
type CheckName = typeof SERVER_CHECKS[number] | "proxy";

/** Of all probes together, ms. */
const LIMIT_MS = 15_000;
/** Of the first: an address may take ten seconds, and two families of them take turns. */
const FIRST_LIMIT_MS = 11_000;
const SECOND_LIMIT_MS = 5000;
/** Of the large one. */
const SIZE_LIMIT_MS = 8000;
const SMALL_BYTES = 100;
/** How often a probe is sent again because the server answered that there are too many requests. */
const MAX_REPEATS = 3;
const BUSY_WAIT_MS = 700;
const MAX_BUSY_WAIT_MS = 2000;
/** Limit of the large probe: a shop pays for its line. */
const MAX_PROBE_BYTES = 16 * 1024 * 1024;
/** Pages and the pre-roll; libopus varies the bitrate around its mean. */
const OVERHEAD = 1.1;

/**
 * Each check only if the one before it succeeded.
 * @param env variables that may name a proxy @param files what the check of the files has found
 */
export async function checkServer(
  config: Config,
  sendTestChunk: boolean,
  env: Readonly<Record<string, string>> = {},
  files: readonly Finding[] = [],
): Promise<Finding[]> {
  const all: string[] = [...SERVER_CHECKS, ...(sendTestChunk ? ["test chunk"] : [])];
  // What the service cannot read, a token for instance, root must not send in its place.
  if (hasFailed(files)) return skippedAll(all, "files");
  const refusal = refuseTransport(config, "ingest_base_url");
  // The token must not be sent there, and without it nothing more can be found out.
  if (refusal !== null) {
    const others = all.filter((name) => name !== "tls");
    const message = `nothing is sent: ${refusal.split(";")[0]}`;
    return [failed("tls", message, sentence(INSECURE_FIX)), ...skippedAll(others, "tls")];
  }
  const found = await probe(config, env);
  const cause = found.find(({ verdict }) => verdict === "failed")?.name;
  if (cause === undefined) return sendTestChunk ? [...found, await sendChunk(config, env)] : found;
  const seen = found.map(({ name }) => name);
  // What a proxy does in place of the program is not left out.
  const from = cause === "proxy"
    ? all.indexOf("tls")
    : Math.min(all.indexOf(cause), all.indexOf("api"));
  return [...found, ...skippedAll(all.slice(from).filter((name) => !seen.includes(name)), cause)];
}

/** About as large as the files that these settings make, bytes. */
export function probeBytes(
  { chunkSeconds, opusBitrateKbps }: Pick<Config, "chunkSeconds" | "opusBitrateKbps">,
): number {
  const bytes = Math.ceil((chunkSeconds + 1) * opusBitrateKbps * 125 * OVERHEAD);
  return Math.min(bytes, MAX_PROBE_BYTES);
}

async function probe(config: Config, env: Readonly<Record<string, string>>): Promise<Finding[]> {
  const token = await readToken(config).catch((error) => {
    return failed("token", messageOf(error), "Write only the token into that file");
  });
  using server = new ServerProbe(config, env, typeof token === "string" ? token : null);
  const steps: Step[] = [];
  const endMs = systemClock.monotonicMs() + LIMIT_MS;
  const leftMs = () => Math.max(1, endMs - systemClock.monotonicMs());
  let repeats = 0;
  const send = async (token: string, sizeBytes: number, limitMs: number): Promise<ProbeAnswer> => {
    while (true) {
      const answer = await server.send({
        token,
        sizeBytes,
        limitMs: Math.min(limitMs, leftMs()),
        onStep: (step) => void steps.push(step),
      });
      // A limit of requests a second: the uploader may send at the same time.
      if (!isBusy(answer) || repeats === MAX_REPEATS) return answer;
      repeats++;
      const waitMs = parseRetryAfter(answer.headers) ?? BUSY_WAIT_MS;
      await systemClock.sleep(Math.min(waitMs, MAX_BUSY_WAIT_MS, leftMs()));
    }
  };
  const url = new URL(config.ingestBaseUrl);
  const proxy = shownProxy(url, env);
  let right: ProbeAnswer;
  const found: Finding[] = [];
  try {
    const wrong = await send(wrongToken(), SMALL_BYTES, FIRST_LIMIT_MS);
    if (typeof token !== "string") return [...wayTo(steps, url, proxy), token];
    right = await send(token, SMALL_BYTES, SECOND_LIMIT_MS);
    found.push(...wayTo(steps, url, proxy), ...judgeToken(wrong, right));
  } catch (error) {
    const failure = noAnswer(error, steps, url, proxy);
    return [...wayTo(steps, url, proxy).filter(({ name }) => name !== failure.name), failure];
  }
  if (hasFailed(found)) return found;
  const sizeBytes = probeBytes(config);
  try {
    found.push(judgeSize(right, await send(token, sizeBytes, SIZE_LIMIT_MS), sizeBytes));
  } catch (error) {
    found.push(noLargeAnswer(error, sizeBytes));
  }
  return found;
}

/** The proxy as it may be shown, or null. One that cannot be used is reported by the request. */
function shownProxy(url: URL, env: Readonly<Record<string, string>>): string | null {
  try {
    return proxyFor(url, env)?.shown ?? null;
  } catch {
    return null;
  }
}

/** Nobody has this token: the answer to it shows who judges tokens. */
function wrongToken(): string {
  return `wrong-token-of-recorder-agent-check-${crypto.randomUUID()}`;
}

/** What the steps of a connection say, the last one of each kind. */
function wayTo(steps: readonly Step[], { host, protocol }: URL, proxy: string | null): Finding[] {
  const found = new Map<string, Finding>();
  const add = (finding: Finding) => found.set(finding.name, finding);
  for (const step of steps) {
    if (step.kind === "looked up" && proxy === null && step.addresses[0] !== step.hostname) {
      add(ok("dns", `${step.hostname} is ${step.addresses.join(", ")}`));
    } else if (step.kind === "connected") {
      const place = `${step.address} port ${step.port}`;
      add(
        proxy === null
          ? ok("connection", `${place} answers`)
          : ok("proxy", `${proxy} answers at ${place}`),
      );
      if (protocol === "http:") {
        const fix = "Use an https:// URL in ingest_base_url";
        add(warning("tls", "the connection is not encrypted", fix));
      }
    } else if (step.kind === "passed the proxy") {
      add(ok("proxy", `${proxy} connects to ${host}`));
    } else if (step.kind === "secured") add(ok("tls", "the server's certificate is valid"));
  }
  return [...found.values()];
}

/** The failure under the name of the check that it belongs to. */
function noAnswer(
  error: unknown,
  steps: readonly Step[],
  { protocol }: URL,
  proxy: string | null,
): Finding {
  const failure = error instanceof TransportFailure
    ? error
    : new TransportFailure("other", messageOf(error));
  const next = nextStep(steps, protocol === "https:");
  const isOfProxy = proxy !== null && (next === "dns" || next === "connection");
  const name = checkOf(failure.kind, next) ?? (isOfProxy ? "proxy" : next);
  const ownFix = failure.kind === "misconfigured" ? FIX_FILES : failure.fix;
  const fix = ownFix === null || name === "api" ? FIXES[name] : ownFix;
  const what = failure.kind === "timeout" ? `no answer: ${failure.what}` : failure.what;
  return failed(name, what, sentence(fix));
}

/** Which check a kind of failure belongs to; null: it depends on how far the request came. */
function checkOf(kind: FailureKind, next: CheckName): CheckName | null {
  if (kind === "dns" || kind === "proxy" || kind === "connection") return kind;
  if (kind === "plain-to-tls" || kind === "misconfigured") return "tls";
  // After the handshake it is a connection that was cut, in the words of TLS.
  if (kind === "tls-other") return next === "api" ? null : "tls";
  return kind.startsWith("tls-") ? "tls" : null;
}

/** The step during which nothing came. */
function nextStep(steps: readonly Step[], isSecure: boolean): CheckName {
  const done = new Set(steps.map(({ kind }) => kind));
  if (!done.has("looked up")) return "dns";
  if (!done.has("connected")) return "connection";
  return isSecure && !done.has("secured") ? "tls" : "api";
}

const FIX_FILES =
  "check the files that tls_ca_file, tls_client_cert_file and tls_client_key_file name";
const FIXES: Readonly<Record<CheckName, string>> = {
  dns: "Check the network (ip addr) and the name server (cat /etc/resolv.conf)",
  proxy: "Check the proxy and its variable in /etc/recorder-agent/env",
  connection: "Check that the server runs and that a firewall lets this port out",
  tls: "Check the certificate of the server: openssl s_client -connect HOST:PORT",
  api:
    "Check that the server runs; a web server may close the connection for a name it does not know",
  token: "Compare the token with the one from the operator of the Ingest API",
  size: "Ask the operator of the server which limits apply to requests of this size",
};

/** A small request was answered, and the large one was not. */
function noLargeAnswer(error: unknown, sizeBytes: number): Finding {
  const size = sayBytes(sizeBytes);
  const isSlow = error instanceof TransportFailure && error.kind === "timeout";
  return isSlow
    ? warning(
      "size",
      `a request of ${size} was not answered in time: the line may be slow`,
      "Compare its rate with opus_bitrate_kbps; chunks get as much time as their sound takes",
    )
    : failed("size", `a request of ${size} gets no answer: ${messageOf(error)}`, FIXES.size);
}

async function sendChunk(
  config: Config,
  env: Readonly<Record<string, string>>,
): Promise<Finding> {
  const name = "test chunk";
  using client = ingestClientOf(config, env);
  const chunk = silentChunk({
    POINT_ID: config.pointId,
    REGISTER_ID: config.registerId,
    DEVICE_ID: config.deviceId,
    COMMENT: TEST_COMMENT,
  }, systemClock.unixMs());
  const never = new AbortController().signal;
  const verdict = await client.upload(chunk.name, inMemory(chunk.bytes), never);
  if (verdict.kind === "delivered") {
    return ok(
      name,
      `a second of silence was delivered, chunk_id ${verdict.chunkId ?? "not given"}`,
    );
  }
  return failed(name, verdict.reason, "Ask the operator of the server what it expects");
}
