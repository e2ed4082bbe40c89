// The text of config.yaml.example and .env.example: each key of the table with what it means, what is
// accepted and its default. Pure.

import {
  GROUPS,
  type Key,
  type KeyTable,
  variableOf,
  withoutMarkup,
} from "../../src/config/key.ts";
import { isRequired } from "../../src/config/key_values.ts";
import { wrap } from "./markdown.ts";
import { defaultOf, meaningOf } from "./key_words.ts";

/** How a file writes a key. */
interface Notation {
  /** The first lines of the file. */
  readonly head: string;
  /** The key as a comment names it. */
  readonly nameOf: (key: string) => string;
  readonly setting: (key: string, value: string) => string;
  /** The value that leaves a key out, and its name in a comment. */
  readonly nothing: string;
  readonly nothingInWords: string;
}

const YAML: Notation = {
  head: "Configuration of recorder-agent. Copy this file to /etc/recorder-agent/config.yaml and " +
    "write your values into it. It holds a secret: let only root and the user of the service read " +
    "it. Every key is here. One that is not required has its default as the value; leaving out its line " +
    "means the same. An environment variable overrides each key: RA_ and the key in capitals, as in RA_CHUNK_SECONDS. All errors " +
    "are reported at once when the service starts.",
  nameOf: (key) => key,
  setting: (key, value) => `${key}: ${value}`,
  nothing: "null",
  nothingInWords: "null",
};

const ENVIRONMENT: Notation = {
  head:
    "Environment of recorder-agent, for EnvironmentFile= of systemd: one variable in a line, no " +
    "comments after values. A variable overrides its key in the configuration file; an empty one " +
    "counts as unset. Every variable is here; one that is not required has its default. The file holds a secret: let only " +
    "root read it.",
  nameOf: variableOf,
  setting: (key, value) => `${variableOf(key)}=${value}`,
  nothing: "",
  nothingInWords: "Empty",
};

/** The text of config.yaml.example. */
export function yamlExample(keys: KeyTable): string {
  return example(keys, YAML);
}

/** The text of .env.example. */
export function environmentExample(keys: KeyTable): string {
  return example(keys, ENVIRONMENT);
}

function example(keys: KeyTable, notation: Notation): string {
  const sections = Object.entries(GROUPS).map(([group, { title, ...more }]) => {
    const note = "note" in more ? [comment(withoutMarkup(more.note.en))] : [];
    const settings = Object.entries(keys).filter(([, key]) => key.group === group)
      .map(([name, key]) => {
        const value = key.placeholder ?? key.default ?? notation.nothing;
        return `${comment(explain(key, keys, notation))}\n${notation.setting(name, value)}`;
      });
    return [`# --- ${title.en} ---\n`, ...note.map((lines) => `${lines}\n`), ...settings]
      .join("\n");
  });
  return `${[comment(notation.head), ...sections].join("\n\n")}\n`;
}

/** "Meaning. Accepted: … Null: …", in sentences. */
function explain(key: Key, keys: KeyTable, notation: Notation): string {
  const plain = (markdown: string) =>
    withoutMarkup(
      markdown.replaceAll(
        /`(\w+)`/g,
        (code, name) => Object.hasOwn(keys, name) ? notation.nameOf(name) : code,
      ),
    );
  const meaning = plain(meaningOf(key, "en"));
  const limit = key.atLeast === undefined ? "" : `, not less than ${notation.nameOf(key.atLeast)}`;
  const sentences = [
    `${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}.`,
    `Accepted: ${key.kind.accepted.en}${limit}.`,
  ];
  const leftOut = plain(defaultOf(key, "en") ?? "required");
  if (isRequired(key) || leftOut.startsWith("required")) {
    sentences.push(`${leftOut.charAt(0).toUpperCase()}${leftOut.slice(1)}.`);
  } else if (key.default === undefined) {
    sentences.push(`${notation.nothingInWords}: ${leftOut}.`);
  }
  return sentences.join(" ");
}

function comment(text: string): string {
  return wrap(text, "# ");
}
