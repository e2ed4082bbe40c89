// Connections of the program with itself: one that is lost ends when its time is over, and strangers are no part
// of one.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { median } from "../../bench/statistics.ts";
import { acceptFrom, LOOPBACK, loopbackPair } from "../../src/system/loopback.ts";

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

/** The usual time in which this end, which writes in two parts, gets an answer to both; ms. */
async function answeredMs(here: Deno.Conn, there: Deno.Conn): Promise<number> {
  const buffer = new Uint8Array(2);
  const answer = async () => {
    for (let count = 0; count < 2;) count += await there.read(buffer) ?? 2;
    await there.write(buffer);
  };
  const took: number[] = [];
  // The system acknowledges the first parts of a connection at once, and the later ones after 40 ms.
  for (let n = 0; n < 60; n++) {
    const startMs = performance.now();
    const answered = answer();
    for (const part of [1, 2]) await here.write(new Uint8Array([part]));
    await answered;
    for (let count = 0; count < 2;) count += await here.read(buffer) ?? 2;
    took.push(performance.now() - startMs);
  }
  return median(took.slice(30));
}

Deno.test("the second part that is written does not wait until the first one is acknowledged", async () => {
  const inside = Deno.listen({ hostname: LOOPBACK, port: 0 });
  const [own, accepted] = await loopbackPair(inside, new AbortController().signal);
  using _own = own;
  using _accepted = accepted;
  const ms = await answeredMs(own, accepted);
  assert(ms < 30, `${ms} ms`);
});
