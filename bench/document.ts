// Writes measured results into docs/performance.md, between two markers. The text around the markers stays.
// It measures nothing.

import { join } from "@std/path/join";
import { run } from "../tests/fixtures/command.ts";

export const DOCUMENT = join(new URL("../", import.meta.url).pathname, "docs/performance.md");

/**
 * Replaces the text between `<!-- name:begin -->` and `<!-- name:end -->`.
 * @throws if the document lacks one of the markers.
 */
export async function writeDocument(name: string, text: string): Promise<void> {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const document = await Deno.readTextFile(DOCUMENT);
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} must have ${begin} and ${end}`);
  const [before, after] = [document.slice(0, from + begin.length), document.slice(to)];
  await Deno.writeTextFile(DOCUMENT, `${before}\n\n${text}\n\n${after}`);
  await run(Deno.execPath(), ["fmt", "--quiet", DOCUMENT]);
}
