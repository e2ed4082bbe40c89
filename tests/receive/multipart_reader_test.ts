// The form reader against good forms in pieces of every size, bad forms, and mutations of both.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { boundaryOf, FormFault, MultipartReader } from "../../src/receive/multipart_reader.ts";
import { mutateBytes } from "../fixtures/mutations.ts";
import { seededRandom } from "../fixtures/random.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** The fields by name, files as Latin-1, of a body that arrives in pieces of this size. */
function read(body: Uint8Array, size = body.length, boundary = "b"): Record<string, string> {
  const reader = new MultipartReader(boundary);
  const fields: Record<string, string> = {};
  let name = "";
  for (let at = 0; at < body.length; at += size) {
    for (const event of reader.push(body.subarray(at, at + size))) {
      if (event.kind === "part") fields[name = (event.isFile ? "@" : "") + event.name] = "";
      else if (event.kind === "data") fields[name] += String.fromCharCode(...event.bytes);
    }
  }
  reader.end();
  return fields;
}

const part = (name: string, value: string, more = "") =>
  `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const FORM = part("a", "1") + part("empty", "") +
  part("f", "\r\n--\r\n--c\r\r\n-\r\n", '; filename="x.ogg"\r\nContent-Type: audio/ogg') +
  "--b--\r\n";
const FIELDS = { a: "1", empty: "", "@f": "\r\n--\r\n--c\r\r\n-\r\n" };

Deno.test("a form is read the same in pieces of every size", () => {
  for (let size = 1; size <= FORM.length; size++) assertEquals(read(bytes(FORM), size), FIELDS);
});

Deno.test("a form of the runtime is read, with a file of any bytes", async () => {
  const file = crypto.getRandomValues(new Uint8Array(5000));
  const form = new FormData();
  form.append("point_id", "p");
  form.append("chunk_file", new Blob([file], { type: "audio/ogg" }), "x.ogg");
  const sent = new Response(form);
  const boundary = boundaryOf(sent.headers.get("content-type") ?? "") ?? "";
  const body = await sent.bytes();
  for (const size of [1000, body.length]) {
    const expected = { point_id: "p", "@chunk_file": String.fromCharCode(...file) };
    assertEquals(read(body, size, boundary), expected);
  }
});

Deno.test("what other clients send in a form is read: preambles, spaces, names without quotes, an epilogue", () => {
  const head = 'content-disposition: FORM-DATA; filename="q\\.ogg"; name=f\r\n';
  const text = `hello\r\n--b \t\r\n${head}X: y\r\n\r\nz\r\n--b--\r\nwhatever`;
  assertEquals(read(bytes(text)), { "@f": "z" });
  assertEquals(read(bytes(text), 1), { "@f": "z" });
});

Deno.test("a form that is not well formed is refused with what is wrong", () => {
  const refused: [string, RegExp][] = [
    ["", /does not contain the boundary/],
    ["x".repeat(5000) + FORM, /does not begin with the boundary/],
    [FORM.replace("--b--\r\n", ""), /cut short/],
    [FORM.slice(0, 30), /cut short/],
    ...["c\r\n", "\rX", "X\n", "\n\r", "-X", "X-", " --", "\t\r\r"].map((
      behind,
    ): [string, RegExp] => [`--b${behind}`, /something other than a line end/]),
    ["--b\r\n\r\n1\r\n--b--", /no Content-Disposition/],
    [part("a", "1").replace("form-data", "attachment") + "--b--", /no Content-Disposition/],
    [part("a", "1").replace('; name="a"', "") + "--b--", /no Content-Disposition/],
    ["--b\r\nno colon\r\n\r\n1\r\n--b--", /header line without a name/],
    ["--b\r\n: no name\r\n\r\n1\r\n--b--", /part 1 has a header line without a name/],
    // Only an empty line ends a head.
    [part("a", "1", "\nX: y\n").replace("\n\r\n\r\n", "\n\r\n") + "--b--", /cut short/],
    [part("a", "1").replace("\r\n\r\n", "\r\nX\n\r\n") + "--b--", /cut short/],
    [part("a", "1").replace("\r\n\r\n", "\r\nX: y\r\r\n") + "--b--", /cut short/],
    [part("a", "1").replace("\r\n\r\n", "\n\n") + "--b--", /cut short/],
    [part("a", "1", `\r\nX: ${"y".repeat(5000)}`) + "--b--", /longer than 4096 bytes/],
    // Not complete, and looked at again with every byte that comes.
    [`--b\r\n${"\n".repeat(33)}`, /head of part 1 has more than 32 lines/],
    [`--b${" ".repeat(65)}`, /too many spaces/],
    [part("a", "1").repeat(33) + "--b--", /more than 32 parts/],
    [part("a", "MQ==", "\r\nContent-Transfer-Encoding: base64") + "--b--", /Transfer-Encoding/],
  ];
  for (const [text, message] of refused) {
    for (const size of [1, 7, 1_000_000]) {
      const error = assertThrows(() => read(bytes(text), size), FormFault);
      assert(message.test(error.message), `${JSON.stringify(text.slice(0, 80))}: ${error.message}`);
    }
  }
});

Deno.test("a form is read up to its limits: parts, bytes and lines of a head, spaces, text before it", () => {
  // docs/reference/receive.md, "Limits".
  const headOf = (bytes: number) => {
    const around = part("a", "", "\r\nX: ").length - "--b\r\n".length - "\r\n".length;
    return part("a", "1", `\r\nX: ${"y".repeat(bytes - around)}`);
  };
  const lines = (count: number) => part("a", "1", "\r\nX: y".repeat(count - 2));
  const accepted = [
    headOf(4096),
    lines(32),
    part("a", "1").replace("--b", `--b${" ".repeat(64)}`),
    part("a", "1").repeat(32),
    "x".repeat(4000) + "\r\n" + part("a", "1"),
  ];
  const refused: [string, RegExp][] = [
    [headOf(4097), /the head of part 1 is longer than 4096 bytes/],
    [lines(33), /the head of part 1 has more than 32 lines/],
    [part("a", "1").replace("--b", `--b${" ".repeat(65)}`), /too many spaces/],
    [part("a", "1").repeat(33), /it has more than 32 parts/],
    ["x".repeat(4200) + "\r\n" + part("a", "1"), /does not begin with the boundary/],
  ];
  for (const size of [3, 1_000_000]) {
    for (const text of accepted) assertEquals(read(bytes(`${text}--b--`), size), { a: "1" });
    for (const [text, message] of refused) {
      const error = assertThrows(() => read(bytes(`${text}--b--`), size), FormFault);
      assert(message.test(error.message), error.message);
    }
  }
});

Deno.test("only the Content-Type of a form has a boundary", () => {
  assertEquals(boundaryOf("multipart/form-data; boundary=abc"), "abc");
  assertEquals(boundaryOf('Multipart/Form-Data; charset=utf-8; boundary="a b?c"'), "a b?c");
  for (
    const text of [
      ...["", "audio/ogg", "multipart/mixed; boundary=abc", "multipart/form-data"],
      ...["multipart/form-data; boundary=", `multipart/form-data; boundary=${"x".repeat(71)}`],
      ...['multipart/form-data; boundary="a "', "multipart/form-data; boundary=\u00e9"],
    ]
  ) assertEquals(boundaryOf(text), null, text);
});

Deno.test("no mutation of a form does anything but be read or be refused, and pieces do not matter", () => {
  const random = seededRandom(19);
  const outcomes = new Set<string>();
  const outcome = (body: Uint8Array, size: number) => {
    try {
      return JSON.stringify(read(body, size));
    } catch (error) {
      if (error instanceof FormFault) return "refused";
      throw error;
    }
  };
  for (let run = 0; run < 2000; run++) {
    const body = mutateBytes(bytes(FORM), random);
    if (body.length === 0) continue;
    const whole = outcome(body, body.length);
    assertEquals(outcome(body, 1 + Math.floor(random() * 40)), whole);
    outcomes.add(whole === "refused" ? whole : "read");
  }
  assertEquals(outcomes.size, 2);
});
