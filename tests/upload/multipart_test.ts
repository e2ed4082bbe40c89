// The body of an upload equals, byte for byte, the body that FormData of the platform makes, whatever
// the names, the fields and the file contain. A server reads both alike.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { encodeMultipart, type FormFile } from "../../src/upload/multipart.ts";

const FIELDS = { point_id: "p-1", start_ts: "1790000000.000042", note: 'a "b" \r\n-- ü' };
const BOUNDARY = "test-0123456789abcdef";

type TestFile = FormFile & { readonly bytes: Uint8Array<ArrayBuffer> };

function formFile(bytes: Uint8Array<ArrayBuffer>, fileName = "a.ogg"): TestFile {
  return { field: "chunk_file", fileName, type: "audio/ogg", sizeBytes: bytes.length, bytes };
}

/** The whole body, as a client sends it. */
function encode(fields: Record<string, string>, file: TestFile) {
  const { head, tail, ...form } = encodeMultipart(fields, file, BOUNDARY);
  return { ...form, body: concatBytes([head, file.bytes, tail]) };
}

/** Bytes that are not text, with line breaks and dashes among them. */
function noise(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).map((_, at) => [13, 10, 45, 45, 0, 255, at % 251][at % 7] ?? 0);
}

/** What the platform sends for the same form, with the boundary of this program. */
async function byFormData(fields: Record<string, string>, file: TestFile): Promise<Uint8Array> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set(file.field, new Blob([file.bytes], { type: file.type }), file.fileName);
  const request = new Request("http://x.invalid", { method: "POST", body: form });
  const theirs = /boundary=(.+)$/.exec(request.headers.get("content-type") ?? "")?.[1] ?? "";
  const text = new TextDecoder("latin1").decode(await request.bytes()).replaceAll(theirs, BOUNDARY);
  return Uint8Array.from(text, (character) => LATIN1.get(character) ?? 0);
}

/** Turns characters of `TextDecoder("latin1")`, which is windows-1252, back into their bytes. */
const LATIN1 = new Map(
  Array.from({ length: 256 }, (_, byte) => [
    new TextDecoder("latin1").decode(new Uint8Array([byte])),
    byte,
  ]),
);

const files: [what: string, TestFile][] = [
  ["nothing", formFile(new Uint8Array(0))],
  ["noise", formFile(noise(3000))],
  ["a line break at its end", formFile(new TextEncoder().encode("x\r\n"))],
  ["a name with quotes", formFile(noise(10), 'a"b\r\n.ogg')],
];

for (const [what, file] of files) {
  Deno.test(`a form with a file of ${what} equals that of FormData byte for byte`, async () => {
    const { body } = encode({ point_id: "p-1", codec: "opus" }, file);
    const expected = await byFormData({ point_id: "p-1", codec: "opus" }, file);
    assertEquals(body, expected);
  });
}

for (const length of [0, 1, 183_000, 5_000_000]) {
  Deno.test(`a server reads the fields and a file of ${length} bytes, with Content-Length`, async () => {
    const seen = Promise.withResolvers<{ length: string | null; form: FormData }>();
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const length = request.headers.get("content-length");
        seen.resolve({ length, form: await request.formData() });
        return new Response();
      },
    );
    const bytes = noise(length);
    const { contentType, body, sizeBytes } = encode(FIELDS, formFile(bytes));
    const url = `http://127.0.0.1:${server.addr.port}`;
    const headers = { "content-type": contentType };
    await (await fetch(url, { method: "POST", body, headers })).body?.cancel();
    const { form, length: said } = await seen.promise;
    assertEquals(Number(said), sizeBytes);
    const { chunk_file: file, ...fields } = Object.fromEntries(form);
    assertEquals(fields, FIELDS);
    assert(file instanceof File);
    const sent = await file.bytes();
    assertEquals([file.name, file.type], ["a.ogg", "audio/ogg"]);
    assert(bytes.every((byte, at) => byte === sent[at]), "other bytes");
    assertEquals(sent.length, length);
  });
}

Deno.test("a boundary that would end the header or the form too early is refused", () => {
  for (const boundary of ["", "a b", 'a"', "a\r\n", "x".repeat(71)]) {
    assertThrows(() => encodeMultipart({}, formFile(noise(1)), boundary), TypeError, "boundary");
  }
});
