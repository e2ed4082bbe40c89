// Reads single lines of HTTP/1.1 (RFC 9112), of requests and answers: headers (section 5), lists in them, and
// the lines before the chunks of a body (section 7.1). It takes time in proportion to their length: a pattern
// that ends in blanks would need the square of it. Pure: which values are good, its callers decide.

/** `token` of RFC 9110, section 5.6.2, and a colon. */
const NAME = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):/;

/** The name as it was sent, and the value without the blanks around it; null if there is no name. */
export function splitHeaderLine(line: string): [name: string, value: string] | null {
  const name = NAME.exec(line)?.[1];
  return name === undefined ? null : [name, withoutBlanks(line.slice(name.length + 1))];
}

/** The values of a list, in lower case. */
export function listIn(value: string | null | undefined): string[] {
  return (value ?? "").toLowerCase().split(",").map(withoutBlanks);
}

/** The size of a chunk, bytes; null if the line before it, extensions included, is not valid. */
export function chunkSizeIn(line: string): number | null {
  const digits = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
  return digits === undefined ? null : parseInt(digits, 16);
}

/** The text without the spaces and tabs around it. Not trim(), which takes more than these. */
export function withoutBlanks(text: string): string {
  let [from, to] = [0, text.length];
  while (isBlank(text[from])) from++;
  while (to > from && isBlank(text[to - 1])) to--;
  return text.slice(from, to);
}

function isBlank(character: string | undefined): boolean {
  return character === " " || character === "\t";
}
