// The body of an upload, multipart/form-data (RFC 7578): some text fields, then one file, with a length
// that is known before it is sent. It knows nothing of chunks and sends nothing. Pure.
//
// It is a Blob, and not bytes, for two reasons. A request whose body is bytes is sent again by `fetch`
// itself when the connection breaks: then an attempt is two requests, and nobody hears of the first.
// And of bytes `fetch` makes two more copies, while a Blob is read piece by piece. It is a Blob of its
// own kind, as Deno (2.7.11, 2.9.6) never frees what is in one of its: a till would lose 11 MB an hour.

/** A file up to here goes in one piece with the fields: each is a write, and waits for the last. */
const MAX_WHOLE_BYTES = 1_048_576;
/** Of a larger one; what has been sent of it is garbage that is there for a while. */
const PIECE_BYTES = 65_536;

/** The one file of a form. */
export interface FormFile {
  readonly field: string;
  readonly fileName: string;
  /** Media type. */
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A form as it goes over the wire. */
export interface MultipartBody {
  readonly contentType: string;
  readonly body: Blob;
}

/** RFC 2046, section 5.1.1, but for what would need quotes in a header. */
const BOUNDARY = /^[0-9A-Za-z'+_-]{1,70}$/;

/**
 * The fields in their order, then the file.
 * @param boundary must not occur in the fields or the file: a random one of 128 bits does not.
 * @throws {TypeError} if the boundary is not one.
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

/** Bytes that are read once, and are nowhere but here: all that `fetch` asks of a body. */
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
  if (file.length <= MAX_WHOLE_BYTES) return [joined([head, file, tail])];
  const pieces = [head];
  for (let at = 0; at < file.length; at += PIECE_BYTES) {
    pieces.push(file.subarray(at, at + PIECE_BYTES));
  }
  return [...pieces, tail];
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** As browsers do it (HTML, "multipart/form-data encoding algorithm"). */
function escapeName(name: string): string {
  return name.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22");
}
