// What the reference says of the keys of the configuration, in both languages: their tables by group,
// and what is accepted. Everything comes from the table of keys. Pure.

import { APPLIES, GROUPS, type KeyTable, variableOf } from "../../src/config/key.ts";
import type { Language } from "../../src/config/words.ts";
import { defaultOf, meaningOf } from "./key_words.ts";
import { table, wrap } from "./markdown.ts";

const HEADER: Readonly<Record<Language, readonly string[]>> = {
  en: ["key", "variable", "default", "applies", "meaning"],
  ru: ["ключ", "переменная", "по умолчанию", "применяется", "значение"],
};
const REQUIRED: Readonly<Record<Language, string>> = { en: "required", ru: "обязательно" };

/** A heading, a table and the note of each group. */
export function keyTables(keys: KeyTable, language: Language): string {
  const sections = Object.entries(GROUPS).map(([group, { title, ...more }]) => {
    const rows = Object.entries(keys).filter(([, key]) => key.group === group).map((
      [name, key],
    ) => [
      name,
      variableOf(name),
      defaultOf(key, language) ?? REQUIRED[language],
      APPLIES[key.applies][language],
      meaningOf(key, language),
    ]);
    const note = "note" in more ? [wrap(more.note[language])] : [];
    return [`### ${title[language]}`, table([HEADER[language], ...rows]), ...note].join("\n\n");
  });
  return sections.join("\n\n");
}

/** A list with what is accepted for each key. */
export function acceptedValues(keys: KeyTable, language: Language): string {
  return Object.entries(keys).map(([name, { kind, atLeast }]) => {
    const limit = {
      en: `, not less than \`${atLeast}\``,
      ru: `, не меньше \`${atLeast}\``,
    }[language];
    const accepted = `${kind.accepted[language]}${atLeast === undefined ? "" : limit}`;
    return wrap(`\`${name}\`: ${accepted}`, "- ", "  ");
  }).join("\n");
}
