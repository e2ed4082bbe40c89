// Whose uploads are counted together.

import { assertEquals } from "@std/assert";
import { ADDRESS_UPLOADS, DEVICE_UPLOADS, shareOf, Shares } from "../../src/receive/shares.ts";

Deno.test("a client has its share, and another upload when one of its own has ended", () => {
  const shares = new Shares();
  const one = shares.take("a", 2);
  const two = shares.take("a", 2);
  assertEquals(shares.take("a", 2), null);
  assertEquals(shares.take("b", 2) === null, false);
  one?.();
  const three = shares.take("a", 2);
  assertEquals([three === null, shares.take("a", 2)], [false, null]);
  for (const giveBack of [two, three]) giveBack?.();
  assertEquals(shares.take("a", 1) === null, false);
});

Deno.test("a client is the device of its token; with a token of all, its address or its network of IPv6", () => {
  const device = { kind: "device", deviceId: "x" } as const;
  assertEquals(shareOf(device, "192.0.2.1"), ["device x", DEVICE_UPLOADS]);
  const networks: readonly (readonly [address: string, network: string])[] = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8:1:2::6", "2001:db8:1:2"],
    ["2001:db8::6", "2001:db8:0:0"],
    ["2001:db8::4:5:6", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["", ""],
  ];
  for (const [address, network] of networks) {
    assertEquals(shareOf({ kind: "all" }, address), [`network ${network}`, ADDRESS_UPLOADS]);
  }
});
