// What the answers of an object store mean: the errors in words for a person, and the names in a listing.
// The formats are those of the S3 API. It sends nothing. Pure.

import { printable } from "../system/printable.ts";
import { StoreFailure } from "./store.ts";

/** The store does not do what was asked; the message says why, and what would help. */
export class S3Failure extends StoreFailure {
  /**
   * @param kind `settings`: the same request fails until somebody changes something. `later`: it may work in
   * a moment. `unsupported`: the store does not know what was asked.
   */
  constructor(
    message: string,
    readonly kind: "settings" | "later" | "unsupported",
    isFull = false,
  ) {
    super(message, isFull);
  }
}

export interface S3ErrorFacts {
  readonly status: number;
  /** The body of the answer. */
  readonly text: string;
  readonly headers: Headers;
  readonly bucket: string;
  readonly region: string;
  /** UTC of this machine, Unix milliseconds. */
  readonly nowUnixMs: number;
}

/** Codes of a store, or of a user's share of it, that is full. */
const FULL =
  /^(QuotaExceeded|XMinioStorageFull|XAmzStorageFull|InsufficientCapacity|.*QuotaExceeded.*)$/;
/** Codes with which a store asks to come again. */
const LATER =
  /^(ConditionalRequestConflict|OperationAborted|InternalError|RequestTimeout|ServiceUnavailable|SlowDown|TooManyRequests|Throttling.*)$/;

/** The failure that an answer with an error status is. */
export function failureOf(facts: S3ErrorFacts): S3Failure {
  const { status, text, headers, bucket, region, nowUnixMs } = facts;
  const code = element(text, "Code");
  const message = element(text, "Message");
  const said = printable(
    `${status}${code === null ? "" : ` ${code}`}${message === null ? "" : `: ${message}`}`,
    300,
  );
  const settings = (sentence: string) => new S3Failure(`${sentence} (${said})`, "settings");
  if (status === 507 || (code !== null && FULL.test(code))) {
    return new S3Failure(`the object store is full (${said})`, "later", true);
  }
  const right = headers.get("x-amz-bucket-region") ?? element(text, "Region");
  if (right !== null && right !== "" && right !== region && status < 500) {
    return settings(`the bucket is in another region: set region = ${printable(right, 64)}`);
  }
  switch (code) {
    case "InvalidAccessKeyId":
      return settings("the object store does not know the access key");
    case "SignatureDoesNotMatch":
      return settings("the secret key is not that of the access key");
    case "ExpiredToken":
    case "InvalidToken":
      return settings("the session token has expired or is not valid");
    case "RequestTimeTooSkewed": {
      const theirs = Date.parse(headers.get("date") ?? "");
      const by = Number.isNaN(theirs) ? "" : ` by ${Math.round((nowUnixMs - theirs) / 1000)} s`;
      return settings(`the clock of this machine differs from that of the object store${by}`);
    }
    case "NoSuchBucket":
      return settings(`the object store has no bucket ${bucket}`);
  }
  if (status === 501 || code === "NotImplemented") {
    return new S3Failure(`the object store does not support this (${said})`, "unsupported");
  }
  if (status >= 500 || status === 429 || status === 408 || (code !== null && LATER.test(code))) {
    return new S3Failure(`the object store cannot do it now (${said})`, "later");
  }
  if (status === 401 || status === 403) {
    return settings(`the access key has no right to this in the bucket ${bucket}`);
  }
  if (status >= 300 && status < 400) {
    const target = printable(headers.get("location") ?? "another address", 200);
    return settings(`the object store refers to ${target}: set endpoint_url and region`);
  }
  return settings("the object store refuses this");
}

/** A page of a listing. */
export interface S3Listing {
  /** Full names of objects. */
  readonly names: readonly string[];
  /** Names up to the delimiter, which several objects have in common. */
  readonly prefixes: readonly string[];
  /** Asks for the next page; null if this is the last. */
  readonly next: string | null;
}

/** The answer to ListObjectsV2. */
export function parseListing(xml: string): S3Listing {
  const all = (text: string, name: string) =>
    [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))]
      .map(([, value = ""]) => unescapeXml(value));
  // Not by an expression over both tags, which would look for the second one again and again.
  const prefixes = xml.split("<CommonPrefixes>").slice(1)
    .flatMap((part) => all(part.split("</CommonPrefixes>", 1)[0] ?? "", "Prefix"));
  const isCut = element(xml, "IsTruncated") === "true";
  const next = isCut ? element(xml, "NextContinuationToken") : null;
  return { names: all(xml, "Key"), prefixes, next };
}

/** The text of the first element with this name; null if there is none. */
function element(xml: string, name: string): string | null {
  const [, value] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  return value === undefined ? null : unescapeXml(value);
}

function unescapeXml(text: string): string {
  return text.replaceAll(/&(?:(lt|gt|quot|apos|amp)|#(\d{1,6})|#x([0-9a-f]{1,5}));/gi, (
    whole,
    name: string | undefined,
    decimal: string | undefined,
    hex: string | undefined,
  ) => {
    if (name !== undefined) {
      const known: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
      return known[name.toLowerCase()] ?? whole;
    }
    const code = decimal === undefined ? parseInt(hex ?? "", 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
