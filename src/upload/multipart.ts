// Encodes the body of an upload as multipart/form-data (RFC 7578): text fields, then one file. The length
// is known before the body is sent. The module knows nothing about chunks and sends nothing. Pure.
//
// The body is a Blob, and not bytes, for two reasons. `fetch` repeats a request by itself if its body is
// bytes and the connection breaks: an attempt then makes two requests, and the caller never learns about
// the first one. `fetch` also makes two more copies of bytes, but reads a Blob piece by piece. The module
// has its own subclass of Blob, because Deno (2.7.11, 2.9.6) never frees the contents of its own Blobs: a
// till would lose 11 MB an hour.

import { concatBytes } from "../system/concat_bytes.ts";

/** A file up to this size is sent in one piece with the fields: a write waits for the one before. */
const MAX_WHOLE_BYTES = 1_048_576;
/** Size of the pieces of a larger file. Pieces that were sent stay in memory as garbage for a while. */
const PIECE_BYTES = 65_536;

/** The one file of a form. */
export interface FormFile {
  readonly field: string;
  readonly fileName: string;
  /** Media type. */
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A form as it is sent. */
export interface MultipartBody {
  readonly contentType: string;
  readonly body: Blob;
}

/** RFC 2046, section 5.1.1, without the characters that need quotes in a header. */
const BOUNDARY = /^[0-9A-Za-z'+_-]{1,70}$/;

/**
 * Encodes the fields in their order, then the file.
 * @param boundary must not occur in the fields or the file; 128 random bits do not.
 * @throws {TypeError} if the boundary is not valid.
 */
export function encodeMultipart(
  fields: Readonly<Record<string, string>>,
  file: FormFile,
  boundary: string,
): MultipartBody {
  if (!BOUNDARY.test(boundary)) {
    throw new TypeError(`Cannot divide a form as the boundary must match ${BOUNDARY}: ${boundary}`);
  }
  const texts = Object.entries(fields).map(([name, value]) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(name)}"\r\n\r\n` +
    `${value}\r\n`
  );
  const fileHead = `--${boundary}\r\nContent-Disposition: form-data; ` +
    `name="${escapeName(file.field)}"; filename="${escapeName(file.fileName)}"\r\n` +
    `Content-Type: ${file.type}\r\n\r\n`;
  const encoder = new TextEncoder();
  const head = encoder.encode(texts.join("") + fileHead);
  const tail = encoder.encode(`\r\n--${boundary}--`);
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    body: new Pieces(inPieces(head, file.bytes, tail)),
  };
}

/** A Blob that reads the bytes it was given instead of a copy. It has only what `fetch` uses. */
class Pieces extends Blob {
  readonly #pieces: Uint8Array<ArrayBuffer>[];
  readonly #size: number;

  constructor(pieces: Uint8Array<ArrayBuffer>[]) {
    super();
    this.#pieces = pieces;
    this.#size = pieces.reduce((sum, { length }) => sum + length, 0);
  }

  override get size(): number {
    return this.#size;
  }

  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return ReadableStream.from(this.#pieces.values());
  }
}

function inPieces(
  head: Uint8Array<ArrayBuffer>,
  file: Uint8Array<ArrayBuffer>,
  tail: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer>[] {
  if (file.length <= MAX_WHOLE_BYTES) return [concatBytes([head, file, tail])];
  const pieces = [head];
  for (let at = 0; at < file.length; at += PIECE_BYTES) {
    pieces.push(file.subarray(at, at + PIECE_BYTES));
  }
  return [...pieces, tail];
}

/** Escapes a name as browsers do (HTML, "multipart/form-data encoding algorithm"). */
function escapeName(name: string): string {
  return name.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22");
}
