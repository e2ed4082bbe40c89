// HTML in which every value is escaped: the name of a microphone, or what a chunk says, is untrusted text. Pure.

import { visible } from "./printable.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Markup that is safe to insert into a page unchanged. */
export class Html {
  readonly text: string;

  /** @param text trusted markup, made by this program. */
  constructor(text: string) {
    this.text = text;
  }
}

/** A template that escapes its values, except Html and arrays of Html. */
export function markup(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | Html | readonly Html[])[]
): Html {
  return new Html(parts.map((part, index) => part + escaped(values[index] ?? "")).join(""));
}

function escaped(value: string | number | Html | readonly Html[]): string {
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return visible(String(value)).replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}
