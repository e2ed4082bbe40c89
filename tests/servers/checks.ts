// What `recorder-agent check` must say about the way to the API when real servers, proxies and certificates
// stand in it: what is wrong, and nothing else, with the fix that helps.

import { assertEquals } from "@std/assert";
import type { Finding } from "../../src/commands/finding.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { rawServer } from "../fixtures/tcp_server.ts";
import { startApache } from "./apache.ts";
import type { Bed } from "./bed.ts";
import {
  assertFailed,
  assertGreen,
  checkAt,
  type CheckAtOptions,
  sayFindings,
} from "./check_at.ts";
import { startHaproxy } from "./haproxy.ts";
import { Nginx } from "./nginx.ts";
import { freePorts } from "./server_process.ts";
import type { Situation } from "./situations.ts";
import { startSquid } from "./squid.ts";
import { TOKEN } from "./till.ts";

/** `check` at a front with TLS, whose authority it knows. */
function checkBehind(url: string, { tls }: Bed, options: CheckAtOptions = {}): Promise<Finding[]> {
  return checkAt(url, { ...options, config: { tls_ca_file: tls.caFile, ...options.config } });
}

/** Of which files of ten minutes are larger than the default limit of nginx. */
const LONG_CHUNKS = { chunk_seconds: "600" };

export const CHECKS: readonly Situation[] = [
  {
    server: "nginx",
    name: "check is green where everything is right",
    endpoints: "all",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const found = await checkBehind(nginx.url("localhost"), bed);
      assertEquals(await bed.arrivals(), [], "a probe was stored as a chunk");
      return assertGreen(found);
    },
  },
  {
    server: "nginx",
    name: "check names the size limit that a real chunk would hit",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const found = await checkBehind(nginx.url(), bed, { config: LONG_CHUNKS });
      return assertFailed(found, "size", /1\.9 MB .*nginx \(413\)/, /client_max_body_size/);
    },
  },
  {
    server: "nginx",
    name: "check names plain HTTP at the port of TLS",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const found = await checkAt(nginx.url().replace("https:", "http:"));
      return assertFailed(found, "api", /nginx answers 400: this port speaks TLS/, /https:\/\//);
    },
  },
  {
    server: "nginx",
    name: "check names a demanded client certificate",
    isShort: true,
    async run(bed) {
      const clientCaPem = await Deno.readTextFile(bed.tls.caFile);
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls, clientCaPem });
      const found = await checkBehind(nginx.url(), bed);
      return assertFailed(found, "api", /requires a client certificate/, /tls_client_cert_file/);
    },
  },
  {
    server: "nginx",
    name: "check names an unknown virtual host, whether it answers or not",
    isShort: true,
    async run(bed) {
      const options = { upstream: bed.url, tls: bed.tls, names: "ingest.test" };
      const others = "location / { root /nonexistent; }";
      await using nginx = await Nginx.start({ ...options, others });
      const page = await checkBehind(nginx.url("localhost"), bed);
      const said = assertFailed(page, "api", /nginx answers 405|nginx answers 404/, /the name/);
      await nginx.reload({ ...options, others: "return 444;" });
      const closed = await checkBehind(nginx.url("localhost"), bed);
      return `${said}; ${assertFailed(closed, "api", /clos|broke/, /name/)}`;
    },
  },
  {
    server: "nginx",
    name: "check is not green at a page of its own (403, 503), and names it",
    async run(bed) {
      await using nginx = await Nginx.start({ tls: bed.tls, server: "return 403;" });
      const denied = await checkBehind(nginx.url(), bed);
      const said = assertFailed(denied, "api", /nginx answers 403: 403 Forbidden/, /nginx refuses/);
      await nginx.reload({ tls: bed.tls, server: "return 503;" });
      const down = await checkBehind(nginx.url(), bed);
      return `${said}; ${assertFailed(down, "api", /nginx answers 503/, /Wait/)}`;
    },
  },
  {
    server: "nginx",
    name: "check names a wrong token, a redirect and a captive portal",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      const wrong = await checkBehind(nginx.url(), bed, { config: { ingest_token: "another" } });
      const said = [assertFailed(wrong, "token", /answers 401/, /token/)];
      await nginx.reload({ tls: bed.tls, server: "return 308 https://login.shop.test/;" });
      const away = await checkBehind(nginx.url(), bed);
      said.push(
        assertFailed(away, "api", /redirects \(308\) to https:\/\/login/, /the API itself/),
      );
      const page = "default_type text/html; return 200 '<title>Welcome</title>';";
      await nginx.reload({ tls: bed.tls, server: page });
      const portal = await checkBehind(nginx.url(), bed);
      said.push(assertFailed(portal, "api", /captive portal/, /browser/));
      return said.join("; ");
    },
  },
  {
    server: "squid",
    name: "check goes through the proxy, to a name that only the proxy knows",
    isShort: true,
    async run(bed) {
      await using nginx = await Nginx.start({ upstream: bed.url, tls: bed.tls });
      await using squid = await startSquid({
        login: { user: "till", password: "right" },
        hosts: { "ingest.test": "127.0.0.1" },
      });
      const proxy = (password: string) => ({
        env: { HTTPS_PROXY: `http://till:${password}@127.0.0.1:${squid.port}` },
      });
      const url = nginx.url("ingest.test");
      const said = assertGreen(await checkBehind(url, bed, proxy("right")));
      const wrong = await checkBehind(url, bed, proxy("wrong"));
      return `${said}; ${assertFailed(wrong, "proxy", /HTTPS_PROXY .*407/, /USER:PASSWORD/)}`;
    },
  },
  {
    server: "squid",
    name: "check names a proxy that is down, and one that denies the way",
    isShort: true,
    async run(bed) {
      const [port = 0] = freePorts(1);
      const url = "https://ingest.test";
      const down = await checkBehind(url, bed, {
        env: { HTTPS_PROXY: `http://127.0.0.1:${port}` },
      });
      const said = assertFailed(down, "proxy", new RegExp(`127\\.0\\.0\\.1:${port}`), /proxy/);
      await using squid = await startSquid({ denies: true });
      const env = { HTTPS_PROXY: `http://127.0.0.1:${squid.port}` };
      const denied = await checkBehind(url, bed, { env });
      return `${said}; ${assertFailed(denied, "proxy", /answered 403/, /proxy/)}`;
    },
  },
  {
    server: "HAProxy",
    name: "check is green behind it, and names 503, 403 and its size limit",
    async run(bed) {
      const { tls } = bed;
      const said: string[] = [];
      {
        await using good = await startHaproxy({ upstream: bed.url, tls });
        said.push(assertGreen(await checkBehind(good.url(), bed)));
      }
      {
        await using empty = await startHaproxy({ tls });
        said.push(assertFailed(await checkBehind(empty.url(), bed), "api", /503/, /Wait/));
      }
      {
        await using closed = await startHaproxy({ tls, frontend: "http-request deny" });
        const found = await checkBehind(closed.url(), bed);
        said.push(assertFailed(found, "api", /HAProxy answers 403/, /HAProxy refuses/));
      }
      const frontend =
        "http-request deny deny_status 413 if { req.hdr_val(content-length) gt 100000 }";
      await using limited = await startHaproxy({ upstream: bed.url, tls, frontend });
      const found = await checkBehind(limited.url(), bed);
      said.push(assertFailed(found, "size", /HAProxy \(413\)/, /size limit/));
      return said.join("; ");
    },
  },
  {
    server: "Apache",
    name: "check is green behind it, and names a folder without an API and LimitRequestBody",
    async run(bed) {
      const { tls } = bed;
      const said: string[] = [];
      {
        await using good = await startApache({ upstream: bed.url, tls });
        said.push(assertGreen(await checkBehind(good.url(), bed)));
      }
      {
        await using folder = await startApache({ tls });
        said.push(assertFailed(await checkBehind(folder.url(), bed), "api", /404/, /the path/));
      }
      await using limited = await startApache({
        tls,
        server: "LimitRequestBody 50",
        file: "api/v1/chunks",
      });
      const found = await checkBehind(limited.url(), bed);
      said.push(assertFailed(found, "size", /Apache \(413\)/, /LimitRequestBody/));
      return said.join("; ");
    },
  },
  {
    server: "nginx",
    name: "check ends in time where the server never answers",
    async run(bed) {
      await using silent = rawServer(() => Promise.resolve());
      await using nginx = await Nginx.start({ upstream: silent.url, tls: bed.tls });
      const found = await checkBehind(nginx.url(), bed);
      return assertFailed(found, "api", /11 s|timed out/, /server runs/);
    },
  },
  {
    server: "nginx",
    name: "check with a test chunk is green only when that is delivered",
    isShort: true,
    async run(bed) {
      await using api = await IngestServer.start({ token: TOKEN });
      await using nginx = await Nginx.start({ upstream: api.url, tls: bed.tls });
      const found = await checkBehind(nginx.url(), bed, { sendTestChunk: true });
      assertEquals([found.at(-1)?.name, found.at(-1)?.verdict], ["test chunk", "ok"]);
      assertEquals(api.chunks.length, 1);
      return sayFindings(found);
    },
  },
];
