// The body of an upload equals, byte for byte, the body that FormData of the platform makes, whatever
// the names, the fields and the file contain. A server reads both alike.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { encodeMultipart, type FormFile } from "../../src/upload/multipart.ts";

const FIELDS = { point_id: "p-1", start_ts: "1790000000.000042", note: 'a "b" \r\n-- ü' };
const BOUNDARY = "test-0123456789abcdef";

function formFile(bytes: Uint8Array<ArrayBuffer>, fileName = "a.ogg"): FormFile {
  return { field: "chunk_file", fileName, type: "audio/ogg", bytes };
}

/** Bytes that are not text, with line breaks and dashes among them. */
function noise(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).map((_, at) => [13, 10, 45, 45, 0, 255, at % 251][at % 7] ?? 0);
}

/** What the platform sends for the same form, with the boundary of this program. */
async function byFormData(fields: Record<string, string>, file: FormFile): Promise<Uint8Array> {
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

const files: [what: string, FormFile][] = [
  ["nothing", formFile(new Uint8Array(0))],
  ["noise", formFile(noise(3000))],
  ["a line break at its end", formFile(new TextEncoder().encode("x\r\n"))],
  ["a name with quotes", formFile(noise(10), 'a"b\r\n.ogg')],
];

for (const [what, file] of files) {
  Deno.test(`a form with a file of ${what} equals that of FormData byte for byte`, async () => {
    const { body } = encodeMultipart({ point_id: "p-1", codec: "opus" }, file, BOUNDARY);
    const expected = await byFormData({ point_id: "p-1", codec: "opus" }, file);
    assertEquals(await new Response(body).bytes(), expected);
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
    const { contentType, body } = encodeMultipart(FIELDS, formFile(bytes), BOUNDARY);
    const url = `http://127.0.0.1:${server.addr.port}`;
    const headers = { "content-type": contentType };
    await (await fetch(url, { method: "POST", body, headers })).body?.cancel();
    const { form, length: said } = await seen.promise;
    assertEquals(Number(said), body.size);
    const { chunk_file: file, ...fields } = Object.fromEntries(form);
    assertEquals(fields, FIELDS);
    assert(file instanceof File);
    const sent = await file.bytes();
    assertEquals([file.name, file.type], ["a.ogg", "audio/ogg"]);
    assert(bytes.every((byte, at) => byte === sent[at]), "other bytes");
    assertEquals(sent.length, length);
  });
}

Deno.test("a large file is read in pieces, a small one in one piece with the fields", async () => {
  const piecesOf = async (length: number) => {
    const { body } = encodeMultipart(FIELDS, formFile(noise(length)), BOUNDARY);
    const lengths: number[] = [];
    for await (const { length } of body.stream()) lengths.push(length);
    return lengths;
  };
  assertEquals((await piecesOf(1_048_576)).length, 1);
  const pieces = await piecesOf(5_000_000);
  assert(Math.max(...pieces) <= 65_536, `pieces ${pieces}`);
});

Deno.test("bodies that have been read leave no memory allocated", async () => {
  const bytes = noise(200_000);
  const readSome = async () => {
    for (let body = 0; body < 1500; body++) {
      await new Response(encodeMultipart(FIELDS, formFile(bytes), BOUNDARY).body).bytes();
    }
    return Deno.memoryUsage().rss;
  };
  // The first 300 MB fill the heap with garbage that V8 soon collects.
  const first = await readSome();
  const grown = (await readSome() - first) / 1e6;
  assert(grown < 100, `${grown} MB of 300 MB`);
});

Deno.test("a boundary that would end the header or the form too early is refused", () => {
  for (const boundary of ["", "a b", 'a"', "a\r\n", "x".repeat(71)]) {
    assertThrows(() => encodeMultipart({}, formFile(noise(1)), boundary), TypeError, "boundary");
  }
});
