// The address of a bucket and the file with its keys: what is accepted, and what is named without showing it.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseListing } from "../../src/receive/s3_answers.ts";
import { parseS3Access, parseS3Place } from "../../src/receive/s3_settings.ts";
import { threadMs } from "../fixtures/thread_time.ts";

Deno.test("an address names a bucket and, if wanted, the beginning of all names in it", () => {
  assertEquals(parseS3Place("s3://rec"), { bucket: "rec", prefix: "" });
  assertEquals(parseS3Place("s3://rec/"), { bucket: "rec", prefix: "" });
  assertEquals(parseS3Place("s3://my.rec-1/a/b_c"), { bucket: "my.rec-1", prefix: "a/b_c/" });
  for (
    const text of [
      "rec",
      "s3:/rec",
      "s3://",
      "s3://R",
      "s3://Rec",
      "s3://a",
      "https://rec/",
      "s3://rec//a",
    ]
      .concat(["s3://rec/a//b", "s3://rec/a b", "s3://rec/../b", "s3://rec/ä", "s3://rec/a?b"])
  ) {
    const { message } = assertThrows(() => parseS3Place(text), Error);
    assertStringIncludes(message, `current value is ${JSON.stringify(text)}`);
  }
});

Deno.test("the file is that of other S3 clients; only its endpoint and region have defaults", () => {
  const keys = "aws_access_key_id=AK\naws_secret_access_key = s/+=\n";
  const access = { accessKeyId: "AK", secretAccessKey: "s/+=", sessionToken: null };
  assertEquals(parseS3Access(keys), {
    ...access,
    ...{ region: "us-east-1", endpoint: "https://s3.us-east-1.amazonaws.com" },
  });
  const more =
    "[default]\r\n# of the shop\n\nregion = garage\r\nendpoint_url = http://[::1]:3900/\n" +
    "aws_session_token = token==\n";
  assertEquals(parseS3Access(more + keys), {
    ...{ ...access, sessionToken: "token==", region: "garage", endpoint: "http://[::1]:3900" },
  });
});

Deno.test("lines that are wrong are named by their numbers, and nothing of them is shown", () => {
  const cases: [string, string][] = [
    ["", "aws_access_key_id is missing"],
    ["aws_access_key_id = s3cret", "aws_secret_access_key is missing"],
    ["s3cret", "line 1 is not one of aws_access_key_id, aws_secret_access_key"],
    ["[s3cret]", "line 1 is not one of"],
    ["aws_access_key_id = s3c ret", "line 1: aws_access_key_id must be an access key"],
    ["region = s3cret!", "line 1: region must be a region such as"],
    ["endpoint_url = s3cret.example", "line 1: endpoint_url must be a URL such as"],
    ["endpoint_url = https://user:s3cret@host", "endpoint_url must be a URL"],
    ["endpoint_url = https://host/s3cret", "endpoint_url must be a URL"],
    ["region = a\nregion = s3cret", "line 2: region is set twice"],
  ];
  for (const [text, words] of cases) {
    const { message } = assertThrows(() => parseS3Access(text), Error);
    assertStringIncludes(message, words);
    assert(!/s3c/.test(message), message);
  }
});

Deno.test("a listing has names, prefixes and its next page, and names that XML escapes", () => {
  assertEquals(parseListing(""), { names: [], prefixes: [], next: null });
  const xml = "<ListBucketResult><Prefix>a/</Prefix><IsTruncated>true</IsTruncated>" +
    "<NextContinuationToken>x&amp;y</NextContinuationToken><Contents><Key>a/&lt;&#39;&#x41;</Key>" +
    "</Contents><CommonPrefixes>\n<Prefix>a/b/</Prefix></CommonPrefixes></ListBucketResult>";
  assertEquals(parseListing(xml), { names: ["a/<'A"], prefixes: ["a/b/"], next: "x&y" });
  const last = xml.replace("true", "false");
  assertEquals(parseListing(last).next, null);
});

Deno.test("no listing takes long", () => {
  for (const piece of ["<CommonPrefixes>", "<CommonPrefixes><Prefix>a", "<Key>", "&#x4", "<"]) {
    const ms = threadMs(() => parseListing(piece.repeat(1_000_000 / piece.length)));
    assert(ms < 2000, `${piece}: ${ms} ms`);
  }
});
