// A connection of the program with itself: nobody else gets into it.

import { assertEquals } from "@std/assert";
import { acceptFrom, LOOPBACK } from "../../src/system/relayed_conn.ts";

Deno.test("another program that connects first is disconnected, and the program finds its own connection", async () => {
  using inside = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const { port } = inside.addr;
  using stranger = await Deno.connect({ hostname: LOOPBACK, port });
  using own = await Deno.connect({ hostname: LOOPBACK, port });
  using other = await acceptFrom(inside, (own.localAddr as Deno.NetAddr).port);
  assertEquals(other.remoteAddr, own.localAddr);
  assertEquals(await stranger.read(new Uint8Array(1)).catch(() => null), null);
});
