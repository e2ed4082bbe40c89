// Who a client is, and how many uploads and pages one client may have at the same time, so that none takes the
// places of all others. It knows neither connections nor what an upload or a page is. Pure.

import { uuidOf } from "./chunk_form.ts";
import type { Grant } from "./token_file.ts";

/** A till sends a few; what it gave up may count for another minute. */
export const DEVICE_UPLOADS = 16;
/** Half of all places: tills that share a token may come through one proxy or one router. */
export const ADDRESS_UPLOADS = 512;
/** Pages that are made or sent: each may take some megabytes. */
export const ADDRESS_PAGES = 4;
export const ALL_PAGES = 16;

export class Shares {
  readonly #counts = new Map<string, number>();

  /** Counts one more of the client; null if it has its share. Call what is returned when that one ends. */
  take(client: string, share: number): (() => void) | null {
    const count = this.#counts.get(client) ?? 0;
    if (count >= share) return null;
    this.#counts.set(client, count + 1);
    return () => {
      const left = (this.#counts.get(client) ?? 0) - 1;
      if (left > 0) this.#counts.set(client, left);
      else this.#counts.delete(client);
    };
  }

  /** Counts one more of each of these clients, or of none; null if one of them has its share. */
  takeAll(clients: ReturnType<typeof pagesOf>): (() => void) | null {
    const taken: (() => void)[] = [];
    const giveBack = () => taken.forEach((one) => one());
    for (const [client, share] of clients) {
      const one = this.take(client, share);
      if (one === null) {
        giveBack();
        return null;
      }
      taken.push(one);
    }
    return giveBack;
  }
}

/** What a page that is made or sent takes a place of: those of its reader's network, and those of all. */
export function pagesOf(peer: string): readonly (readonly [client: string, share: number])[] {
  return [[`pages of ${networkOf(peer)}`, ADDRESS_PAGES], ["pages", ALL_PAGES]];
}

/** Who a client is, and how many uploads it may have: the device of its token, or else its network. */
export function shareOf(grant: Grant, peer: string): [client: string, share: number] {
  return grant.kind === "device"
    ? [`device ${grant.deviceId}`, DEVICE_UPLOADS]
    : [`network ${networkOf(peer)}`, ADDRESS_UPLOADS];
}

/**
 * Whose room an upload takes: the device of its token, or else the one that its form has named, as behind a
 * proxy all tills have one address.
 */
export function ownerOf(grant: Grant, named: string | undefined, peer: string): string {
  const deviceId = grant.kind === "device" ? grant.deviceId : uuidOf(named ?? "");
  return deviceId === null ? `network ${networkOf(peer)}` : `device ${deviceId}`;
}

/** What one client can have many addresses of: the first 64 bits in IPv6, a whole address in IPv4. */
function networkOf(address: string): string {
  if (!address.includes(":") || address.includes(".")) return address;
  const [before = "", after] = address.split("::");
  const groups = before.split(":");
  const missing = after === undefined ? 0 : 8 - groups.length - after.split(":").length;
  return [...groups, ...Array(Math.max(0, missing)).fill("0"), ...(after ?? "").split(":")]
    .slice(0, 4).map((group) => group === "" ? "0" : group).join(":");
}
