// What the form of an upload says about its chunk (docs/reference/protocol.md), checked field by field, and
// whether the file agrees. It reads no file, and decides nothing about the answer. Pure.

import { readChunkHeader } from "../chunk/chunk_file.ts";
import { printable } from "../system/printable.ts";
import { FormFault } from "./multipart_reader.ts";
import type { ChunkFacts } from "./store.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const RATES = ["8000", "12000", "16000", "24000", "48000"];
/** A chunk is not longer than a day. */
const MAX_DURATION_US = 86_400e6;
/** 1970 to 2255: the microseconds of these years are exact numbers. */
const MAX_UNIX_S = 9_007_199_253;

/** The chunk of a form, without its key. @throws {FormFault} that names the field. */
export function readChunkForm(
  fields: ReadonlyMap<string, string>,
): Omit<ChunkFacts, "key" | "isProvisional"> {
  const field = (name: string, accepted: string, isAccepted: (value: string) => boolean) => {
    const value = fields.get(name);
    if (value === undefined) {
      throw new FormFault(`the field ${name} is missing: expected ${accepted}`);
    }
    if (isAccepted(value)) return value;
    const shown = JSON.stringify(printable(value, 80));
    throw new FormFault(`the field ${name} must be ${accepted}: it is ${shown}`);
  };
  const id = (name: string) => field(name, "a UUID", (value) => UUID.test(value)).toLowerCase();
  const time = (name: string) =>
    parseTimestamp(
      field(name, "Unix seconds or ISO 8601 in UTC", (value) => parseTimestamp(value) !== null),
    ) ?? 0;
  const [pointId, registerId, deviceId] = [id("point_id"), id("register_id"), id("device_id")];
  const [startUnixUs, endUnixUs] = [time("start_ts"), time("end_ts")];
  field("codec", "opus", (value) => value === "opus");
  field("sample_rate", RATES.join(", "), (value) => RATES.includes(value));
  field("channels", "1", (value) => value === "1");
  const durationUs = endUnixUs - startUnixUs;
  if (durationUs <= 0 || durationUs > MAX_DURATION_US) {
    throw new FormFault("end_ts must be after start_ts, by not more than a day");
  }
  return { pointId, registerId, deviceId, startUnixUs, durationUs };
}

/**
 * Checks that a file is not a chunk of another till than its form says: what puts received chunks together goes by
 * the tags (chunk/sound_line.ts). A file without these tags says nothing.
 * @param head the first bytes of the file, HEADER_READ_BYTES or all.
 * @throws {FormFault}
 */
export function checkTags(
  head: Uint8Array,
  { pointId, registerId, deviceId }: Pick<ChunkFacts, "pointId" | "registerId" | "deviceId">,
): void {
  const tags = readChunkHeader(head)?.tags ?? {};
  const ids = { POINT_ID: pointId, REGISTER_ID: registerId, DEVICE_ID: deviceId };
  for (const [tag, id] of Object.entries(ids)) {
    const value = tags[tag];
    if (value === undefined || value.toLowerCase() === id) continue;
    const shown = JSON.stringify(printable(value, 80));
    throw new FormFault(
      `the tag ${tag} of chunk_file must be the field ${tag.toLowerCase()}: it is ${shown}`,
    );
  }
}

/** Unix microseconds of Unix seconds or ISO 8601 in UTC, both with up to nine decimals; null if neither. */
export function parseTimestamp(text: string): number | null {
  const unix = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text);
  if (unix !== null) return microseconds(Number(unix[1]), unix[2]);
  const iso = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)$/.exec(text);
  const unixMs = iso === null ? NaN : Date.parse(`${iso[1]}Z`);
  return Number.isNaN(unixMs) ? null : microseconds(unixMs / 1000, iso?.[2]);
}

function microseconds(seconds: number, fraction = ""): number | null {
  if (seconds < 0 || seconds > MAX_UNIX_S) return null;
  return seconds * 1e6 + Number(fraction.padEnd(6, "0").slice(0, 6));
}

/**
 * The SHA-256 that the headers announce for the file, in Base64; null if they announce none. The older
 * `Digest` counts where there is no `Repr-Digest` (RFC 9530; RFC 3230).
 * @throws {FormFault} if it is not well formed.
 */
export function announcedSha256(headers: ReadonlyMap<string, string>): string | null {
  const patterns = {
    "repr-digest": /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*(?:,|$)/i,
    digest: /(?:^|,)\s*sha-256=([A-Za-z0-9+/]{43}=)\s*(?:,|$)/i,
  };
  for (const [name, pattern] of Object.entries(patterns)) {
    const header = headers.get(name) ?? "";
    if (!/(?:^|,)\s*sha-256=/i.test(header)) continue;
    const sha256 = pattern.exec(header)?.[1];
    if (sha256 === undefined) throw new FormFault(`the header ${name} has no valid SHA-256`);
    return sha256;
  }
  return null;
}

/** The form of a key that names a file: a UUID as it is, null for anything else. */
export function uuidOf(key: string): string | null {
  return UUID.test(key) ? key.toLowerCase() : null;
}
