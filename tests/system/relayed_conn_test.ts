// The parts of a connection through the program itself: what is held after a close, and who may be its other end.

import { assertEquals, assertRejects } from "@std/assert";
import { HeldSockets, PlainConn } from "../../src/system/plain_conn.ts";
import { acceptFrom, LOOPBACK } from "../../src/system/loopback.ts";

Deno.test("what is written after a close fails, and counts as no socket that is held", async () => {
  using listener = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const held = new HeldSockets();
  const accepting = listener.accept();
  const conn = new PlainConn(
    await Deno.connect({ hostname: LOOPBACK, port: listener.addr.port }),
    held,
  );
  using _other = await accepting;
  conn.close();
  conn.close();
  await assertRejects(() => conn.write(new Uint8Array(1)), Deno.errors.BadResource);
  assertEquals(held.count, 0);
});

Deno.test("strangers that connect to the program's inner port are sent away, and may leave before that", async () => {
  const { NotConnected, ConnectionAborted } = Deno.errors;
  const closed: string[] = [];
  const from = (hostname: string, port: number) => ({
    remoteAddr: { transport: "tcp", hostname, port },
    close: () => closed.push(`${hostname}:${port}`),
  } as unknown as Deno.Conn);
  const queue = [
    new NotConnected("Transport endpoint is not connected (os error 107)"),
    from(LOOPBACK, 2),
    from("127.0.0.2", 1),
    new ConnectionAborted("Software caused connection abort (os error 103)"),
    from(LOOPBACK, 1),
  ];
  const accept = async () => {
    const next = await Promise.resolve(queue.shift());
    if (next === undefined || next instanceof Error) throw next ?? new Deno.errors.BadResource();
    return next;
  };
  assertEquals((await acceptFrom({ accept }, 1)).remoteAddr, from(LOOPBACK, 1).remoteAddr);
  assertEquals([queue.length, closed], [0, [`${LOOPBACK}:2`, "127.0.0.2:1"]]);
  await assertRejects(() => acceptFrom({ accept }, 1), Deno.errors.BadResource);
});
