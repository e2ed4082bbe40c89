// Encodes an upload as multipart/form-data (RFC 7578): text fields, then one file. The file itself is not
// needed for that: the caller sends it between the two texts that the module makes. So the length is known
// before the file is read. The module knows nothing about chunks and sends nothing. Pure.

/** The one file of a form. */
export interface FormFile {
  readonly field: string;
  readonly fileName: string;
  /** Media type. */
  readonly type: string;
  readonly sizeBytes: number;
}

/** A form as it is sent: `head`, the bytes of the file, `tail`. */
export interface MultipartForm {
  readonly contentType: string;
  readonly head: Uint8Array<ArrayBuffer>;
  readonly tail: Uint8Array<ArrayBuffer>;
  /** Of all three, bytes. */
  readonly sizeBytes: number;
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
): MultipartForm {
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
    head,
    tail,
    sizeBytes: head.length + file.sizeBytes + tail.length,
  };
}

/** Escapes a name as browsers do (HTML, "multipart/form-data encoding algorithm"). */
function escapeName(name: string): string {
  return name.replaceAll("\n", "%0A").replaceAll("\r", "%0D").replaceAll('"', "%22");
}
