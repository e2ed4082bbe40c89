// Takes a secret out of foreign text: a server may echo what it was sent, in whatever encoding. Pure: it
// never knows what the secret is for, or where the text goes.

const REPLACEMENT = "[token]";
/** Shorter encodings are in other texts by chance. */
const LEAST_ENCODED = 8;

/** Names of characters in HTML. */
const ENTITIES: Readonly<Record<string, string>> = {
  "&": "amp",
  "<": "lt",
  ">": "gt",
  '"': "quot",
  "'": "apos",
};

/** Replaces every occurrence of one secret. */
export class Redactor {
  readonly #patterns: readonly RegExp[];

  constructor(secret: string) {
    const bytes = new TextEncoder().encode(secret);
    const encoded = [bytes.toHex(), bytes.toHex().toUpperCase(), ...base64PartsOf(bytes)]
      .filter(({ length }) => length >= LEAST_ENCODED);
    this.#patterns = secret === "" ? [] : [secret, ...encoded].map(inAnyEscape);
  }

  /**
   * The text without the secret: raw, in hex, in base64 (also as a part of a longer text), each also with
   * any of its characters escaped for JSON, URLs or HTML, up to three times. Call it before the text is
   * cut, which could leave a part of the secret.
   */
  readonly hide = (text: string): string =>
    this.#patterns.reduce((rest, pattern) => rest.replace(pattern, REPLACEMENT), text);
}

/** A pattern for a text of which each character may be escaped. All repeats are bounded, for speed. */
function inAnyEscape(text: string): RegExp {
  const parts = text.match(/\\+|[^\\]/gu) ?? [];
  const pattern = parts.map((part) => part[0] === "\\" ? runOf(part.length) : formsOf(part));
  return new RegExp(pattern.map((forms) => `(?:${forms})`).join(""), "g");
}

/**
 * Backslashes in a row, together: one by one, each could also be the escape of the next, and to try all the ways
 * to divide a long row among them would never end.
 */
function runOf(length: number): string {
  return `\\\\{${length},${8 * length}}|(?:\\\\{0,7}(?:${escapesOf("\\").join("|")})){${length}}`;
}

function formsOf(character: string): string {
  const raw = character.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&");
  if ((character.codePointAt(0) ?? 0) > 0x7e) return raw;
  return `\\\\{0,7}(?:${[raw, ...escapesOf(character)].join("|")})`;
}

/** The forms of an ASCII character that are not itself, without backslashes before them. */
function escapesOf(character: string): string[] {
  const code = character.charCodeAt(0);
  const hex = code.toString(16).padStart(2, "0")
    .replaceAll(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
  const entity = ENTITIES[character];
  return [
    `u00${hex}`,
    `x${hex}`,
    `u\\{0{0,6}${hex}\\}`,
    `%(?:25){0,3}${hex}`,
    `&(?:amp;){0,3}(?:#0{0,6}${code}|#[xX]0{0,6}${hex}${entity ? `|${entity}` : ""});`,
  ];
}

/**
 * Base64 of the bytes within a longer text, for each of the three positions that they may have there:
 * without the characters that depend on their neighbours; in both alphabets.
 */
function base64PartsOf(bytes: Uint8Array): string[] {
  return [0, 1, 2].flatMap((before) => {
    const padded = new Uint8Array(before + bytes.length);
    padded.set(bytes, before);
    const first = Math.ceil(before * 8 / 6);
    const last = Math.floor(padded.length * 8 / 6);
    const part = padded.toBase64().slice(first, last);
    return [...new Set([part, part.replaceAll("+", "-").replaceAll("/", "_")])];
  });
}
