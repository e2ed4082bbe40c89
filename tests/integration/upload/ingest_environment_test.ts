// The ingest client in a child process, because the runtime reads these from the environment of a
// process: proxy variables, and the certificate authorities that it trusts by default.

import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import type { TlsConfig } from "../../../src/config/tls_files.ts";
import type { Verdict } from "../../../src/upload/verdict.ts";
import { makeSelfSigned, temporaryCertificates } from "../../fixtures/certificates.ts";
import { run } from "../../fixtures/command.ts";
import { IngestServer } from "../../fixtures/ingest_server.ts";
import { proxyServer } from "../../fixtures/tcp_server.ts";
import { TOKEN } from "../../fixtures/upload_rig.ts";

const uploadOnce = join(import.meta.dirname ?? ".", "../../fixtures/upload_once.ts");

/** One upload by a child process with these variables. */
async function uploadWith(env: Record<string, string>, args: string[]): Promise<Verdict> {
  const { stdout } = await run(Deno.execPath(), ["run", "-A", uploadOnce, ...args], {
    env: {
      HTTP_PROXY: "",
      HTTPS_PROXY: "",
      NO_PROXY: "",
      http_proxy: "",
      https_proxy: "",
      no_proxy: "",
      DENO_NO_UPDATE_CHECK: "1", // the runtime would ask for a newer one through the test's proxy
      ...env,
    },
  });
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("the client honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and reaches this machine without a proxy", async () => {
  await using files = await temporaryCertificates();
  await using http = await IngestServer.start({ token: TOKEN });
  await using https = await IngestServer.start({ token: TOKEN, tls: files });
  await using httpProxy = proxyServer(new URL(http.url));
  await using httpsProxy = proxyServer(new URL(https.url));
  const env = { HTTP_PROXY: httpProxy.url, HTTPS_PROXY: httpsProxy.url };
  const args = [TOKEN, "5000", files.caFile];
  const named = https.url.replace("127.0.0.1", "ingest.test");
  const here = https.url.replace("127.0.0.1", "localhost");
  const verdicts = await Promise.all([
    uploadWith(env, ["http://ingest.invalid", ...args]),
    uploadWith(env, [named, ...args]),
    uploadWith(env, [http.url, ...args]),
    uploadWith(env, [here, ...args]),
  ]);
  assertEquals(verdicts.map(({ kind }) => kind), Array(4).fill("delivered"));
  assertEquals(httpProxy.requests, ["POST http://ingest.invalid/api/v1/chunks HTTP/1.1"]);
  assertEquals(httpsProxy.requests, [`CONNECT ${new URL(named).host} HTTP/1.1`]);
  assertEquals([http.chunks.length, https.chunks.length, http.violations], [2, 2, []]);
});

Deno.test("a silent proxy does not delay an attempt beyond its deadline", async () => {
  await using silent = proxyServer(null);
  const env = { HTTP_PROXY: silent.url, HTTPS_PROXY: silent.url };
  const verdicts = await Promise.all([
    uploadWith(env, ["https://ingest.invalid", TOKEN, "500"]),
    uploadWith(env, ["http://ingest.invalid", TOKEN, "500"]),
  ]);
  for (const verdict of verdicts) {
    assertEquals(verdict.kind, "retry");
    assertEquals(
      "reason" in verdict ? verdict.reason : "",
      "no complete answer: timed out after 0.5 s",
    );
  }
});

Deno.test("tls_ca_file adds to the authorities that are trusted by default", async () => {
  await using ours = await temporaryCertificates();
  await using publics = await temporaryCertificates();
  await using private_ = await IngestServer.start({ token: TOKEN, tls: ours });
  await using public_ = await IngestServer.start({ token: TOKEN, tls: publics });
  // The --cert option of Deno adds an authority to the public ones.
  const verdict = async (url: string, ...caFile: string[]) => {
    const args = ["run", "-A", "--cert", publics.caFile, uploadOnce, url, TOKEN, "5000", ...caFile];
    return JSON.parse(new TextDecoder().decode((await run(Deno.execPath(), args)).stdout)).kind;
  };
  assertEquals(
    await Promise.all([
      verdict(public_.url),
      verdict(public_.url, ours.caFile),
      verdict(private_.url, ours.caFile),
      verdict(private_.url),
    ]),
    ["delivered", "delivered", "delivered", "retry"],
  );
});

Deno.test("with tls_ca_only no other authority is trusted, with and without a client certificate", async () => {
  await using ours = await temporaryCertificates();
  await using publics = await temporaryCertificates();
  await using private_ = await IngestServer.start({ token: TOKEN, tls: ours });
  await using public_ = await IngestServer.start({ token: TOKEN, tls: publics });
  const [certFile, keyFile] = [`${publics.caFile}.till`, `${publics.caFile}.till.key`];
  await makeSelfSigned(certFile, keyFile);
  const client = { tlsClientCertFile: certFile, tlsClientKeyFile: keyFile };
  // The authority of one server stands for the public ones.
  const verdict = async (url: string, options: Partial<TlsConfig>) => {
    const args = [
      "run",
      "-A",
      uploadOnce,
      url,
      TOKEN,
      "5000",
      ours.caFile,
      JSON.stringify(options),
    ];
    const env = { DENO_TLS_CA_STORE: "system", SSL_CERT_FILE: publics.caFile };
    return JSON.parse(new TextDecoder().decode((await run(Deno.execPath(), args, { env })).stdout));
  };
  const outcomes = await Promise.all([
    verdict(public_.url, {}),
    verdict(public_.url, { tlsCaOnly: true }),
    verdict(public_.url, { tlsCaOnly: true, ...client }),
    verdict(private_.url, { tlsCaOnly: true }),
    verdict(private_.url, { tlsCaOnly: true, ...client }),
  ]);
  assertEquals(outcomes.map(({ kind }) => kind), [
    ...["delivered", "retry", "retry", "delivered", "delivered"],
  ]);
  for (const { reason } of outcomes.slice(1, 3)) {
    assertMatch(reason, /authority that is not trusted/);
  }
});

Deno.test("check reads the health of the service on this machine, whatever proxy is set", async () => {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => Response.json({ status: "ok" }),
  );
  const root = join(import.meta.dirname ?? ".", "../../..");
  const code = `import { readHealth } from "${root}/src/commands/service.ts";
    console.log(JSON.stringify(await readHealth(${server.addr.port})));`;
  const args = ["eval", "--config", join(root, "deno.json"), code];
  const dead = "http://127.0.0.1:1";
  const env = { HTTP_PROXY: dead, http_proxy: dead, NO_PROXY: "", no_proxy: "" };
  const { stdout } = await run(Deno.execPath(), args, { env });
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)), { status: "ok" });
  await server.shutdown();
});
