// The parts of a connection through the program itself: what is held after a close.

import { assertEquals, assertRejects } from "@std/assert";
import { HeldSockets, PlainConn } from "../../src/system/plain_conn.ts";
import { LOOPBACK } from "../../src/system/loopback.ts";

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
