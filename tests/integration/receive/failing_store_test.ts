// An object store that fails over TLS in any way costs the receiver no descriptors, on each runtime that the
// program supports, however long the store keeps its ends of the connections.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { temporaryCertificates } from "../../fixtures/certificates.ts";
import { run } from "../../fixtures/command.ts";
import type { StoreLeft } from "../../fixtures/store_without_answer.ts";

const PROGRAM = join(import.meta.dirname ?? ".", "../../fixtures/store_without_answer.ts");
/** Of 24 requests. Deno 2.7 keeps sockets that are written to: no more than network.ts permits. */
const RUNTIMES: readonly (readonly [name: string, command: readonly string[], most: number])[] = [
  ["this Deno", [Deno.execPath()], 3],
  ["Deno 2.7", ["npx", "-y", "deno@2.7.11"], 20],
];
const SAID =
  /^the object store at https:\/\/localhost:\d+ (does not answer within|cannot be reached: )/;

async function say(conn: Deno.Conn, text: string): Promise<void> {
  await conn.read(new Uint8Array(1000));
  await conn.write(new TextEncoder().encode(text));
}

const silent = () => Promise.resolve();
/** What a store does with a connection, before its handshake or after it, and then no more. */
const FAULTS: Readonly<Record<string, ["tcp" | "tls", (conn: Deno.Conn) => Promise<unknown>]>> = {
  "is silent in the handshake": ["tcp", silent],
  "resets in the handshake": ["tcp", async (conn) => await Promise.resolve(conn.close())],
  "speaks no TLS": ["tcp", (conn) => say(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")],
  "reads nothing": ["tls", silent],
  "resets after the handshake": ["tls", async (conn) => await Promise.resolve(conn.close())],
  "answers nonsense": ["tls", (conn) => say(conn, "+OK ready\r\n")],
  "stops in the middle of an answer": [
    "tls",
    (conn) => say(conn, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"),
  ],
};

for (const [name, [command = "", ...args], most] of RUNTIMES) {
  Deno.test(`a store that fails takes no descriptors of the receiver: ${name}`, async (t) => {
    await using files = await temporaryCertificates();
    const address = { hostname: "127.0.0.1", port: 0 };
    const { certPem: cert, keyPem: key } = files;
    const open: Deno.Conn[] = [];
    const listeners = Object.values(FAULTS).map(([kind, serve]) => {
      const listener = kind === "tcp"
        ? Deno.listen(address)
        : Deno.listenTls({ ...address, cert, key });
      const accepting = (async () => {
        for await (const conn of listener as Deno.Listener<Deno.TlsConn>) {
          open.push(conn);
          const ready = kind === "tls" ? conn.handshake() : Promise.resolve();
          ready.then(() => serve(conn)).catch(() => {});
        }
      })();
      return { listener, accepting };
    });
    const ports = listeners.map(({ listener }) => String((listener.addr as Deno.NetAddr).port));
    const options = ["run", "--no-check", "-A", PROGRAM, files.caFile, ...ports];
    const { stdout } = await run(command, [...args, ...options]);
    const found: StoreLeft[] = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(found.length, ports.length);
    for (const [index, fault] of Object.keys(FAULTS).entries()) {
      await t.step(`a store that ${fault}`, () => {
        const { descriptors, said } = found[index] ?? { descriptors: NaN, said: "" };
        assert(descriptors <= most, `${descriptors} descriptors, ${said}`);
        assertMatch(said, SAID);
      });
    }
    for (const { listener } of listeners) listener.close();
    for (const conn of open) {
      try {
        conn.close();
      } catch { /* it was closed */ }
    }
    for (const { accepting } of listeners) await accepting;
  });
}
