// Splits a header line of HTTP/1.1 (RFC 9112, section 5) into its name and its value, in time in proportion to
// its length: a pattern that ends in blanks would need the square of it. Pure: which values are good, its
// callers decide.

/** `token` of RFC 9110, section 5.6.2, and a colon. */
const NAME = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):/;

/** The name as it was sent, and the value without the blanks around it; null if there is no name. */
export function splitHeaderLine(line: string): [name: string, value: string] | null {
  const name = NAME.exec(line)?.[1];
  return name === undefined ? null : [name, withoutBlanks(line.slice(name.length + 1))];
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
