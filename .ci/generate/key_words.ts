// What the examples and the reference say of one key: its meaning, and what leaving it out means. Pure.

import type { Key } from "../../src/config/key.ts";
import { type Language, UNITS } from "../../src/config/words.ts";

/** The meaning of a key with its unit and, unless that is the first, its version; in Markdown. */
export function meaningOf(key: Key, language: Language): string {
  const [short, ...details] = key.meaning[language].split(";");
  const unit = key.kind.unit === undefined ? "" : `, ${UNITS[key.kind.unit].inThem[language]}`;
  const since = { en: ` since ${key.since}`, ru: ` начиная с версии ${key.since}` }[language];
  return [`${short}${unit}`, ...details, ...(key.since === undefined ? [] : [since])]
    .join(";");
}

/** What leaving a key out means: its default or words in Markdown; null if it is required. */
export function defaultOf(key: Key, language: Language): string | null {
  if (key.sameAs !== undefined) {
    return { en: `same as \`${key.sameAs}\``, ru: `как \`${key.sameAs}\`` }[language];
  }
  return key.default ?? key.absent?.[language] ?? null;
}
