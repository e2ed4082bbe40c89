// deno-lint-ignore-file no-console -- this script talks to a person
// `deno task generate`: writes the files and regions that follow from the tables of the program.

import { KEYS } from "../../src/config/keys.ts";
import { generatedFiles } from "./generated_files.ts";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));

for (const [path, text] of generatedFiles({ keys: KEYS }, read)) {
  if (read(path) === text) continue;
  Deno.writeTextFileSync(new URL(path, ROOT), text);
  console.log(path);
}
