// Writes measured results into a document, between two markers. The text around the markers stays. It
// measures nothing.

import { join } from "@std/path/join";
import { run } from "../tests/fixtures/command.ts";

const ROOT = new URL("../", import.meta.url).pathname;
export const DOCUMENT = join(ROOT, "docs/performance.md");

/**
 * Replaces the text between `<!-- name:begin -->` and `<!-- name:end -->`.
 * @param path of the document, from the project's root; default docs/performance.md.
 * @throws if the document lacks one of the markers.
 */
export async function writeDocument(
  name: string,
  text: string,
  path = "docs/performance.md",
): Promise<void> {
  const file = join(ROOT, path);
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const document = await Deno.readTextFile(file);
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} must have ${begin} and ${end}`);
  const [before, after] = [document.slice(0, from + begin.length), document.slice(to)];
  await Deno.writeTextFile(file, `${before}\n\n${text}\n\n${after}`);
  await run(Deno.execPath(), ["fmt", "--quiet", file]);
}
