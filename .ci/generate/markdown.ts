// Text as `deno fmt` leaves it: Markdown tables and wrapped lines; and the regions of a document that
// are generated. It knows nothing of what they say. Pure.

const LINE_WIDTH = 100;

/** A table with aligned columns; the first row is the header. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) =>
    Math.max(3, ...rows.map((row) => [...row[i] ?? ""].length))
  );
  const line = (cells: readonly string[]) =>
    `| ${
      cells.map((cell, i) => cell + " ".repeat((widths[i] ?? 0) - [...cell].length)).join(" | ")
    } |`;
  const [header = [], ...body] = rows;
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...body.map(line)]
    .join("\n");
}

/** Lines of at most 100 characters: the first begins with `first`, the others with `rest`. */
export function wrap(text: string, first = "", rest = first): string {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  // A link is one word: `deno fmt` does not break it.
  for (const [word] of text.matchAll(/(?:\[[^\]]*\]\([^)]*\)|\S)+/g)) {
    if (!isEmpty && [...line].length + 1 + [...word].length > LINE_WIDTH) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line].join("\n");
}

/**
 * The document with the region between `<!-- NAME:begin … -->` and `<!-- NAME:end -->` replaced.
 * @throws Error if the document has no such region.
 */
export function replaceRegion(document: string, name: string, content: string): string {
  const region = new RegExp(`(<!-- ${name}:begin[^>]*-->\n)[^]*(\n<!-- ${name}:end -->)`);
  if (!region.test(document)) {
    throw new Error(`Cannot write ${name} as the document has no region of that name`);
  }
  return document.replace(region, (_, begin, end) => `${begin}\n${content}\n${end}`);
}
