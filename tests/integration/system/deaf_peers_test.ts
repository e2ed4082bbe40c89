// Servers and clients that accept, and then do nothing, cost no descriptors once their connections are closed,
// on each runtime that the program supports.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { temporaryCertificates } from "../../fixtures/certificates.ts";
import { run } from "../../fixtures/command.ts";
import type { Left } from "../../fixtures/deaf_peers.ts";

const PROGRAM = join(import.meta.dirname ?? ".", "../../fixtures/deaf_peers.ts");
/**
 * Of ten peers: a leak costs one for each. On a busy machine the last ones are still being closed. Deno 2.7 keeps
 * sockets that are written to; the program then makes no more than four, and one that is made while the one before
 * is closed.
 */
const RUNTIMES: readonly (readonly [name: string, command: readonly string[], most: number])[] = [
  ["this Deno", [Deno.execPath()], 3],
  ["Deno 2.7", ["npx", "-y", "deno@2.7.11"], 6],
];

const MOVED = "nothing moved for 0.1 s";
const SAID =
  /^nothing moved for 0\.1 s$|^the server read nothing from [45] connections, .*: restart the server/;

for (const [name, [command = "", ...args], most] of RUNTIMES) {
  Deno.test(`peers that do nothing take no descriptors from closed connections: ${name}`, async (t) => {
    await using files = await temporaryCertificates();
    const dir = await Deno.makeTempDir({ prefix: "deaf-peers-" });
    await using _dir = { [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
    const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
    await Deno.writeTextFile(cert, files.certPem);
    await Deno.writeTextFile(key, files.keyPem);
    const options = ["run", "--no-check", "-A", PROGRAM, cert, key, files.caFile];
    const { stdout } = await run(command, [...args, ...options]);
    const found: Record<string, Left> = JSON.parse(new TextDecoder().decode(stdout));
    for (const [peers, { descriptors, said, saidLater = MOVED }] of Object.entries(found)) {
      await t.step(peers, () => {
        assert(descriptors <= most, `${descriptors} descriptors, ${said}`);
        assertEquals(saidLater, MOVED);
        assertMatch(said, peers.startsWith("clients") ? /^0$/ : SAID);
      });
    }
  });
}
