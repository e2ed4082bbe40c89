// What can stand between a till and the API, made with the real programs, and what is right in each
// case. A situation throws if the program does anything else, and returns in words what it did. The module
// is long because it is one list.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { temporaryCertificates } from "../fixtures/certificates.ts";
import { makeWrongCertificates } from "../fixtures/wrong_certificates.ts";
import { startApache } from "./apache.ts";
import type { Bed, EndpointName } from "./bed.ts";
import { assertGreen, checkAt } from "./check_at.ts";
import { startHaproxy } from "./haproxy.ts";
import { Nginx } from "./nginx.ts";
import { startRecordingTill } from "./recording_till.ts";
import { freePorts } from "./server_process.ts";
import { startSquid } from "./squid.ts";
import { type Health, Till, type TillOptions } from "./till.ts";

export interface Situation {
  /** The program in front of the endpoint. */
  readonly server: "nginx" | "HAProxy" | "squid" | "Apache";
  /** A sentence that says what the program promises. */
  readonly name: string;
  /** Which endpoints it is run with; default: the strict one. */
  readonly endpoints?: "all";
  /** Whether it is part of the gate: it takes no more than two or three seconds. */
  readonly isShort?: true;
  run(bed: Bed): Promise<string>;
}

/** More tries than it takes to give a chunk up. */
const MANY = 5;

/** Starts a till behind a front with TLS. */
function tillAt(url: string, { tls }: Bed, more: Partial<TillOptions> = {}): Promise<Till> {
  return Till.start({
    url,
    chunks: 5,
    ...more,
    config: { tls_ca_file: tls.caFile, ...more.config },
  });
}

/** Delivers everything, without any error, and says so. */
async function deliversAll(bed: Bed, till: Till, limitMs?: number): Promise<string> {
  const health = await till.delivered(limitMs);
  await bed.assertDelivered(till);
  assertEquals(health.upload_errors_total, 0, till.log());
  return told(till, health);
}

/** Waits until the program has tried often enough to be wrong, and asserts that all chunks wait. */
async function keepsAll(till: Till, problem: RegExp): Promise<Health> {
  await till.until("many attempts", ({ upload_errors_total }) => upload_errors_total >= MANY);
  till.assertAllWait();
  const health = await till.problem(problem, 5000);
  till.assertAllWait();
  return health;
}

/** Waits until all chunks wait because of this problem, repairs its cause, and asserts that all arrive. */
async function recovers(
  bed: Bed,
  till: Till,
  problem: RegExp,
  repair: () => void | Promise<void>,
): Promise<string> {
  const refused = await keepsAll(till, problem);
  await repair();
  const health = await till.delivered();
  await bed.assertDelivered(till);
  return `${told(till, refused)}; then ${told(till, health)}`;
}

function told({ waited }: Till, { uploaded_total, upload_errors_total, problems }: Health): string {
  const shown = problems.filter(({ code }) => code.startsWith("upload"))
    .map(({ code, message }) => `${code}: ${message.replaceAll(/\s+/g, " ").slice(0, 120)}`);
  return [
    `delivered ${uploaded_total}/${waited.length}, ${upload_errors_total} errors`,
    ...shown,
  ].join("; ");
}

/** A front that refuses with 413 until its limit is raised. */
async function sizeLimit(bed: Bed, chunkBytes: number, limited: string): Promise<string> {
  const open = { upstream: bed.url, tls: bed.tls, server: "client_max_body_size 0;" };
  await using nginx = await Nginx.start({ ...open, server: limited });
  await using till = await tillAt(nginx.url(), bed, { chunkBytes });
  return await recovers(bed, till, /413/, () => nginx.reload(open));
}

const IDLE_CHUNKS = 25;
const RATE = 10;
const RATED_CHUNKS = 30;
/** No more are answered 429 until the pace is found, and while it is followed. */
const MAX_RATE_ERRORS = 15;
const SLOW_RETRIES = { retry_min_s: 0.5, retry_max_s: 5 };

export const SITUATIONS: readonly Situation[] = [
  {
    server: "nginx",
    name: "a backlog of 30 chunks passes through TLS",
    endpoints: "all",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      await using till = await tillAt(nginx.url(), bed, { chunks: 30 });
      return await deliversAll(bed, till);
    },
  },
  {
    server: "nginx",
    name: "chunks over a size limit wait, and are delivered in order once it is raised",
    isShort: true,
    run: (bed) => sizeLimit(bed, 100_000, "client_max_body_size 64k;"),
  },
  {
    server: "nginx",
    name: "chunks over the default limit of 1 MB wait, and are delivered once it is raised",
    run: (bed) => sizeLimit(bed, 1_200_000, ""),
  },
  {
    server: "nginx",
    name: "a limit of requests a second without Retry-After sets the pace",
    isShort: true,
    async run(bed) {
      const http = `
        limit_req_zone $binary_remote_addr zone=tills:1m rate=${RATE}r/s;
        limit_req zone=tills;
        limit_req_status 429;`;
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls, http });
      await using till = await tillAt(nginx.url(), bed, {
        chunks: RATED_CHUNKS,
        config: SLOW_RETRIES,
      });
      const begunMs = performance.now(); // the program runs, however long it took to start
      const health = await till.delivered(60_000);
      const tookS = (performance.now() - begunMs) / 1000;
      await bed.assertDelivered(till);
      const { upload_errors_total } = health;
      assert(upload_errors_total <= MAX_RATE_ERRORS, `${upload_errors_total} errors`);
      const leastS = RATED_CHUNKS / RATE;
      // A pace that is wrong for a busy machine is still better than an outage for each chunk.
      assert(tookS <= leastS * 15, `it took ${tookS.toFixed(1)} s instead of ${leastS} s`);
      return `${told(till, health)}, in ${tookS.toFixed(1)} s at ${RATE} requests a second`;
    },
  },
  {
    server: "nginx",
    name: "connections that end after three requests are no errors",
    isShort: true,
    async run(bed) {
      const server = "keepalive_requests 3;";
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls, server });
      await using till = await tillAt(nginx.url(), bed, { chunks: 30 });
      return await deliversAll(bed, till);
    },
  },
  {
    server: "nginx",
    name: "connections that it closes after a second of idleness are no errors",
    async run(bed) {
      assert(bed.strict !== null);
      const server = "keepalive_timeout 1s;";
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls, server });
      const { caFile } = bed.tls;
      // A chunk a second: the next request often goes out just as the server closes.
      await using till = await startRecordingTill({ url: nginx.url(), caFile, chunkSeconds: 1 });
      await bed.strict.waitForChunks(IDLE_CHUNKS, IDLE_CHUNKS * 1000 + 20_000);
      const { upload_errors_total, uploaded_total } = (await till.agent.health()).body;
      assertEquals(upload_errors_total, 0);
      return `delivered ${uploaded_total}, 0 errors`;
    },
  },
  {
    server: "nginx",
    name: "a demanded client certificate is named, and every chunk waits",
    isShort: true,
    async run(bed) {
      const clientCaPem = await Deno.readTextFile(bed.tls.caFile);
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls, clientCaPem });
      await using till = await tillAt(nginx.url(), bed);
      return told(till, await keepsAll(till, /certificate/i));
    },
  },
  {
    server: "nginx",
    name: "with a client certificate chunks pass, and check is green",
    async run(bed) {
      const dir = await Deno.makeTempDir({ prefix: "recorder-agent-client-" });
      await using _dir = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
      const client = (await makeWrongCertificates(dir))["for clients only"];
      const clientCaPem = client.trustedPem;
      const config = {
        tls_client_cert_file: join(dir, "shown.pem"),
        tls_client_key_file: join(dir, "shown.key"),
      };
      await Deno.writeTextFile(config.tls_client_cert_file, client.certPem);
      await Deno.writeTextFile(config.tls_client_key_file, client.keyPem);
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls, clientCaPem });
      await using till = await tillAt(nginx.url(), bed, { config });
      const did = await deliversAll(bed, till);
      const keys = { ...config, tls_ca_file: bed.tls.caFile };
      assertGreen(await checkAt(nginx.url(), { config: keys }));
      return `${did}; check is green`;
    },
  },
  {
    server: "nginx",
    name: "plain HTTP at the port of TLS is named, and every chunk waits",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const url = nginx.url().replace("https:", "http:");
      await using till = await tillAt(url, bed);
      return told(till, await keepsAll(till, /HTTPS port/));
    },
  },
  {
    server: "nginx",
    name: "an unknown virtual host is named, and every chunk waits",
    async run(bed) {
      const others = "location / { root /nonexistent; }";
      const options = { upstream: bed.url, tls: bed.tls, names: "ingest.test", others };
      await using nginx = await Nginx.start(options);
      await using till = await tillAt(nginx.url("localhost"), bed);
      return told(till, await keepsAll(till, /40[45]/));
    },
  },
  {
    server: "nginx",
    name: "after a virtual host that closes the connection (444) everything is delivered",
    async run(bed) {
      const options = { upstream: bed.url, tls: bed.tls, names: "ingest.test" };
      await using nginx = await Nginx.start({ ...options, others: "return 444;" });
      await using till = await tillAt(nginx.url("localhost"), bed);
      return await recovers(
        bed,
        till,
        /no answer|closed/,
        () => nginx.reload({ ...options, names: "localhost" }),
      );
    },
  },
  {
    server: "nginx",
    name: "after a page of maintenance (503) everything is delivered in order",
    async run(bed) {
      await using nginx = await Nginx.start({ tls: bed.tls, server: "return 503;" });
      await using till = await tillAt(nginx.url(), bed);
      return await recovers(
        bed,
        till,
        /503/,
        () => nginx.reload({ tls: bed.tls, upstream: bed.url }),
      );
    },
  },
  {
    server: "HAProxy",
    name: "a backlog of 30 chunks passes through TLS",
    endpoints: "all",
    async run(bed) {
      await using haproxy = await startHaproxy({ upstream: bed.url, tls: bed.tls });
      await using till = await tillAt(haproxy.url(), bed, { chunks: 30 });
      return await deliversAll(bed, till);
    },
  },
  {
    server: "HAProxy",
    name: "after 503 without a server behind it everything is delivered in order",
    async run(bed) {
      const { strict } = bed;
      assert(strict !== null);
      const options = { upstream: bed.url, tls: bed.tls, backend: "retries 0" };
      await using haproxy = await startHaproxy(options);
      strict.goOffline();
      await using till = await tillAt(haproxy.url(), bed);
      return await recovers(bed, till, /503/, () => strict.goOnline());
    },
  },
  {
    server: "HAProxy",
    name: "a rule that denies everything (403) is named, and every chunk waits",
    async run(bed) {
      const frontend = "http-request deny";
      await using haproxy = await startHaproxy({ upstream: bed.url, tls: bed.tls, frontend });
      await using till = await tillAt(haproxy.url(), bed);
      return told(till, await keepsAll(till, /403/));
    },
  },
  {
    server: "HAProxy",
    name: "after a server that is too slow for it (504) everything is delivered",
    async run(bed) {
      const { strict } = bed;
      assert(strict !== null);
      strict.behaviour = { kind: "silence" };
      const backend = "timeout server 200ms";
      await using haproxy = await startHaproxy({ upstream: bed.url, tls: bed.tls, backend });
      await using till = await tillAt(haproxy.url(), bed);
      return await recovers(bed, till, /504/, () => void (strict.behaviour = { kind: "ok" }));
    },
  },
  {
    server: "HAProxy",
    name: "a limit of requests in two seconds (429) sets the pace",
    async run(bed) {
      const frontend = `
  stick-table type ip size 1k expire 1m store http_req_rate(2s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 8 }`;
      await using haproxy = await startHaproxy({ upstream: bed.url, tls: bed.tls, frontend });
      await using till = await tillAt(haproxy.url(), bed, {
        chunks: RATED_CHUNKS,
        config: SLOW_RETRIES,
      });
      const health = await till.delivered(60_000);
      await bed.assertDelivered(till);
      const { upload_errors_total } = health;
      assert(upload_errors_total <= MAX_RATE_ERRORS, `${upload_errors_total} errors`);
      return told(till, health);
    },
  },
  {
    server: "Apache",
    name: "a backlog of 30 chunks passes through TLS and its request timeouts",
    endpoints: "all",
    async run(bed) {
      const server = "RequestReadTimeout header=5-10,MinRate=500 body=5,MinRate=500";
      const options = { upstream: bed.url, tls: bed.tls, modules: ["reqtimeout"], server };
      await using apache = await startApache(options);
      await using till = await tillAt(apache.url(), bed, { chunks: 30 });
      return await deliversAll(bed, till);
    },
  },
  {
    server: "Apache",
    name: "chunks over LimitRequestBody (413) wait in order",
    async run(bed) {
      // It does not limit what it passes on.
      const server = "LimitRequestBody 65536";
      await using apache = await startApache({ tls: bed.tls, server, file: "api/v1/chunks" });
      await using till = await tillAt(apache.url(), bed, { chunkBytes: 100_000 });
      return told(till, await keepsAll(till, /413/));
    },
  },
  {
    server: "nginx",
    name: "a new tls_ca_file is trusted without a restart",
    isShort: true,
    async run(bed) {
      await using other = await temporaryCertificates();
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const config = { tls_ca_file: other.caFile };
      await using till = await tillAt(nginx.url(), bed, { config });
      return await recovers(
        bed,
        till,
        /certificate/,
        () => Deno.copyFile(bed.tls.caFile, other.caFile),
      );
    },
  },
  {
    server: "Apache",
    name: "a folder without an API (404) is named, and every chunk waits",
    async run(bed) {
      await using apache = await startApache({ tls: bed.tls });
      await using till = await tillAt(apache.url(), bed);
      return told(till, await keepsAll(till, /404/));
    },
  },
  {
    server: "squid",
    name: "chunks pass through CONNECT with a user and a password, to a name that only it knows",
    endpoints: "all",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      await using squid = await startSquid({
        login: { user: "till", password: "pass word" },
        hosts: { "ingest.test": "127.0.0.1" },
      });
      // This machine does not know the name: whatever arrives has come through the proxy.
      const env = { HTTPS_PROXY: `http://till:pass%20word@127.0.0.1:${squid.port}` };
      await using till = await tillAt(nginx.url("ingest.test"), bed, { chunks: 10, env });
      return await deliversAll(bed, till);
    },
  },
  {
    server: "squid",
    name: "a password that it does not accept (407) is blamed on the proxy, and every chunk waits",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      await using squid = await startSquid({ login: { user: "till", password: "right" } });
      const env = { HTTPS_PROXY: `http://till:wrong@127.0.0.1:${squid.port}` };
      await using till = await tillAt(nginx.url("ingest.test"), bed, { env });
      return told(till, await keepsAll(till, /proxy/i));
    },
  },
  {
    server: "squid",
    name: "a proxy that denies the way out (403) is named, and every chunk waits",
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      await using squid = await startSquid({ denies: true });
      const env = { HTTPS_PROXY: `http://127.0.0.1:${squid.port}` };
      await using till = await tillAt(nginx.url("ingest.test"), bed, { env });
      return told(till, await keepsAll(till, /proxy/i));
    },
  },
  {
    server: "squid",
    name: "a proxy that is down is named with its address, and every chunk waits",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const [port = 0] = freePorts(1);
      const env = { HTTPS_PROXY: `http://127.0.0.1:${port}` };
      await using till = await tillAt(nginx.url("ingest.test"), bed, { env });
      return told(till, await keepsAll(till, new RegExp(`proxy[^]*127\\.0\\.0\\.1:${port}`, "i")));
    },
  },
];

/** The endpoints with which a situation is run in the whole matrix. */
export function endpointsOf(
  { endpoints }: Situation,
  frameworks: readonly EndpointName[],
): readonly EndpointName[] {
  return endpoints === "all" ? ["strict", ...frameworks] : ["strict"];
}
