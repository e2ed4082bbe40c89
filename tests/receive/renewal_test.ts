// The receiver's certificate is renewed while it runs: over real TLS, with files that are replaced one after
// the other.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import { CertificateFiles } from "../../src/receive/certificate_files.ts";
import { RENEWAL_MS } from "../../src/receive/receiver.ts";
import { temporaryCertificates } from "../fixtures/certificates.ts";
import { startReceiver } from "../fixtures/receive_rig.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

Deno.test("a renewed certificate is shown to new connections; one that does not fit its key changes nothing", async () => {
  await using old = await temporaryCertificates();
  await using renewed = await temporaryCertificates();
  const dir = await Deno.makeTempDir({ prefix: "renewal-" });
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  await Deno.writeTextFile(cert, old.certPem);
  await Deno.writeTextFile(key, old.keyPem);
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23));
  await using rig = await startReceiver({ clock, tls: new CertificateFiles({ cert, key }) });
  const open = async ({ caFile }: { caFile: string }) => {
    const caCerts = [await Deno.readTextFile(caFile)];
    const conn = await Deno.connectTls({ hostname: "localhost", port: rig.port, caCerts });
    try {
      await conn.handshake();
      return conn;
    } catch (error) {
      conn.close();
      throw error;
    }
  };
  const ask = async (conn: Deno.Conn) => {
    await conn.write(new TextEncoder().encode("GET /health HTTP/1.1\r\nhost: a\r\n\r\n"));
    const buffer = new Uint8Array(1000);
    assertMatch(
      new TextDecoder().decode(buffer.subarray(0, await conn.read(buffer) ?? 0)),
      /^HTTP\/1.1 200 /,
    );
  };
  using kept = await open(old);
  await ask(kept);

  await Deno.writeTextFile(cert, renewed.certPem);
  await clock.advance(RENEWAL_MS);
  (await open(old)).close();
  await assertRejects(() => open(renewed));

  await Deno.writeTextFile(key, renewed.keyPem);
  await clock.advance(RENEWAL_MS);
  using fresh = await open(renewed);
  await ask(fresh);
  await assertRejects(() => open(old));
  await ask(kept);

  await Deno.remove(key);
  await clock.advance(RENEWAL_MS);
  (await open(renewed)).close();
  assertEquals(rig.lines.map(({ message, error }) => [message, error]), [
    ["The certificate cannot be used: the one from before stays.", rig.lines[0]?.error],
    ["The certificate was read again.", undefined],
    [
      "The certificate cannot be used: the one from before stays.",
      `--tls-key: the file ${key} does not exist`,
    ],
  ]);
  await Deno.remove(dir, { recursive: true });
});
