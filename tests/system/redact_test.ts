// The token in the answers of servers: hidden in every encoding in which it may come back.

import { assert, assertEquals } from "@std/assert";
import { Redactor } from "../../src/system/redact.ts";
import { threadMs } from "../fixtures/thread_time.ts";

const TOKENS = [
  "t0ken-that-nobody-may-see",
  `quote"back\\slash/and'more`,
  "a+b/c==&<>%41 {x}[y](z)^$.*?|",
  "\\\\\\",
  "0123456789abcdefABCDEF",
];

const base64 = (text: string) => new TextEncoder().encode(text).toBase64();
const hex = (text: string) => new TextEncoder().encode(text).toHex();
const each = (text: string, form: (code: number) => string) =>
  Array.from(text, (character) => form(character.charCodeAt(0))).join("");
const htmlOf = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;").replaceAll("'", "&#39;");
const json = (text: string) => JSON.stringify(text).slice(1, -1);

const ENCODINGS: Readonly<Record<string, (token: string) => string>> = {
  raw: (token) => token,
  json,
  "json in json": (token) => json(json(token)),
  "json in json in json": (token) => json(json(json(token))),
  "json of PHP": (token) => json(token).replaceAll("/", "\\/"),
  unicode: (token) => each(token, (code) => `\\u${code.toString(16).padStart(4, "0")}`),
  UNICODE: (token) =>
    each(token, (code) => `\\u${code.toString(16).toUpperCase().padStart(4, "0")}`),
  "json of Go": (token) => json(token).replaceAll(/[<>&]/g, (c) => `\\u00${hex(c)}`),
  "hex escapes": (token) => each(token, (code) => `\\x${code.toString(16).padStart(2, "0")}`),
  url: encodeURIComponent,
  "url, all": (token) => each(token, (code) => `%${code.toString(16).padStart(2, "0")}`),
  "url twice": (token) => encodeURIComponent(encodeURIComponent(token)),
  html: htmlOf,
  "html twice": (token) => htmlOf(htmlOf(token)),
  "html, decimal": (token) => each(token, (code) => `&#${code};`),
  "html, hex": (token) => each(token, (code) => `&#x${code.toString(16)};`),
  "html of json": (token) => htmlOf(json(token)),
  hex,
  HEX: (token) => hex(token).toUpperCase(),
};

Deno.test("a token is hidden in every encoding that a server could echo", () => {
  for (const token of TOKENS) {
    const redactor = new Redactor(token);
    for (const [name, encode] of Object.entries(ENCODINGS)) {
      if (token.length < 4 && /hex$/i.test(name)) continue;
      const echoed = encode(token);
      assertEquals(
        redactor.hide(`<${echoed}> ${echoed}`),
        "<[token]> [token]",
        `${name}: ${token}`,
      );
    }
  }
});

Deno.test("a token inside base64 is hidden, but for at most a character at each end", () => {
  for (const token of TOKENS.filter(({ length }) => length > 8)) {
    for (const before of ["", "x", "Bearer ", "user:", "  "]) {
      for (const after of ["", "\n", " and"]) {
        const text = base64(`${before}${token}${after}`);
        for (const echoed of [text, text.replaceAll("+", "-").replaceAll("/", "_")]) {
          const hidden = new Redactor(token).hide(echoed);
          assert(hidden.includes("[token]"), `${before}${token}${after}: ${hidden}`);
          assert(!hidden.includes(base64(token).slice(4, -6)));
        }
      }
    }
  }
});

Deno.test("what is not the token stays, and no text takes long", () => {
  const redactor = new Redactor("t0ken-that-nobody-may-see");
  const text = "the server answered 401: t0ken-that-nobody is not known";
  assertEquals(redactor.hide(text), text);
  assertEquals(new Redactor("").hide(text), text);
  for (const token of ["\\\\\\\\", "&&&&", "%%%%", "t0ken-that", "aaaaaaaa"]) {
    for (const unit of ["\\", "&amp;", "%25", "&#000000", "aaaaaaa", "t0ken-tha"]) {
      const tookMs = threadMs(() => {
        new Redactor(token).hide(unit.repeat(65_536 / unit.length));
      });
      assert(tookMs < 1000, `${token} in ${unit}`);
    }
  }
});

Deno.test("no token and no text together take long: backslashes in a row, which escape each other", () => {
  for (const token of ["\\".repeat(6) + "abcdefg", "\\".repeat(64), "\\\\a".repeat(20)]) {
    const { hide } = new Redactor(token);
    const tookMs = threadMs(() => {
      for (const text of ["\\".repeat(20_000), "\\\\a\\".repeat(5_000)]) hide(`${text}b`);
    });
    assert(tookMs < 3_000, token);
    for (const times of [0, 1, 2, 3]) {
      let text = token;
      for (let time = 0; time < times; time++) text = JSON.stringify(text).slice(1, -1);
      assertEquals(hide(`<${text}>`), "<[token]>");
    }
    for (const escape of ["%5C", "\\u005c", "&#92;"]) {
      assertEquals(hide(`<${token.replaceAll("\\", escape)}>`), "<[token]>");
    }
  }
});
