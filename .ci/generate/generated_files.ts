// Which files of the project are generated, or have generated regions, and from what. It reads the
// documents through the caller and writes nothing.

import type { KeyTable } from "../../src/config/key.ts";
import { parse as parseYaml } from "@std/yaml/parse";
import { type Api, apiPage } from "./api_page.ts";
import { environmentExample, yamlExample } from "./config_examples.ts";
import { acceptedValues, keyTables } from "./key_reference.ts";
import { replaceRegion } from "./markdown.ts";

/** The tables of the program from which texts follow. */
export interface Tables {
  readonly keys: KeyTable;
}

/**
 * The text that each generated file should have, by its path from the project's root.
 * @param read the text that a file has
 */
export function generatedFiles(
  { keys }: Tables,
  read: (path: string) => string,
): ReadonlyMap<string, string> {
  const files = new Map([
    ["config.yaml.example", yamlExample(keys)],
    [".env.example", environmentExample(keys)],
    [
      "docs/reference/ingest-api.md",
      apiPage(parseYaml(read("docs/reference/ingest-api.yaml")) as Api),
    ],
  ]);
  for (
    const [path, language] of [
      ["docs/reference/configuration.md", "en"],
      ["docs/ru/reference/configuration.md", "ru"],
    ] as const
  ) {
    const withTables = replaceRegion(read(path), "keys", keyTables(keys, language));
    files.set(path, replaceRegion(withTables, "accepted", acceptedValues(keys, language)));
  }
  return files;
}
