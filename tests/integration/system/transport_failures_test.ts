// What the runtime says about a handshake that fails becomes a kind, words and a fix: against real servers with
// real certificates, and with the wording of both runtimes.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { readTlsFiles, type TlsConfig } from "../../../src/config/tls_files.ts";
import {
  explainFailure,
  type FailureKind,
  TransportFailure,
} from "../../../src/system/transport_failures.ts";
import { HttpClient } from "../../../src/system/http_client.ts";
import { PUBLIC_TLS } from "../../fixtures/public_tls.ts";
import {
  makeAuthority,
  makeSelfSigned,
  temporaryCertificates,
} from "../../fixtures/certificates.ts";
import { rawServer } from "../../fixtures/tcp_server.ts";
import { openSslServer } from "../../fixtures/openssl_server.ts";

const EMPTY = {
  sizeBytes: 0,
  async *pieces(before: Uint8Array<ArrayBuffer>) {
    yield before;
  },
};

async function get(url: string, tls: Partial<TlsConfig>): Promise<string | TransportFailure> {
  using client = new HttpClient({
    url: new URL(url),
    tls: () => readTlsFiles({ ...PUBLIC_TLS, ...tls }),
  });
  const signal = new AbortController().signal;
  const options = { signal, totalMs: 10_000, silenceMs: () => 10_000 };
  return await client.send({ path: "/", headers: {}, body: EMPTY }, options)
    .then(({ status }) => String(status), (error) => error);
}

Deno.test("each failure of a real handshake has its kind, words and a fix", async () => {
  await using folder = await temporaryCertificates();
  const dir = folder.caFile.replace(/\/ca\.pem$/, "/authority");
  await Deno.mkdir(dir);
  const { caFile, sign } = await makeAuthority(dir);
  const [good, expired, early, other] = [
    await sign(),
    await sign({ to: "20210101000000Z" }),
    await sign({ from: "20440101000000Z" }),
    await sign({ names: "DNS:other.test" }),
  ];
  const authority = { certFile: join(dir, "self.pem"), keyFile: join(dir, "self.key") };
  await makeSelfSigned(authority.certFile, authority.keyFile); // CA:TRUE, as openssl does by default
  const ours = { tlsCaFile: caFile };
  const cases: [typeof good, string[], Partial<TlsConfig>, FailureKind | "200", RegExp][] = [
    [good, [], ours, "200", /200/],
    [good, [], {}, "tls-unknown-issuer", /not trusted \(.*UnknownIssuer\): set tls_ca_file/],
    [good, [], { tlsCaFile: folder.caFile }, "tls-unknown-issuer", /not trusted/],
    [
      expired,
      [],
      ours,
      "tls-expired",
      /has expired \(.*\): check the clock .* needs a new certificate/,
    ],
    [
      early,
      [],
      ours,
      "tls-not-yet-valid",
      /not valid yet \(.*\): the clock of this machine .*timedatectl/,
    ],
    [
      other,
      [],
      ours,
      "tls-wrong-name",
      /not valid for localhost \(.*other\.test.*\): set ingest_base_url/,
    ],
    [
      authority,
      [],
      { tlsCaFile: authority.certFile },
      "tls-ca-as-end-entity",
      /authority \(CA:TRUE\), which no server may use .*: make a certificate .*openssl req -x509.*CA:FALSE/,
    ],
    [authority, [], {}, "tls-ca-as-end-entity", /CA:TRUE/],
    [
      ...[good, ["-Verify", "1", "-verify_return_error", "-CAfile", caFile]] as const,
      ...[ours, "tls-client-certificate-required"] as const,
      /localhost requires a client certificate .*: set tls_client_cert_file/,
    ] as never,
    [
      good,
      ["-Verify", "1", "-verify_return_error", "-CAfile", caFile, "-tls1_2"],
      ours,
      "tls-other",
      /ended the TLS handshake .*: the server may require a client certificate/,
    ],
    [
      good,
      ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
      ours,
      "tls-no-common-version",
      /neither TLS 1\.2 nor/,
    ],
  ];
  for (const [certificate, options, tls, kind, words] of cases) {
    await using server = await openSslServer(certificate, options);
    const outcome = await get(`https://localhost:${server.port}`, tls);
    if (typeof outcome === "string") {
      assertEquals(outcome, kind);
      continue;
    }
    assertEquals(outcome.kind, kind, outcome.message);
    assertMatch(outcome.message, words);
  }
});

Deno.test("a client certificate is sent, also for a wrong certificate of the server there are words", async () => {
  await using folder = await temporaryCertificates();
  const dir = folder.caFile.replace(/\/ca\.pem$/, "/authority");
  await Deno.mkdir(dir);
  const { caFile, sign } = await makeAuthority(dir);
  const [server, till, expired] = [
    await sign(),
    await sign(),
    await sign({ to: "20210101000000Z" }),
  ];
  const ask = ["-Verify", "1", "-verify_return_error", "-CAfile", caFile];
  const ours = {
    tlsCaFile: caFile,
    tlsClientCertFile: till.certFile,
    tlsClientKeyFile: till.keyFile,
  };
  {
    await using running = await openSslServer(server, ask);
    assertEquals(await get(`https://localhost:${running.port}`, ours), "200");
    const stranger = {
      ...ours,
      tlsClientCertFile: join(dir, "stranger.pem"),
      tlsClientKeyFile: join(dir, "stranger.key"),
    };
    await makeSelfSigned(stranger.tlsClientCertFile, stranger.tlsClientKeyFile);
    const refused = await get(`https://localhost:${running.port}`, stranger);
    assert(refused instanceof TransportFailure);
    // The reset of the connection may overtake the alert.
    assertMatch(refused.kind, /^(tls-client-certificate-refused|reset)$/);
    assertMatch(refused.message, /not accept (the client certificate|tls_client_cert_file)/);
    const unknown = await get(`https://localhost:${running.port}`, {
      ...ours,
      tlsCaFile: folder.caFile,
    });
    assert(unknown instanceof TransportFailure);
    assertEquals(unknown.kind, "tls-unknown-issuer", unknown.message);
  }
  await using old = await openSslServer(expired, ask);
  const failure = await get(`https://localhost:${old.port}`, ours);
  assert(failure instanceof TransportFailure);
  assertEquals(failure.kind, "tls-expired", failure.message);
});

Deno.test("a renewed CA file counts for the next connection; a broken one is named, and nothing is sent", async () => {
  await using folder = await temporaryCertificates();
  const dir = folder.caFile.replace(/\/ca\.pem$/, "/authority");
  await Deno.mkdir(dir);
  const { caFile, sign } = await makeAuthority(dir);
  const named = join(dir, "named.pem");
  await using server = await openSslServer(await sign());
  const kinds: string[] = [];
  for (const content of [folder.caFile, caFile]) {
    await Deno.copyFile(content, named);
    const outcome = await get(`https://localhost:${server.port}`, { tlsCaFile: named });
    kinds.push(typeof outcome === "string" ? outcome : outcome.kind);
  }
  assertEquals(kinds, ["tls-unknown-issuer", "200"]);
  for (const broken of ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]) {
    await Deno.writeTextFile(named, broken);
    const outcome = await get(`https://localhost:${server.port}`, { tlsCaFile: named });
    assert(outcome instanceof TransportFailure);
    assertEquals(outcome.kind, "misconfigured");
    assertMatch(outcome.message, /^Cannot use tls_ca_file: ".*named\.pem" holds /);
  }
});

Deno.test("a server that speaks no TLS, or hangs up on it, is named", async () => {
  const cases: [string, FailureKind, RegExp][] = [
    [
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      "tls-not-tls",
      /does not speak TLS on this port .*http:\/\//,
    ],
    ["", "reset", /ended the connection in the TLS handshake/],
  ];
  for (const [reply, kind, words] of cases) {
    await using server = rawServer(async (connection) => {
      await connection.read(new Uint8Array(1000));
      await connection.write(new TextEncoder().encode(reply));
      connection.close();
    });
    const outcome = await get(server.url.replace("http:", "https:"), {});
    assert(outcome instanceof TransportFailure);
    assertEquals(outcome.kind, kind, outcome.message);
    assertMatch(outcome.message, words);
  }
  await using files = await temporaryCertificates();
  await using secure = Deno.serve({
    ...{ hostname: "127.0.0.1", port: 0, onListen() {} },
    ...{ cert: files.certPem, key: files.keyPem },
  }, () => new Response());
  const outcome = await get(`http://localhost:${secure.addr.port}`, {});
  assert(outcome instanceof TransportFailure);
  assertEquals(outcome.kind, "plain-to-tls", outcome.message);
});

Deno.test("the wording of other versions of the runtime has the same kinds", () => {
  const peer = { hostname: "api", port: 443, proxy: null };
  const wordings: [string, FailureKind][] = [
    ["invalid peer certificate: NotValidYet", "tls-not-yet-valid"],
    ["invalid peer certificate: Expired", "tls-expired"],
    ["invalid peer certificate: NotValidForName", "tls-wrong-name"],
    ["invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "tls-ca-as-end-entity"],
    ["invalid peer certificate: UnknownIssuer", "tls-unknown-issuer"],
    ["unable to verify the first certificate", "tls-other"],
    ["received fatal alert: UnknownCA", "tls-client-certificate-refused"],
    ["received fatal alert: UnrecognisedName", "tls-wrong-name"],
    ["received fatal alert: InternalError", "tls-other"],
    ["Connection reset by peer (os error 104)", "reset"],
    ["Broken pipe (os error 32)", "reset"],
    ["something new", "other"],
  ];
  for (const [wording, kind] of wordings) {
    assertEquals(explainFailure(new Error(wording), "exchange", peer).kind, kind, wording);
  }
  const failure = new TransportFailure("dns", "x");
  assertEquals(explainFailure(failure, "tls", peer), failure);
});
