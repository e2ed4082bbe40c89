// What a form says about its chunk: both forms of time, exact to the microsecond, and what is refused.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { announcedSha256, parseTimestamp, readChunkForm } from "../../src/receive/chunk_form.ts";
import { FormFault } from "../../src/receive/multipart_reader.ts";
import { formatTimestamp } from "../../src/upload/ingest_client.ts";
import { seededRandom } from "../fixtures/random.ts";

const GOOD = {
  point_id: "7D0F2A34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
  register_id: "8e0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
  device_id: "9f0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
  start_ts: "1795420800.250000",
  end_ts: "2026-11-23T08:01:00.243500Z",
  codec: "opus",
  sample_rate: "48000",
  channels: "1",
};
const read = (changed: Record<string, string> = {}) =>
  readChunkForm(new Map(Object.entries({ ...GOOD, ...changed })));

Deno.test("a form names its chunk: ids in lower case, the times in both forms", () => {
  assertEquals(read(), {
    pointId: "7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
    registerId: "8e0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
    deviceId: "9f0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
    startUnixUs: 1_795_420_800_250_000,
    durationUs: 59_993_500,
  });
});

Deno.test("every microsecond that the agent sends comes back, in both forms", () => {
  const random = seededRandom(3);
  for (let run = 0; run < 2000; run++) {
    const unixUs = Math.floor(random() * 4e15);
    for (const format of ["unix", "iso8601"] as const) {
      assertEquals(parseTimestamp(formatTimestamp(unixUs, format)), unixUs);
    }
  }
});

Deno.test("times are read as long as their microseconds are exact numbers", () => {
  for (const [text, us] of [["9007199253.999999", 9_007_199_253_999_999], ["9007199254", null]]) {
    assertEquals(parseTimestamp(`${text}`), us);
  }
});

Deno.test("times begin with 1970, and what is finer than a microsecond is left out", () => {
  const read: readonly (readonly [text: string, us: number | null])[] = [
    ["0", 0],
    ["0.000001", 1],
    ["1970-01-01T00:00:00Z", 0],
    ["1969-12-31T23:59:59Z", null],
    ["1795420800.1234567", 1_795_420_800_123_456],
    ["1795420800.123456789", 1_795_420_800_123_456],
    ["2026-11-23T08:00:00.000000999Z", 1_795_420_800_000_000],
    ["2026-11-23T08:00:00.25Z", 1_795_420_800_250_000],
  ];
  for (const [text, us] of read) assertEquals(parseTimestamp(text), us, text);
});

Deno.test("a chunk lasts from a microsecond to a day", () => {
  const durations = [
    ["1795420800.250001", 1],
    ["1795507200.250000", 86_400e6],
  ] as const;
  for (const [end_ts, us] of durations) assertEquals(read({ end_ts }).durationUs, us);
  for (const end_ts of ["1795420800.250000", "1795420800.249999", "1795507200.250001"]) {
    assertThrows(() => read({ end_ts }), FormFault, "end_ts must be after start_ts");
  }
});

Deno.test("times that are none are refused, and short ones are read", () => {
  assertEquals(parseTimestamp("1795420800"), 1_795_420_800_000_000);
  assertEquals(parseTimestamp("1795420800.5"), 1_795_420_800_500_000);
  assertEquals(parseTimestamp("2026-11-23T08:00:00+00:00"), 1_795_420_800_000_000);
  for (
    const text of [
      ...["", " 1", "-1", "1e9", "0x10", "NaN", "1.", "1.1234567890", "99999999999"],
      ...[
        "2026-13-01T00:00:00Z",
        "2026-11-23T08:00:00",
        "2026-11-23 08:00:00Z",
        "2026-11-23T25:00:00Z",
      ],
      ...["2026-11-23T08:00:00+01:00", "../../etc"],
    ]
  ) assertEquals(parseTimestamp(text), null, text);
});

Deno.test("a field that is missing or wrong is named, with what is accepted", () => {
  const refused: [Record<string, string>, RegExp][] = [
    [{ point_id: "../../../etc/passwd" }, /^the field point_id must be a UUID: it is "\.\.\//],
    [{ register_id: "" }, /^the field register_id must be a UUID/],
    [{ device_id: `${GOOD.device_id}/..` }, /^the field device_id must be a UUID/],
    [{ start_ts: "yesterday" }, /^the field start_ts must be Unix seconds or ISO 8601/],
    [{ end_ts: GOOD.start_ts }, /^end_ts must be after start_ts/],
    [{ end_ts: "1795600000" }, /^end_ts must be after start_ts, by not more than a day/],
    [{ codec: "mp3" }, /^the field codec must be opus/],
    [{ sample_rate: "44100" }, /^the field sample_rate must be 8000, /],
    [{ channels: "2" }, /^the field channels must be 1/],
  ];
  for (const [changed, message] of refused) {
    const error = assertThrows(() => read(changed), FormFault);
    assert(message.test(error.message), error.message);
  }
  for (const name of Object.keys(GOOD)) {
    const fields = new Map(Object.entries(GOOD));
    fields.delete(name);
    assertThrows(() => readChunkForm(fields), FormFault, `the field ${name} is missing`);
  }
});

Deno.test("a digest is taken from Repr-Digest, else from Digest; one that is malformed is refused", () => {
  const [a, b] = [`${"A".repeat(43)}=`, `${"B".repeat(43)}=`];
  const of = (headers: Record<string, string>) => announcedSha256(new Map(Object.entries(headers)));
  assertEquals(of({}), null);
  assertEquals(of({ "repr-digest": `sha-256=:${a}:`, digest: `SHA-256=${b}` }), a);
  assertEquals(of({ digest: `SHA-256=${b}` }), b);
  assertEquals(of({ "repr-digest": `sha-512=:xyz:, sha-256=:${a}:` }), a);
  assertEquals(of({ "repr-digest": "sha-512=:xyz:" }), null);
  for (const value of ["sha-256=:abc:", `sha-256=${a}`, "sha-256="]) {
    assertThrows(() => of({ "repr-digest": value }), FormFault, "the header repr-digest");
  }
});
