// The checks of the connection to the server: its name, its port, its certificate, the token. Uses values
// of the configuration and nothing else of the machine; sends no chunk unless requested.

import { beginningOf } from "../system/byte_stream.ts";
import { deadline, systemClock } from "../system/clock.ts";
import type { Config } from "../config/config.ts";
import { readToken } from "../config/token.ts";
import { IngestClient } from "../upload/ingest_client.ts";
import { judge } from "../upload/verdict.ts";
import { problems } from "../status/problems.ts";
import { Redactor } from "../system/redact.ts";
import { VERSION } from "../system/version.ts";
import { failed, type Finding, ok, skippedAll, warning } from "./finding.ts";
import { silentChunk } from "./probe_chunk.ts";
import { messageOf } from "../system/error_text.ts";

const LIMIT_MS = 10_000;
const MAX_ANSWER_BYTES = 65_536;

/** The names of the checks, in this order. */
export const SERVER_CHECKS = ["dns", "connection", "tls", "token"] as const;

/** DNS, the connection, TLS and the token, each only if the previous one succeeded. */
export async function checkServer(config: Config, sendTestChunk: boolean): Promise<Finding[]> {
  const url = new URL(config.ingestBaseUrl);
  const isTls = url.protocol === "https:";
  const port = Number(url.port) || (isTls ? 443 : 80);
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  const steps: (readonly [name: string, run: () => Promise<Finding[]>])[] = [
    ["connection", () => reach(hostname, port)],
    ["tls", () => isTls ? greet(config, hostname, port) : Promise.resolve([notEncrypted()])],
    ["token", async () => [await askWithToken(config)]],
    ["test chunk", () => maybeSend(config, sendTestChunk)],
  ];
  const found: Finding[] = [];
  for (const [name, step] of steps) {
    found.push(...await step().catch((error) => [cannotAsk(name, config, error)]));
    const cause = found.find(({ verdict }) => verdict === "failed")?.name;
    if (cause === undefined) continue;
    const all: string[] = [...SERVER_CHECKS, ...(sendTestChunk ? ["test chunk"] : [])];
    return [...found, ...skippedAll(all.slice(all.indexOf(cause) + 1), cause)];
  }
  return found;
}

/** A step ended with an error that it did not expect: its certificates are not valid, for instance. */
function cannotAsk(name: string, { tlsCaFile }: Config, error: unknown): Finding {
  const fix = tlsCaFile === null
    ? "Run it again; if the message stays, report it"
    : `Check that tls_ca_file (${tlsCaFile}) has valid certificates in PEM format`;
  return failed(name, `cannot be checked: ${messageOf(error)}`, fix);
}

function notEncrypted(): Finding {
  return warning(
    "tls",
    "the connection is not encrypted",
    "Use an https:// URL in ingest_base_url",
  );
}

async function reach(hostname: string, port: number): Promise<Finding[]> {
  const isAddress = /^[\d.]+$|:/.test(hostname);
  using limit = deadline(LIMIT_MS);
  try {
    (await Deno.connect({ hostname, port, signal: limit.signal })).close();
  } catch (error) {
    const said = messageOf(error);
    if (!isAddress && /lookup|resolve|Name or service/i.test(said)) {
      return [
        failed(
          "dns",
          `the name ${hostname} is not known: ${said}`,
          "Check the spelling in ingest_base_url, the network (ip addr) and the name server " +
            "(cat /etc/resolv.conf)",
        ),
      ];
    }
    return [
      ...(isAddress ? [] : [ok("dns", `${hostname} has an address`)]),
      failed(
        "connection",
        `${hostname} port ${port} does not answer: ${said}`,
        "Check that the server runs and that the shop's firewall lets this port out",
      ),
    ];
  }
  return [
    ...(isAddress ? [] : [ok("dns", `${hostname} has an address`)]),
    ok("connection", `${hostname} port ${port} answers`),
  ];
}

async function greet(config: Config, hostname: string, port: number): Promise<Finding[]> {
  const caCerts = config.tlsCaFile === null ? [] : [await Deno.readTextFile(config.tlsCaFile)];
  using limit = deadline(LIMIT_MS);
  try {
    const connection = await Deno.connectTls({ hostname, port, caCerts });
    using _closed = { [Symbol.dispose]: () => connection.close() };
    const shaken = connection.handshake();
    await Promise.race([shaken, aborted(limit.signal)]);
    return [ok("tls", "the server's certificate is valid")];
  } catch (error) {
    return [
      failed(
        "tls",
        `the server's certificate is not accepted: ${messageOf(error)}`,
        /expired|NotValidYet/i.test(String(error))
          ? "Check this machine's clock (timedatectl); if it is right, the server needs a new certificate"
          : "Set tls_ca_file to the certificate of a private CA; a proxy that decrypts TLS has its own CA",
      ),
    ];
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/**
 * Sends an upload without a chunk. A server that does not know the token reports that before it reports
 * the missing chunk, and no server can store a chunk from it.
 */
async function askWithToken(config: Config): Promise<Finding> {
  const name = "token";
  let token: string;
  try {
    token = await readToken(config);
  } catch (error) {
    const message = messageOf(error);
    return failed(name, message, "Write only the token into that file");
  }
  const redactor = new Redactor(token);
  const hide = (text: string) => redactor.hide(text);
  const caCerts = config.tlsCaFile === null ? [] : [await Deno.readTextFile(config.tlsCaFile)];
  using client = Deno.createHttpClient({ caCerts, http2: false });
  using limit = deadline(LIMIT_MS);
  try {
    const answer = await fetch(`${config.ingestBaseUrl}/api/v1/chunks`, {
      method: "POST",
      client,
      headers: { authorization: `Bearer ${token}`, "user-agent": `recorder-agent/${VERSION}` },
      body: new FormData(),
      redirect: "manual",
      signal: limit.signal,
    });
    const body = await beginningOf(answer.body, MAX_ANSWER_BYTES);
    const verdict = judge(answer.status, answer.headers, body, hide);
    if (verdict.kind === "refused") return ok(name, "the server accepts the token");
    if (verdict.kind === "misconfigured") {
      return failed(name, verdict.reason, problems.uploadMisconfigured(verdict.reason).fix);
    }
    const said = verdict.kind === "retry" ? verdict.reason : `the server accepted an empty upload`;
    return warning(name, said, "Try again later, or with --send-test-chunk");
  } catch (error) {
    const message = `no answer: ${messageOf(error)}`;
    return failed(
      name,
      hide(message),
      "Try again, and check that the server runs",
    );
  }
}

async function maybeSend(config: Config, sendTestChunk: boolean): Promise<Finding[]> {
  if (!sendTestChunk) return [];
  const name = "test chunk";
  using client = new IngestClient({
    baseUrl: config.ingestBaseUrl,
    readToken: () => readToken(config),
    ids: config,
    timestampFormat: config.timestampFormat,
    timeoutMs: config.uploadTimeoutS * 1000,
    tlsCaFile: config.tlsCaFile,
  });
  const chunk = silentChunk({
    POINT_ID: config.pointId,
    REGISTER_ID: config.registerId,
    DEVICE_ID: config.deviceId,
    COMMENT: "recorder-agent check --send-test-chunk",
  }, systemClock.unixMs());
  const verdict = await client.upload(chunk.name, chunk.bytes, new AbortController().signal);
  if (verdict.kind === "delivered") {
    return [
      ok(name, `a second of silence was delivered, chunk_id ${verdict.chunkId ?? "not given"}`),
    ];
  }
  return [failed(name, verdict.reason, "Ask the operator of the server what it expects")];
}
