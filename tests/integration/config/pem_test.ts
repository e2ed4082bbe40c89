// Certificates and keys in PEM, as openssl writes them in all its forms: what is accepted, which key fits which
// certificate, and damage of every kind.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import {
  fitsCertificate,
  refuseDamagedCertificates,
  refusePrivateKey,
} from "../../../src/config/pem.ts";
import { makeSelfSigned } from "../../fixtures/certificates.ts";
import { run } from "../../fixtures/command.ts";
import { seededRandom } from "../../fixtures/random.ts";

async function output(...args: string[]): Promise<string> {
  return new TextDecoder().decode((await run("openssl", args)).stdout);
}

Deno.test("a key fits its own certificate alone, in each form in which openssl writes it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pem-" });
  try {
    const kinds: [string, string[]][] = [
      ["rsa", ["-newkey", "rsa:2048"]],
      ["rsa3", ["-newkey", "rsa:3072"]],
      ["p256", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]],
      ["p384", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"]],
    ];
    const pairs: { name: string; cert: string; keys: string[] }[] = [];
    for (const [name, args] of kinds) {
      const [certFile, keyFile] = [join(dir, `${name}.pem`), join(dir, `${name}.key`)];
      await makeSelfSigned(certFile, keyFile, args);
      const keys = [
        await Deno.readTextFile(keyFile),
        await output("pkey", "-in", keyFile, "-traditional"),
      ];
      pairs.push({ name, cert: await Deno.readTextFile(certFile), keys });
    }
    for (const { name, cert, keys } of pairs) {
      assertEquals(refuseDamagedCertificates(cert), null, name);
      for (const key of keys) {
        assertEquals(refusePrivateKey(key), null, name);
        for (const other of pairs) {
          assertEquals(fitsCertificate(key, other.cert), other.name === name);
        }
        // The first certificate counts, text between them does not.
        assertEquals(fitsCertificate(key, `a comment\n${cert}\nmore\n${pairs[0]?.cert}`), true);
      }
      assertEquals(keys.length, new Set(keys.map((key) => key.split("\n")[0])).size, "two forms");
    }
    const rsa = pairs[0]?.keys[0] ?? "";
    const [small, curve, ed, locked, lockedOld] = await Promise.all([
      output("genrsa", "1024"),
      output("ecparam", "-name", "secp521r1", "-genkey", "-noout"),
      output("genpkey", "-algorithm", "ed25519"),
      output("pkey", "-in", join(dir, "rsa.key"), "-aes128", "-passout", "pass:x"),
      output("rsa", "-in", join(dir, "rsa.key"), "-aes128", "-traditional", "-passout", "pass:x"),
    ]);
    assertEquals(refusePrivateKey(small), "holds an RSA key of less than 2048 bits");
    for (const odd of [curve, ed]) {
      assertEquals(
        refusePrivateKey(odd),
        "holds a private key that is neither RSA nor EC (P-256, P-384)",
      );
    }
    for (const odd of [locked, lockedOld]) {
      assertEquals(refusePrivateKey(odd), "holds an encrypted key");
    }
    for (const odd of ["", "x", pairs[0]?.cert ?? ""]) {
      assertEquals(refusePrivateKey(odd), "holds no PEM private key");
    }
    assertEquals(refuseDamagedCertificates(rsa), "holds no PEM certificate");

    // Damage never throws, and never makes a key fit another certificate.
    const random = seededRandom(7);
    for (let run = 0; run < 2000; run++) {
      const { cert = "", keys = [] } = pairs[run % pairs.length] ?? {};
      const text = run % 2 === 0 ? cert : keys[run % 4 >> 1] ?? "";
      const at = 28 + Math.floor(random() * (text.length - 60));
      const damaged = text.slice(0, at) + (random() < 0.5 ? "" : "Q") +
        text.slice(at + 1 + Math.floor(random() * 90));
      refuseDamagedCertificates(damaged);
      refusePrivateKey(damaged);
      const other = pairs[(run + 1) % pairs.length];
      assert(!fitsCertificate(damaged, other?.cert ?? ""));
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
