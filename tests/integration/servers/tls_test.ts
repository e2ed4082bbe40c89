// What `check` says about each kind of certificate that must not be accepted, and about servers that do not
// speak the TLS that the program speaks: real handshakes, so that the wording of the runtime that the
// program reads is the real one.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { run } from "../../fixtures/command.ts";
import { makeWrongCertificates, type Wrong } from "../../fixtures/wrong_certificates.ts";
import { assertFailed, checkAt, sayFindings } from "../../servers/check_at.ts";
import { onFreePorts, serverDir, ServerProcess } from "../../servers/server_process.ts";

/** An API over TLS that knows no token. */
function serveTls({ certPem, keyPem }: { certPem: string; keyPem: string }) {
  return Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: certPem,
    key: keyPem,
    onListen: () => {},
  }, () => Response.json({ error: "no token" }, { status: 401 }));
}

const ACCEPTED: readonly Wrong[] = ["valid", "self-signed leaf"];
const REFUSED: readonly (readonly [Wrong, message: RegExp, fix: RegExp])[] = [
  ["expired", /has expired/, /timedatectl.*new certificate/],
  ["not yet valid", /is not valid yet/, /clock of this machine.*timedatectl/],
  ["wrong name", /not valid for localhost.*other\.test/, /ingest_base_url/],
  ["no names", /not valid for localhost/, /ingest_base_url/],
  ["unknown issuer", /authority that is not trusted/, /tls_ca_file/],
  ["missing intermediate", /authority that is not trusted/, /tls_ca_file/],
  ["self-signed CA", /CA:TRUE/, /openssl req -x509/],
  ["for clients only", /server authentication/, /certificate/],
];

Deno.test("check names what is wrong with a certificate, with the fix for that", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "recorder-agent-tls-" });
  await using _dir = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
  const certificates = await makeWrongCertificates(dir);
  const caFile = join(dir, "trusted.pem");
  const check = async (kind: Wrong) => {
    await Deno.writeTextFile(caFile, certificates[kind].trustedPem);
    await using server = serveTls(certificates[kind]);
    const url = `https://localhost:${server.addr.port}`;
    return await checkAt(url, { config: { tls_ca_file: caFile } });
  };

  for (const kind of ACCEPTED) {
    await t.step(`${kind}: accepted`, async () => {
      const found = await check(kind);
      assert(found.some(({ name, verdict }) => name === "tls" && verdict === "ok"));
    });
  }
  for (const [kind, message, fix] of REFUSED) {
    await t.step(kind, async () => {
      const found = await check(kind);
      assertFailed(found, "tls", message, fix);
      assertEquals(found.find(({ name }) => name === "api")?.because, "tls");
    });
  }
  await t.step("the command that it names makes a certificate that is accepted", async () => {
    const found = await check("self-signed CA");
    const fix = found.find(({ name }) => name === "tls")?.fix ?? "";
    const command = /openssl (.*)$/.exec(fix)?.[1]?.replaceAll("NAME", "localhost") ?? "";
    const [certFile, keyFile] = [join(dir, "made.pem"), join(dir, "made.key")];
    const args = command.replace("server.pem", certFile).replace("server.key", keyFile).split(" ");
    await run("openssl", args);
    const certPem = await Deno.readTextFile(certFile);
    await using server = serveTls({ certPem, keyPem: await Deno.readTextFile(keyFile) });
    const made = await checkAt(`https://localhost:${server.addr.port}`, {
      config: { tls_ca_file: certFile },
    });
    assertFailed(made, "token", /401/, /token/);
  });
  await t.step("a server without TLS", async () => {
    await using plain = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(),
    );
    const found = await checkAt(`https://localhost:${plain.addr.port}`);
    assertFailed(found, "tls", /does not speak TLS/, /http:\/\//);
  });

  const { certPem, keyPem, trustedPem } = certificates.valid;
  await Deno.writeTextFile(caFile, trustedPem);
  const ofOpenSsl: readonly (readonly [string, readonly string[], RegExp, RegExp])[] = [
    [
      "an old server",
      ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
      /neither TLS 1\.2 nor TLS 1\.3/,
      /[Uu]pdate the server/,
    ],
    [
      "a server that demands a client certificate (TLS 1.3)",
      ["-tls1_3", "-Verify", "1", "-verify_return_error"],
      /requires a client certificate/,
      /tls_client_cert_file/,
    ],
    [
      "a server that demands a client certificate (TLS 1.2)",
      ["-tls1_2", "-Verify", "1", "-verify_return_error"],
      /ended the TLS handshake|requires a client certificate/,
      /tls_client_cert_file/,
    ],
  ];
  for (const [name, args, message, fix] of ofOpenSsl) {
    await t.step(name, async () => {
      await using server = await startOpenSsl(certPem, keyPem, trustedPem, args);
      const config = { tls_ca_file: caFile };
      const found = await checkAt(`https://localhost:${server.options.ports[0]}`, { config });
      assertFailed(found, "tls", message, fix);
      assertMatch(sayFindings(found), message);
    });
  }
});

/** `openssl s_server` with these options. */
function startOpenSsl(
  certPem: string,
  keyPem: string,
  clientCaPem: string,
  args: readonly string[],
): Promise<ServerProcess> {
  return onFreePorts(1, async ([port = 0]) => {
    const dir = await serverDir("openssl");
    const files = { cert: certPem, key: keyPem, CAfile: clientCaPem };
    for (const [name, pem] of Object.entries(files)) await Deno.writeTextFile(join(dir, name), pem);
    return await ServerProcess.start({
      program: "/usr/bin/openssl",
      args: [
        ...["s_server", "-accept", `127.0.0.1:${port}`, "-quiet", "-www", ...args],
        ...Object.keys(files).flatMap((name) => [`-${name}`, join(dir, name)]),
      ],
      dir,
      ports: [port],
    });
  });
}
