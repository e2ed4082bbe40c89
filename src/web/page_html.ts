// HTML in which every value is escaped, because what a microphone calls itself is foreign text. Pure.

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Markup that is safe to put into a page as it is. */
export class Html {
  readonly text: string;

  /** @param text trusted: of this program's own making. */
  constructor(text: string) {
    this.text = text;
  }
}

/** A template whose values are escaped, unless they are Html; of arrays each member. */
export function markup(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | Html | readonly Html[])[]
): Html {
  return new Html(parts.map((part, index) => part + escaped(values[index] ?? "")).join(""));
}

function escaped(value: string | number | Html | readonly Html[]): string {
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return String(value).replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}
