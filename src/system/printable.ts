// The boundary for foreign text: what a server, a USB device, a file name or another program said must
// neither command a terminal, nor forge a line, nor hide a part of itself, nor fill a page. Where such text
// enters, it passes `printable`. Where text leaves, `visible` (terminal, page) and `toJson` (log, /health,
// files) are the second line. Pure: it never decides what is shown.

/** Line breaks and other white space that moves the cursor. */
// deno-lint-ignore no-control-regex -- they are what it looks for
const BREAKS = /[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+/g;
/**
 * What is not seen: control characters (Cc), format characters (Cf), among them those that change the
 * direction of text, and tags; halves of characters (Cs); line and paragraph separators (Zl, Zp).
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu;
/** The same without the two that lay out text of this program. */
const UNSEEN_IN_LINES = /(?:(?![\t\n])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}])+/gu;
/** What JSON.stringify leaves as it is. */
const UNSEEN_IN_JSON = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu;
const REPLACEMENT = "\uFFFD";

/** The most characters of a text in a log field, in /health, in a file. */
export const MAX_TEXT = 2000;

/**
 * Foreign text as one line that can be shown anywhere: line breaks become a space, what is not seen becomes
 * U+FFFD, and what is longer than `maxLength` UTF-16 units is cut and ends with "…".
 */
export function printable(text: string, maxLength: number): string {
  // Text that becomes shorter below is never cut by this, unless most of it is not seen.
  const some = text.length > 8 * maxLength ? text.slice(0, 8 * maxLength) : text;
  const line = some.replaceAll(BREAKS, " ").replaceAll(UNSEEN, REPLACEMENT).trim();
  return cut(line, maxLength);
}

/** The value of a JSON text from outside: every text in it is printable. @throws {SyntaxError} */
export function fromJson(text: string): unknown {
  return JSON.parse(
    text,
    (_key, value: unknown) => typeof value === "string" ? printable(value, MAX_TEXT) : value,
  );
}

/** The object in a JSON text from outside, as it came; null if there is none. */
export function objectInJson(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : null;
  } catch {
    return null;
  }
}

/** At most `maxLength` UTF-16 units and "…"; a character is never split. */
export function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const last = text.charCodeAt(maxLength - 1);
  const end = last >= 0xd800 && last < 0xdc00 ? maxLength - 1 : maxLength;
  return `${text.slice(0, end).trimEnd()}…`;
}

/** Text of this program that may hold foreign text; its lines and tabs remain. */
export function visible(text: string): string {
  return text.replaceAll(UNSEEN_IN_LINES, REPLACEMENT);
}

/**
 * JSON whose characters are all seen; what is not is escaped, so that nothing is lost. Texts in it have at
 * most MAX_TEXT characters. Errors and bigints become text.
 */
export function toJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, bounded, indent)
    .replaceAll(UNSEEN_IN_JSON, (character) =>
      Array.from(
        { length: character.length },
        (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`,
      ).join(""));
}

function bounded(_key: string, value: unknown): unknown {
  if (value instanceof Error || typeof value === "bigint") return cut(String(value), MAX_TEXT);
  return typeof value === "string" ? cut(value, MAX_TEXT) : value;
}
