/**
 * What an entry of the table of configuration keys says, and what follows from an entry: the type of
 * a configuration, the names of variables and fields, the words of the documentation. The entries
 * themselves are in keys.ts. Pure.
 */

import type { Kind } from "./config_values.ts";
import type { Words } from "./words.ts";

/** The sections of the documentation and of the examples, in their order. */
export const GROUPS = {
  identity: { title: { en: "Identity and server", ru: "Идентификаторы и сервер" } },
  schedule: {
    title: { en: "Schedule", ru: "Расписание" },
    note: {
      en: "The time zone is that of the machine, read at the start of the service. The [daylight " +
        "saving time](../explanation/time.md#the-schedule) rules are those of the local clock.",
      ru: "Часовой пояс — пояс машины, он читается при запуске службы.",
    },
  },
  sound: { title: { en: "Sound", ru: "Звук" } },
  storage: {
    title: { en: "Storage", ru: "Хранение" },
    note: { en: "1 GB is 1000 MB.", ru: "1 ГБ — это 1000 МБ." },
  },
  delivery: { title: { en: "Delivery", ru: "Отправка" } },
  health: { title: { en: "Health", ru: "Состояние" } },
  fleet: {
    title: { en: "Many tills", ru: "Много касс" },
    note: {
      en: "Both connections use the proxy, the addresses and the certificates of the uploads. " +
        "[Metrics and alerts](../how-to/alerts.md) says how to use them.",
      ru: "Оба соединения используют прокси, адреса и сертификаты отправки чанков. " +
        "[Метрики и оповещения](../../how-to/alerts.md).",
    },
  },
} satisfies Readonly<Record<string, Group>>;

export interface Group {
  readonly title: Words;
  /** Sentences that concern the whole group, in Markdown. */
  readonly note?: Words;
}

/**
 * When a changed value is used by a running service that reads its configuration again, in the order
 * of what it costs. `reopens`: at once, and the microphone is opened again, so that about a second of
 * sound is missing; the others lose none.
 */
export const APPLIES = {
  at_once: { en: "at once", ru: "сразу" },
  at_seam: { en: "with the next chunk", ru: "со следующего чанка" },
  reopens: { en: "at once, with a gap", ru: "сразу, с пропуском" },
  restart: { en: "at a restart", ru: "при перезапуске" },
} satisfies Readonly<Record<string, Words>>;

export type Applies = keyof typeof APPLIES;

/**
 * One key. It has a `default`, or is the `sameAs` another one, or `absent` says what leaving it out
 * means (its value is then null). With none of these it is required.
 */
export interface Key {
  readonly group: keyof typeof GROUPS;
  readonly applies: Applies;
  /** How it is read, what is accepted, its unit. */
  readonly kind: Kind<unknown>;
  /** As a person would write it. */
  readonly default?: string;
  /** An earlier key whose value it has when it is left out. */
  readonly sameAs?: string;
  /** The default in words. */
  readonly absent?: Words;
  /** Another key, a number too, that it must not be less than. */
  readonly atLeast?: string;
  /** Version that brought it; the keys of the first, 0.1.0, say none. */
  readonly since?: `${number}.${number}.${number}`;
  /** Begins with a lower-case letter; details follow a semicolon. Markdown: `key`, [text](link). */
  readonly meaning: Words;
  /** What each till has of its own: the value in the examples, which `install` never keeps. */
  readonly placeholder?: string;
  /** `install` asks for it: by its meaning, with the placeholder or a new UUID, or unseen. */
  readonly install?: "asks" | "asks_with_example" | "suggests_uuid" | "asks_secretly";
}

/** Keys by name, in the order of the documentation. */
export type KeyTable = Readonly<Record<string, Key>>;

/** `max_spool_gb` is `maxSpoolGb`. */
export type CamelCase<Name extends string> = Name extends `${infer First}_${infer Rest}`
  ? `${First}${Capitalize<CamelCase<Rest>>}`
  : Name;

/** What a key's kind reads; also null if the key may be left out. */
type Value<Entry> = Entry extends { readonly kind: Kind<infer Read> }
  ? Entry extends { readonly absent: Words } ? Read | null : Read
  : never;

/** The configuration that a table describes. */
export type ConfigOf<Table> = {
  readonly [Name in keyof Table & string as CamelCase<Name>]: Value<Table[Name]>;
};

/** The field of the configuration that holds a key. */
export function fieldOf(name: string): string {
  return name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The value of a key in a configuration. */
export function valueOf(config: object, name: string): unknown {
  return Reflect.get(config, fieldOf(name));
}

/** The environment variable that overrides a key. */
export function variableOf(name: string): string {
  return `RA_${name.toUpperCase()}`;
}

/** Whether a key may be written with nothing behind it, which is leaving it out. */
export function mayBeEmpty(key: Key): boolean {
  return key.absent !== undefined || key.sameAs !== undefined;
}

/** The meaning of a key in a few words, without details and markup. */
export function shortMeaningOf(key: Key): string {
  return withoutMarkup(key.meaning.en.split(";")[0] ?? "");
}

/** Markdown as a person reads it in a terminal or a comment. */
export function withoutMarkup(markdown: string): string {
  return markdown.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, "$1").replaceAll("`", "");
}
