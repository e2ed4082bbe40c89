// Connections of the program with itself: one that is lost ends when its time is over.

import { assertRejects } from "@std/assert";
import { LOOPBACK, loopbackPair } from "../../src/system/loopback.ts";

const { BadResource } = Deno.errors;

Deno.test("a pair whose connection is lost ends with its signal, and nothing of it stays open", async () => {
  using elsewhere = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const inside = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const { connect } = Deno;
  const arrived = elsewhere.accept();
  Object.assign(Deno, {
    connect: () => connect({ hostname: LOOPBACK, port: elsewhere.addr.port }),
  });
  try {
    const over = new AbortController();
    const pair = loopbackPair(inside, over.signal);
    using lost = await arrived;
    over.abort(new Error("its time is over"));
    await assertRejects(() => pair, Error, "its time is over");
    await lost.read(new Uint8Array(1)); // it ends
    await assertRejects(() => inside.accept(), BadResource);
  } finally {
    Object.assign(Deno, { connect });
  }
});
