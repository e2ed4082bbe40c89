// The keys about TLS and the cap beside each other: what is refused at the start, and what is said about it.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import { ConfigError, loadConfig } from "../../src/config/config.ts";
import { readTlsFiles, refuseVersion1 } from "../../src/config/tls_files.ts";
import { makeSelfSigned } from "../fixtures/certificates.ts";

const ENV = {
  RA_POINT_ID: "11111111-1111-1111-1111-111111111111",
  RA_REGISTER_ID: "22222222-2222-2222-2222-222222222222",
  RA_DEVICE_ID: "33333333-3333-3333-3333-333333333333",
  RA_INGEST_BASE_URL: "https://ingest.example.com",
  RA_INGEST_TOKEN: "s3cret-token",
};

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig({ path: null, env: { ...ENV, ...env } });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

Deno.test("a client certificate needs its key, a key that fits, and tls_ca_only needs a CA", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tls-files-" });
  const file = (name: string) => join(dir, name);
  try {
    await makeSelfSigned(file("a.pem"), file("a.key"));
    await makeSelfSigned(file("b.pem"), file("b.key"));
    const [cert, key] = [file("a.pem"), file("a.key")];
    const both = { RA_TLS_CLIENT_CERT_FILE: cert, RA_TLS_CLIENT_KEY_FILE: key };
    assertEquals(problemsOf(both), []);
    assertEquals(problemsOf({ RA_TLS_CLIENT_CERT_FILE: cert }), [
      "RA_TLS_CLIENT_CERT_FILE: is given without tls_client_key_file: expected both or none",
    ]);
    assertEquals(problemsOf({ RA_TLS_CLIENT_KEY_FILE: key }), [
      "RA_TLS_CLIENT_KEY_FILE: is given without tls_client_cert_file: expected both or none",
    ]);
    assertEquals(problemsOf({ ...both, RA_TLS_CLIENT_KEY_FILE: file("b.key") }), [
      `RA_TLS_CLIENT_KEY_FILE: "${
        file("b.key")
      }" does not fit: expected the private key of the first ` +
      `certificate in "${cert}"`,
    ]);
    const swapped = problemsOf({ RA_TLS_CLIENT_CERT_FILE: key, RA_TLS_CLIENT_KEY_FILE: cert });
    assertEquals(swapped.length, 2);
    assertMatch(swapped[0] ?? "", /holds no PEM certificate: expected .* PEM certificate$/);
    assertMatch(swapped[1] ?? "", /holds no PEM private key: expected .* RSA or EC key/);
    assertMatch(
      problemsOf({ ...both, RA_TLS_CLIENT_KEY_FILE: file("none") })[0] ?? "",
      /does not exist/,
    );
    assertEquals(problemsOf({ RA_TLS_CA_ONLY: "true" }), [
      "RA_TLS_CA_ONLY: true trusts nobody: expected tls_ca_file beside it",
    ]);
    assertEquals(problemsOf({ RA_TLS_CA_ONLY: "True", RA_TLS_CA_FILE: cert }), []);
    assertEquals(problemsOf({ RA_TLS_CA_ONLY: "false" }), []);
    assertMatch(
      problemsOf({ RA_TLS_CA_ONLY: "yes" })[0] ?? "",
      /"yes" is neither: expected true or false/,
    );

    // Renewed while the program runs.
    const config = {
      tlsCaFile: null,
      tlsCaOnly: false,
      tlsClientCertFile: cert,
      tlsClientKeyFile: key,
    };
    assertEquals((await readTlsFiles(config)).client?.key, await Deno.readTextFile(key));
    await Deno.copyFile(file("b.key"), key);
    await assertRejects(
      () => readTlsFiles(config),
      Error,
      `Cannot use tls_client_key_file "${key}" as it must`,
    );
    await Deno.copyFile(file("b.pem"), cert);
    assertEquals((await readTlsFiles(config)).client?.cert, await Deno.readTextFile(cert));
    await Deno.writeTextFile(key, "junk");
    await assertRejects(() => readTlsFiles(config), Error, "holds no PEM private key");
    await Deno.remove(cert);
    await assertRejects(() => readTlsFiles(config), Error, "Cannot use tls_client_cert_file:");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** What `openssl x509 -req` made of Debian 12 makes; that of Debian 13 makes version 3. */
const VERSION_1 = `-----BEGIN CERTIFICATE-----
MIIBGzCBwQIUDgsPLqP+XvzOjAf232iSH8RDSuMwCgYIKoZIzj0EAwIwDzENMAsG
A1UEAwwEdGlsbDAgFw0yNjExMjkxOTAwMzFaGA8yMTI2MTEwNTE5MDAzMVowDzEN
MAsGA1UEAwwEdGlsbDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDf5C9qvgvTN
ekjgME7NEzbGfxcUOr3+D1HS7Tr09Memlv4he1pye58ZrqynVrkYLj3Fk8cRSoJo
S1x3ADIQvwMwCgYIKoZIzj0EAwIDSQAwRgIhAJrPgIrxQxURwoMkf0cgECrwbuuH
+jsx7T1Otr0Ik0HwAiEA0MoKLIF/1CAFpcOn+suCqE9wpHfaNr+/qOxcUQ1xpnU=
-----END CERTIFICATE-----
`;

Deno.test("a client certificate of version 1 is refused where it would end the process", async () => {
  const dir = await Deno.makeTempDir({ prefix: "tls-version-1-" });
  try {
    await makeSelfSigned(join(dir, "v3.pem"), join(dir, "a.key"));
    const version3 = await Deno.readTextFile(join(dir, "v3.pem"));
    assertMatch(refuseVersion1(VERSION_1, "2.7.11") ?? "", /X\.509 version 1: expected version 3/);
    assertEquals(refuseVersion1(VERSION_1, "2.9.6"), null);
    assertEquals(refuseVersion1(version3, "2.7.11"), null);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a cap below the rate of the sound is refused with the least that is accepted", () => {
  assertEquals(problemsOf({ RA_UPLOAD_MAX_KBPS: "27" }), []);
  assertEquals(problemsOf({ RA_UPLOAD_MAX_KBPS: "26" }), [
    "RA_UPLOAD_MAX_KBPS: 26 is less than the sound itself needs: expected at least 27, " +
    "1.1 × opus_bitrate_kbps (24)",
  ]);
  assertEquals(problemsOf({ RA_UPLOAD_MAX_KBPS: "100", RA_OPUS_BITRATE_KBPS: "128" }).length, 1);
  assertMatch(problemsOf({ RA_UPLOAD_MAX_KBPS: "0" })[0] ?? "", /0.* out of range/);
});
