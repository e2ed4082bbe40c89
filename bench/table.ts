// The result of a measurement: a table in Markdown. It measures nothing.

export interface Table {
  readonly title: string;
  /** What was done, and with what, in one to three sentences; Markdown. */
  readonly note: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

/** The table with its title as a heading of the third level. */
export function toMarkdown({ title, note, header, rows }: Table): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  const rule = header.map((_, column) => column === 0 ? "---" : "---:");
  return [`### ${title}`, "", note, "", line(header), line(rule), ...rows.map(line), ""].join("\n");
}
