// Whose uploads are counted together.

import { assertEquals } from "@std/assert";
import {
  ADDRESS_PAGES,
  ADDRESS_UPLOADS,
  ALL_PAGES,
  DEVICE_UPLOADS,
  ownerOf,
  pagesOf,
  shareOf,
  Shares,
} from "../../src/receive/shares.ts";

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
  assertEquals(shares.take("a", 1), null, "the one that had another share counts");
});

Deno.test("the shares are those of the reference", () => {
  // docs/reference/receive.md, "Limits".
  assertEquals([DEVICE_UPLOADS, ADDRESS_UPLOADS, ADDRESS_PAGES, ALL_PAGES], [16, 512, 4, 16]);
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
    ["2001:db8::4:5:6:7:8", "2001:db8:0:4"],
    ["2001:0:0:1::", "2001:0:0:1"],
    ["2001:db8:0:1:0:4:5:6", "2001:db8:0:1"],
    ["1::4:5:6:7", "1:0:0:0"],
    ["1::3:4:5:6:7:8", "1:0:3:4"],
    ["::2:3:4:5:6:7:8", "0:2:3:4"],
    ["::1", "0:0:0:0"],
    ["", ""],
  ];
  for (const [address, network] of networks) {
    assertEquals(shareOf({ kind: "all" }, address), [`network ${network}`, ADDRESS_UPLOADS]);
  }
});

Deno.test("the room of an upload is that of the device of its token, or of the one that its form names", () => {
  const [all, id] = [{ kind: "all" }, "4F6C1C1E-0000-4000-8000-000000000000"] as const;
  assertEquals(ownerOf({ kind: "device", deviceId: "x" }, id, "192.0.2.1"), "device x");
  assertEquals(ownerOf(all, id, "192.0.2.1"), `device ${id.toLowerCase()}`);
  assertEquals(ownerOf(all, "not an id", "192.0.2.1"), "network 192.0.2.1");
  assertEquals(ownerOf(all, undefined, "2001:db8:1:2::6"), "network 2001:db8:1:2");
});

Deno.test("readers have a few pages each and more together, and what is refused takes no place", () => {
  const shares = new Shares();
  const take = (network: number) => shares.takeAll(pagesOf(`192.0.2.${network}`));
  const taken = Array.from({ length: ALL_PAGES }, (_, at) => take(Math.floor(at / ADDRESS_PAGES)));
  assertEquals(taken.includes(null), false);
  // Each that is refused: the pages of its own network are counted first, those of all then.
  for (let tries = 0; tries < 2 * ADDRESS_PAGES; tries++) {
    assertEquals([take(0), take(99)], [null, null]);
  }
  taken[0]?.();
  assertEquals(take(1), null, "this reader has its pages");
  assertEquals(take(99) === null, false);
  assertEquals(take(98), null);
});
