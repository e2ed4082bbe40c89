// What reads bytes from outside, each with inputs that are valid and what must hold for any damaged one. A
// target that throws has a finding.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import {
  formatChunkName,
  formatPartName,
  parseChunkName,
  parsePartName,
} from "../../src/chunk/chunk_name.ts";
import { OggPageReader } from "../../src/chunk/ogg.ts";
import { OpusStreamReader } from "../../src/chunk/opus.ts";
import { ConfigError, loadConfig } from "../../src/config/config.ts";
import { parseEnvironmentFile } from "../../src/config/environment_file.ts";
import { parseSoundSystem, parseUsbSockets } from "../../src/microphone/sound_listing.ts";
import { fromJson, printable, toJson, visible } from "../../src/system/printable.ts";
import { Redactor } from "../../src/system/redact.ts";
import { judge } from "../../src/upload/verdict.ts";
import { FormFault, MultipartReader } from "../../src/receive/multipart_reader.ts";
import { MAX_HEAD_BYTES, parseHead } from "../../src/system/http_request.ts";
import { HOSTILE, isHarmless } from "../fixtures/hostile_text.ts";
import { makePacket, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";

export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  readonly check: (input: Uint8Array) => void;
}

const ROOT = new URL("../../", import.meta.url).pathname;
const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const texts = (...some: string[]) => some.map(encode);
const read = (path: string) => Deno.readFileSync(join(ROOT, path));

const NAME = {
  startUnixUs: Date.UTC(2026, 10, 23, 8) * 1000 + 250_000,
  durationUs: 60_000_000,
  key: "7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
};

/** Sizes of damaged input that a reader makes of its own accord are never larger than the input. */
function assertWithin(sizes: readonly number[], input: Uint8Array): void {
  const sum = sizes.reduce((total, size) => total + size, 0);
  assert(sum <= input.length, `${sum} bytes of ${input.length}`);
}

function stream(): Uint8Array {
  const random = seededRandom(3);
  const packets = Array.from({ length: 40 }, () => makePacket(60, random));
  const pages = makeStreamPages(packets, { perPage: 7 });
  return Uint8Array.from(pages.flatMap((page) => [...page]));
}

const sound = [...Deno.readDirSync(join(ROOT, "tests/fixtures/sound"))]
  .filter(({ name }) => name.endsWith(".txt"))
  .map(({ name }) => read(`tests/fixtures/sound/${name}`));

export const TARGETS: readonly Target[] = [
  {
    name: "ogg",
    seeds: [stream()],
    check(input) {
      const reader = new OggPageReader();
      const found = [...reader.push(input.subarray(0, 700)), ...reader.push(input.subarray(700))];
      assertWithin(found.map((item) => item.kind === "page" ? item.body.length : 0), input);
    },
  },
  {
    name: "opus",
    seeds: [stream()],
    check(input) {
      const reader = new OpusStreamReader();
      const events = [...reader.push(input), ...reader.end()];
      const sizes = events.map((event) => event.kind === "packet" ? event.packet.data.length : 0);
      assertWithin(sizes, input);
    },
  },
  {
    name: "chunk file",
    seeds: [stream()],
    check(input) {
      readChunkHeader(input);
      const cut = cutToLastPage(input);
      if (cut === null) return;
      assertWithin([cut.bytes.length], input);
      if (cut.samples > 0) assertEquals(cutToLastPage(cut.bytes), cut);
    },
  },
  {
    name: "chunk name",
    seeds: texts(
      formatChunkName(NAME),
      formatPartName(NAME),
      formatChunkName({
        ...NAME,
        provisional: { bootId: "0123abcd", startBootUs: 12_345_678, seenUnixS: 1_700_000_000 },
      }),
    ),
    check(input) {
      const text = decode(input);
      const [chunk, part] = [parseChunkName(text), parsePartName(text)];
      if (chunk !== null) assertEquals(formatChunkName(chunk), text);
      if (part !== null) assertEquals(formatPartName(part), text);
    },
  },
  {
    name: "configuration",
    seeds: [read("config.yaml.example")],
    check(input) {
      const readTextFile = (path: string) => {
        if (path === "config.yaml") return decode(input);
        throw new Deno.errors.NotFound(path);
      };
      try {
        loadConfig({ path: "config.yaml", env: {}, readTextFile });
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    },
  },
  {
    name: "environment",
    seeds: [read(".env.example"), ...texts('RA_A="b\\"c"\nRA_D=\'e f\' # g\n\\\n')],
    check(input) {
      const env = parseEnvironmentFile(decode(input));
      try {
        loadConfig({ path: null, env, readTextFile: () => "" });
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    },
  },
  {
    name: "sound listing",
    seeds: sound,
    check(input) {
      const [links = "", ...parts] = decode(input).split(/^==> (.*) <==\n/m);
      const files = new Map<string, string[]>();
      for (let i = 0; i < parts.length; i += 2) {
        files.set(parts[i] ?? "", (parts[i + 1] ?? "").split("\n"));
      }
      const sockets = parseUsbSockets(links.split("\n"));
      for (const { name, usb } of parseSoundSystem(files, sockets).devices) {
        for (const text of [name, usb?.serial ?? "", usb?.bus ?? ""]) {
          assert(isHarmless(text) && text.length <= 201, JSON.stringify(text));
        }
      }
    },
  },
  {
    name: "request",
    seeds: texts(
      "GET /health?x HTTP/1.1\r\nHost: localhost:8042\r\nAccept: text/html, */*;q=0.8\r\n\r\n",
      "POST / HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nabcde",
    ),
    check(input) {
      const head = parseHead(input);
      if (head.kind !== "request") return;
      assert(head.length <= MAX_HEAD_BYTES && head.length <= input.length);
      const { method, path, headers } = head.request;
      assert(isHarmless(method + path) && path.startsWith("/"));
      for (const [name, value] of headers) assert(!/[\r\n\0]/.test(name + value));
    },
  },
  {
    name: "form",
    seeds: texts(
      '--b\r\nContent-Disposition: form-data; name="codec"\r\n\r\nopus\r\n--b\r\n' +
        'Content-Disposition: form-data; name="chunk_file"; filename="x"\r\n\r\nOggS\r\n-\r\n--b--',
    ),
    check(input) {
      const reader = new MultipartReader("b");
      let size = 0;
      try {
        for (const event of reader.push(input)) {
          if (event.kind === "data") size += event.bytes.length;
        }
        reader.end();
      } catch (error) {
        if (!(error instanceof FormFault)) throw error;
      }
      assert(size <= input.length);
    },
  },
  {
    name: "answer",
    seeds: texts(
      '200\n\n{"status":"ok","chunk_id":"c-1"}',
      "503\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT\ndate: Sun, 06 Nov 1994 08:49:30 GMT\n\nno",
      `302\nlocation: https://example/\n\n`,
      `422\nretry-after: 120\n\n{"detail":"Bearer t0ken-that-nobody-may-see ${HOSTILE}"}`,
    ),
    check(input) {
      const [head = "", body = ""] = decode(input).split("\n\n", 2);
      const [status = "", ...lines] = head.split("\n");
      const headers = new Headers();
      for (const line of lines) {
        const at = line.indexOf(":");
        try {
          headers.append(line.slice(0, at), line.slice(at + 1));
        } catch { /* fetch() would not have given it */ }
      }
      const token = "t0ken-that-nobody-may-see";
      const verdict = judge(
        Number.parseInt(status) || 500,
        headers,
        body,
        new Redactor(token).hide,
      );
      const said = "reason" in verdict ? verdict.reason : verdict.chunkId ?? "";
      assert(isHarmless(said) && said.length < 600, JSON.stringify(said));
      assert(!said.includes(token), said);
      if (verdict.kind === "retry") assert(!Number.isNaN(verdict.retryAfterMs ?? 0));
    },
  },
  {
    name: "text",
    seeds: texts(HOSTILE, JSON.stringify({ a: HOSTILE, b: [1, null, "c"] })),
    check(input) {
      const text = decode(input);
      const shown = printable(text, 50);
      assert(isHarmless(shown) && shown.length <= 51);
      assert(isHarmless(visible(text).replaceAll(/[\n\t]/g, "")));
      assert(isHarmless(toJson(text)));
      if (text.length <= 2000) assertEquals(JSON.parse(toJson(text)), text);
      try {
        const value = fromJson(text);
        if (typeof value === "string") assert(isHarmless(value));
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
      }
    },
  },
];
