/**
 * What is in a PEM file with certificates or a private key, as far as the configuration must know it:
 * whether there is one, and whether a key belongs to a certificate. The runtime ends the whole process
 * with a key that does not fit (Deno 2.7), so it never gets one. It verifies no signature. Pure.
 */

/** Object identifiers of the kinds of keys, in DER. */
const RSA = "2a864886f70d010101";
const EC = "2a8648ce3d0201";
/** The points of the curves P-256 and P-384, uncompressed, with the byte before them in a BIT STRING. */
const POINT_BYTES: readonly number[] = [66, 98];
const LEAST_RSA_BITS = 2048;

/** Tags of DER (X.690). */
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const SEQUENCE = 0x30;
const VERSION = 0xa0;
const PUBLIC_KEY = 0xa1;

interface Block {
  readonly label: string;
  readonly bytes: Uint8Array;
}

/** One value of DER. */
interface Value {
  readonly tag: number;
  readonly bytes: Uint8Array;
}

/** What is wrong with the content of a file with certificates, or null; it reads on from its name. */
export function refuseDamagedCertificates(content: string): string | null {
  const blocks = blocksOf(content).filter(({ label }) => label === "CERTIFICATE");
  if (blocks.length === 0) return "holds no PEM certificate";
  return blocks.every(({ bytes }) => publicKeyOf(bytes) !== null)
    ? null
    : "holds a PEM certificate that is damaged";
}

/** Whether the first certificate is one of X.509 version 1, which has no extensions. */
export function isVersion1(content: string): boolean {
  const first = blocksOf(content).find(({ label }) => label === "CERTIFICATE");
  const [whole] = first === undefined ? [] : valuesOf(first.bytes);
  const [signed] = inside(whole);
  return inside(signed)[0]?.tag !== VERSION;
}

/** What is wrong with the content of a file with a private key, or null. */
export function refusePrivateKey(content: string): string | null {
  const key = blocksOf(content).find(({ label }) => label.endsWith("PRIVATE KEY"));
  if (key === undefined) {
    return content.includes("ENCRYPTED") ? "holds an encrypted key" : "holds no PEM private key";
  }
  if (key.label === "ENCRYPTED PRIVATE KEY") return "holds an encrypted key";
  const own = publicOfPrivate(key);
  if (own === null) return "holds a private key that is neither RSA nor EC (P-256, P-384)";
  return own.kind === "RSA" && own.bytes.length * 8 < LEAST_RSA_BITS
    ? `holds an RSA key of less than ${LEAST_RSA_BITS} bits`
    : null;
}

/** Whether the private key belongs to the first certificate; both were accepted by themselves. */
export function fitsCertificate(key: string, certificate: string): boolean {
  const block = blocksOf(key).find(({ label }) => label.endsWith("PRIVATE KEY"));
  const first = blocksOf(certificate).find(({ label }) => label === "CERTIFICATE");
  const own = block === undefined ? null : publicOfPrivate(block);
  const certified = first === undefined ? null : publicKeyOf(first.bytes);
  return own !== null && certified !== null && own.kind === certified.kind &&
    own.bytes.length === certified.bytes.length &&
    own.bytes.every((byte, at) => byte === certified.bytes[at]);
}

/** RFC 7468, without text between the blocks. */
function blocksOf(content: string): Block[] {
  const pem = /-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]+)-----END \1-----/g;
  return [...content.matchAll(pem)].flatMap(([, label = "", base64 = ""]) => {
    try {
      return [{ label, bytes: Uint8Array.fromBase64(base64) }];
    } catch {
      return [];
    }
  });
}

interface PublicKey {
  readonly kind: "RSA" | "EC" | "other";
  /** The modulus, or the point. */
  readonly bytes: Uint8Array;
}

/** The public key in a certificate (RFC 5280, section 4.1), or null. */
function publicKeyOf(certificate: Uint8Array): PublicKey | null {
  const [whole] = valuesOf(certificate);
  const [signed] = inside(whole);
  const fields = inside(signed);
  const info = inside(fields[fields[0]?.tag === VERSION ? 6 : 5]);
  const algorithm = objectOf(info[0]);
  const bits = info[1];
  if (bits?.tag !== BIT_STRING || algorithm === null) return null;
  if (algorithm === EC) return { kind: "EC", bytes: bits.bytes };
  if (algorithm !== RSA) return { kind: "other", bytes: bits.bytes };
  const modulus = numberIn(valuesOf(bits.bytes.subarray(1))[0], 0);
  return modulus === null ? null : { kind: "RSA", bytes: modulus };
}

/** The public key that a private key holds itself, or null if it holds none that can be used. */
function publicOfPrivate({ label, bytes }: Block): PublicKey | null {
  const [whole] = valuesOf(bytes);
  if (label === "RSA PRIVATE KEY") return ofRsa(whole);
  if (label === "EC PRIVATE KEY") return ofEc(whole);
  const fields = inside(whole); // PKCS #8 (RFC 5208)
  const algorithm = objectOf(fields[1]);
  const [inner] = fields[2]?.tag === OCTET_STRING ? valuesOf(fields[2].bytes) : [];
  if (algorithm === RSA) return ofRsa(inner);
  return algorithm === EC ? ofEc(inner) : null;
}

/** RFC 8017, appendix A.1.2. */
function ofRsa(key: Value | undefined): PublicKey | null {
  const modulus = numberIn(key, 1);
  return modulus === null ? null : { kind: "RSA", bytes: modulus };
}

/** RFC 5915, section 3. */
function ofEc(key: Value | undefined): PublicKey | null {
  const held = inside(key).find(({ tag }) => tag === PUBLIC_KEY);
  const [point] = held === undefined ? [] : valuesOf(held.bytes);
  const isUsable = point?.tag === BIT_STRING && POINT_BYTES.includes(point.bytes.length);
  return isUsable ? { kind: "EC", bytes: point.bytes } : null;
}

/** A whole number without leading zeros. */
function numberIn(sequence: Value | undefined, index: number): Uint8Array | null {
  const value = inside(sequence)[index];
  if (value?.tag !== INTEGER) return null;
  const start = value.bytes.findIndex((byte) => byte !== 0);
  return start < 0 ? null : value.bytes.subarray(start);
}

/** The object identifier at the beginning of an algorithm, in hexadecimal. */
function objectOf(algorithm: Value | undefined): string | null {
  const [object] = inside(algorithm);
  return object?.tag === 0x06 ? object.bytes.toHex() : null;
}

/** The values in a SEQUENCE; none in anything else. */
function inside(value: Value | undefined): Value[] {
  return value?.tag === SEQUENCE ? valuesOf(value.bytes) : [];
}

/** The values one after the other, up to the first that is torn. */
function valuesOf(bytes: Uint8Array): Value[] {
  const values: Value[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const tag = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0;
    at += 2;
    if (length >= 0x80) {
      const count = length - 0x80;
      if (count === 0 || count > 4) break;
      length = bytes.subarray(at, at + count).reduce((sum, byte) => sum * 256 + byte, 0);
      at += count;
    }
    if (at + length > bytes.length) break;
    values.push({ tag, bytes: bytes.subarray(at, at + length) });
    at += length;
  }
  return values;
}
