// What reads bytes from outside, each with inputs that are valid and what must hold for any damaged one. A
// target that throws has a finding.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { Causes, parseLine } from "../../src/capture/causes.ts";
import { ChannelMeter } from "../../src/capture/channel_meter.ts";
import { LevelMeter } from "../../src/capture/level_meter.ts";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { describeChunk, isChunk, soundAfterDamage } from "../../src/chunk/chunk_record.ts";
import { parseUtc } from "../../src/chunk/chunk_tags.ts";
import { SoundJoiner } from "../../src/chunk/sound_joiner.ts";
import { layOut } from "../../src/chunk/sound_line.ts";
import { applySettings } from "../../src/commands/config_edit.ts";
import { runRequeue } from "../../src/commands/requeue.ts";
import { parseAudioDevice } from "../../src/config/audio_device.ts";
import { parseConfigFile } from "../../src/config/config_file.ts";
import {
  fitsCertificate,
  refuseDamagedCertificates,
  refusePrivateKey,
} from "../../src/config/pem.ts";
import { parseMinute } from "../../src/config/schedule.ts";
import { readChannels } from "../../src/microphone/known_channels.ts";
import { readMicrophones } from "../../src/microphone/last_microphone.ts";
import { BodyFault, BodyReader } from "../../src/system/http_body.ts";
import { failureOf, parseListing } from "../../src/receive/s3_answers.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { announcedSha256, readChunkForm, uuidOf } from "../../src/receive/chunk_form.ts";
import { parseTokens } from "../../src/receive/token_file.ts";
import { recoverRecordings } from "../../src/spool/recovery.ts";
import { restoreHistory } from "../../src/spool/restore_history.ts";
import { readLastGaps } from "../../src/status/gap_log.ts";
import { History } from "../../src/status/history.ts";
import { FLOOR_DBFS } from "../../src/status/levels.ts";
import { systemClock } from "../../src/system/clock.ts";
import { AnswerReader, BadAnswer } from "../../src/system/answer_reader.ts";
import { proxyFor } from "../../src/system/proxy.ts";
import {
  formatChunkName,
  formatPartName,
  parseChunkName,
  parsePartName,
} from "../../src/chunk/chunk_name.ts";
import { OggPageReader } from "../../src/chunk/ogg.ts";
import { OpusStreamReader, parseOpusHead } from "../../src/chunk/opus.ts";
import { ConfigError, loadConfig } from "../../src/config/config.ts";
import { parseEnvironmentFile } from "../../src/config/environment_file.ts";
import { parseSoundSystem, parseUsbSockets } from "../../src/microphone/sound_listing.ts";
import { fromJson, printable, toJson, visible } from "../../src/system/printable.ts";
import { Redactor } from "../../src/system/redact.ts";
import { judge } from "../../src/upload/verdict.ts";
import { boundaryOf, FormFault, MultipartReader } from "../../src/receive/multipart_reader.ts";
import { MAX_HEAD_BYTES, parseHead } from "../../src/system/http_request.ts";
import { HOSTILE, isHarmless } from "../fixtures/hostile_text.ts";
import { makeChunk } from "../fixtures/chunks.ts";
import { makePacket, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";
import { capturedLog, TempSpool } from "../fixtures/temp_spool.ts";

export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  readonly check: (input: Uint8Array) => void | Promise<void>;
  /** It writes files: fewer cases are made of it. */
  readonly isSlow?: boolean;
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

/** A chunk that continues a stream of another one. */
function chunkOf(tags: Readonly<Record<string, string>>): Uint8Array {
  const usual = { STREAM_ID: "a", STREAM_SAMPLE: "960", DEVICE_ID: NAME.key, CHUNK_ID: NAME.key };
  return makeChunk({ ...usual, ...tags }, 48_000, makePacket(60, seededRandom(5)));
}

/** Made for this test: nobody trusts it. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIUNh8/RGYagww73heldi7trUgfi3kwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEZnV6ejAeFw0yNjExMjkxMjU3MjZaFw0zNjExMjYxMjU3MjZa
MA8xDTALBgNVBAMMBGZ1enowWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQDT866
us72urSj2dGxrKf7RvWfUfNYEGAeR6WjwpO3zB+PR2+/lessLSgzXxg7REEcZJpY
efaV3XQfMq2CIk07o1MwUTAdBgNVHQ4EFgQUuISXaU3iQKbFF3++88Q2/1wB1Wkw
HwYDVR0jBBgwFoAUuISXaU3iQKbFF3++88Q2/1wB1WkwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNJADBGAiEA7BgErt5PSCSQtAEQkHVUDyc2MVR1e6WVEWfc
YjtNStwCIQCv9H/mhe8w33hDGw+LKeOx4PiNJYf4vm9kBrkEEyhZZQ==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnQ+fBAgXZTazUpqE
K8w1yCTMbXwTymi9G8L7V3EhJmehRANCAAQDT866us72urSj2dGxrKf7RvWfUfNY
EGAeR6WjwpO3zB+PR2+/lessLSgzXxg7REEcZJpYefaV3XQfMq2CIk07
-----END PRIVATE KEY-----
`;

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
        for (const text of [name, usb?.serial ?? ""]) {
          assert(isHarmless(text) && text.length <= 201, JSON.stringify(text));
        }
      }
    },
  },
  {
    name: "request",
    seeds: texts(
      "GET /health?x HTTP/1.1\r\nHost: localhost:8042\r\nAccept: text/html, */*;q=0.8\r\n\r\n",
      "GET http://localhost:8042/?x HTTP/1.1\r\nHost: a\r\n\r\n",
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
  {
    name: "received chunk",
    seeds: [
      chunkOf({ PREVIOUS_CHUNK_ID: "b", GAP_BEFORE_MS: "0", START: "2026-11-23T08:00:00.25Z" }),
      chunkOf({ STREAM_SAMPLE: "9007199254740991", GAP_BEFORE_MS: "9007199254740991" }),
    ],
    check(input) {
      const name = "20261123T080000.250000Z_60000000us_7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f.ogg";
      const found = describeChunk(name, input);
      if (!isChunk(found)) return;
      const whole = cutToLastPage(input);
      assertEquals(whole?.samples, found.samples);
      const later = { ...found, chunkId: "c", streamSample: found.streamSample + 50_000 };
      const parts = [found, ...soundAfterDamage(found, input)];
      for (const [index, { fileSample = 0, samples }] of parts.entries()) {
        assert(samples > 0);
        const next = parts[index + 1]?.fileSample ?? Infinity;
        assert(next >= fileSample + samples, `${next} ${fileSample} ${samples}`);
      }
      const { items } = layOut([...parts, later]);
      assert(items.length <= 6 * parts.length, `${items.length}`);
      for (const { samples } of items) assert(samples >= 0, `${samples}`);
      const joiner = new SoundJoiner({ serial: 1, vendor: "fuzz", comments: {} });
      const pages = parts.flatMap(({ fileSample = 0, samples }) => {
        const place = { fromSample: fileSample, toSample: fileSample + samples };
        return [...joiner.add(input, { ...place, isJoined: false, continuesPreroll: true })];
      });
      pages.push(...joiner.end());
      const [last] = new OggPageReader().push(pages.at(-1) ?? input);
      const [head] = new OggPageReader().push(pages[0] ?? input);
      assert(last?.kind === "page" && head?.kind === "page");
      const preSkip = parseOpusHead(head.body)?.preSkip ?? 0;
      assertEquals(last.granulePosition - preSkip, joiner.samples);
      assert(pages.reduce((sum, page) => sum + page.length, 0) <= 2 * input.length + 65_536);
    },
  },
  {
    name: "server's bytes",
    seeds: texts(
      'HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{"status":"ok","chunk_id":"c-1"}',
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n" +
        "\r\n5;a=b\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nx: y\r\n\r\n",
      "HTTP/1.0 502 Bad\r\nConnection: close\r\n\r\nuntil the end",
    ),
    check(input) {
      for (const opensTunnel of [false, true]) {
        for (const size of [1, 7, input.length + 1]) {
          const reader = new AnswerReader({ opensTunnel });
          try {
            for (let at = 0; at < input.length && reader.answer === null; at += size) {
              reader.push(input.subarray(at, at + size));
            }
            if (reader.answer === null) reader.end();
          } catch (error) {
            if (!(error instanceof BadAnswer)) throw error;
          }
          const { status = 200, body = "" } = reader.answer ?? {};
          assert(status >= 200 && status <= 999 && body.length <= input.length);
        }
      }
    },
  },
  {
    name: "body",
    seeds: texts(
      "5;a=b\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nx: y\r\n\r\n",
      "ffffffffffffffff\r\nx\r\n",
    ),
    check(input) {
      const head = parseHead(
        encode("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
      );
      if (head.kind !== "request") throw new Error(head.kind);
      const reader = new BodyReader(head.request, 1000);
      let [data, rest] = [0, input];
      try {
        while (!reader.hasEnded) {
          const step = reader.step(rest);
          if (step === null) break;
          data += step.data.length;
          assert(step.used >= 0 && step.used <= rest.length);
          rest = rest.subarray(step.used);
        }
      } catch (error) {
        if (!(error instanceof BodyFault)) throw error;
      }
      assert(data <= Math.min(1000, input.length), `${data} bytes`);
    },
  },
  {
    name: "fields of a form",
    seeds: texts(
      "point_id=7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f\nregister_id=7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f\n" +
        "device_id=7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f\nstart_ts=1795420800.25\n" +
        "end_ts=2026-11-23T08:01:00.123456789Z\ncodec=opus\nsample_rate=48000\nchannels=1\n" +
        "repr-digest=sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n" +
        'content-type=multipart/form-data; boundary="a b"',
    ),
    check(input) {
      const fields = new Map(
        decode(input).split("\n").map((line): [string, string] => {
          const at = line.indexOf("=");
          return [line.slice(0, at), line.slice(at + 1)];
        }),
      );
      try {
        const { startUnixUs, durationUs, deviceId } = readChunkForm(fields);
        assert(Number.isSafeInteger(startUnixUs) && startUnixUs >= 0 && durationUs > 0);
        assertEquals(uuidOf(deviceId), deviceId);
        announcedSha256(fields);
        assert((boundaryOf(fields.get("content-type") ?? "") ?? "").length <= 70);
      } catch (error) {
        if (!(error instanceof FormFault)) throw error;
        assert(isHarmless(error.message) && error.message.length < 300, error.message);
      }
    },
  },
  {
    name: "answers of a store",
    seeds: texts(
      "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x&amp;y" +
        "</NextContinuationToken><Contents><Key>a/&lt;&#39;&#x41;</Key></Contents><CommonPrefixes>" +
        "<Prefix>a/b/</Prefix></CommonPrefixes></ListBucketResult>",
      `<Error><Code>NoSuchKey</Code><Message>${HOSTILE}</Message><Region>${HOSTILE}</Region></Error>`,
      "[default]\naws_access_key_id = a\naws_secret_access_key = s3cret-key\nregion = eu\n" +
        "endpoint_url = https://store.test\n",
    ),
    check(input) {
      const text = decode(input);
      const { names, prefixes } = parseListing(text);
      assertWithin([...names, ...prefixes].map(({ length }) => length), input);
      const facts = { text, headers: new Headers(), bucket: "b", region: "r", nowUnixMs: 0 };
      for (const status of [302, 403, 404, 503]) {
        const { message } = failureOf({ ...facts, status });
        assert(isHarmless(message) && message.length < 600, message);
      }
      try {
        parseS3Access(text);
      } catch (error) {
        const { message } = error as Error;
        assert(isHarmless(message) && !message.includes("s3cret-key"), message);
      }
    },
  },
  {
    name: "tokens",
    seeds: texts(
      "# of the tills\na-token\nb-token 7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f\nc-token page\n",
    ),
    check(input) {
      try {
        for (const { hash } of parseTokens(decode(input))) assertEquals(hash.length, 32);
      } catch (error) {
        const { message } = error as Error;
        assert(/^line \d+ |^it holds no token$/.test(message), message);
        assert(!message.includes("-token"), message);
      }
    },
  },
  {
    name: "lines of ffmpeg",
    seeds: ["5.1", "7.1"].map((version) => read(`tests/fixtures/ffmpeg_lines/${version}.txt`)),
    check(input) {
      const causes = new Causes({ kind: "alsa", pcm: "hw:1,0", channels: 1, sampleRate: 48_000 });
      for (const line of decode(input).split("\n")) {
        const parsed = parseLine(line);
        assert(isHarmless(parsed.text));
        causes.take(parsed);
      }
      const { message } = causes.diagnose(1);
      assert(message.length < 10_000);
    },
  },
  {
    name: "certificates and keys",
    seeds: [encode(CERTIFICATE), encode(CERTIFICATE.repeat(3))],
    check(input) {
      const text = decode(input);
      for (const refusal of [refuseDamagedCertificates(text), refusePrivateKey(text)]) {
        assert(refusal === null || /^holds /.test(refusal));
      }
      fitsCertificate(text, text);
    },
  },
  {
    name: "settings in a configuration",
    seeds: [
      read("config.yaml.example"),
      ...texts('"spool_dir": &a [x]\nspool_dir: |\n  a\n b: *a\n'),
    ],
    check(input) {
      try {
        const text = applySettings(decode(input), new Map([["spool_dir", "/srv/a b"]]));
        const { entries } = parseConfigFile("config.yaml", text, () => true, []);
        const found = entries.get("spool_dir")?.value;
        if (found !== undefined) assertEquals(found, "/srv/a b");
      } catch (error) {
        if (!/^Cannot set spool_dir in /.test(String((error as Error).message))) throw error;
      }
    },
  },
  {
    name: "words of a person",
    seeds: texts("08:00", "usb:1-1.2", "hw:CARD=Mic,DEV=0", "Sun, 06 Nov 1994 08:49:37 GMT", "120"),
    check(input) {
      const text = decode(input);
      const minute = parseMinute(text);
      assert(minute === null || (Number.isInteger(minute) && minute >= 0 && minute < 1440));
      parseAudioDevice(text);
      const utc = parseUtc(text);
      assert(utc === null || Number.isSafeInteger(utc));
      const env = { HTTPS_PROXY: text, NO_PROXY: text };
      try {
        proxyFor(new URL("https://api.example.com"), env);
      } catch (error) {
        assert(
          /^Cannot use the proxy in HTTPS_PROXY as/.test((error as Error).message),
          String(error),
        );
      }
    },
  },
  {
    name: "levels",
    seeds: [Uint8Array.from({ length: 5000 }, (_, at) => at * at)],
    check(input) {
      // Without the mean, a peak is up to twice the full scale.
      const isLevel = (level: number) => level >= FLOOR_DBFS && level <= 6.1;
      const meter = new LevelMeter(8000, ({ peakDbfs, rmsDbfs }) => {
        assert(isLevel(peakDbfs) && isLevel(rmsDbfs), `${peakDbfs} ${rmsDbfs}`);
      });
      const channels = new ChannelMeter(3, 50, (levels) => {
        for (const { peakDbfs, rmsDbfs } of levels.channels) {
          assert(isLevel(peakDbfs) && isLevel(rmsDbfs), `${peakDbfs} ${rmsDbfs}`);
        }
      });
      for (const part of [input.subarray(0, 777), input.subarray(777)]) {
        meter.push(part);
        channels.push(part);
      }
    },
  },
  {
    name: "files of a spool",
    isSlow: true,
    seeds: texts(
      '{"start":"2026-11-23T09:00:00Z","end":"2026-11-23T09:00:01Z","ms":1000,"cause":"x"}\n',
      '[{"microphone":"m","count":2,"channels":[0,1],"reason":"x"}]',
      '{"name":"Mic","usbId":"1:2","serial":"s","standIn":{"name":"Mic","recordedMs":5}}',
      `{"reason":${
        JSON.stringify(HOSTILE)
      },"http_status":422,"rejected_at":"2026-11-23T09:00:00Z"}`,
    ),
    async check(input) {
      await using temp = await TempSpool.open();
      const refused = await temp.store("rejected", NAME);
      const names = ["gaps.jsonl", "channels.json", "microphone.json"];
      for (const name of [...names, `rejected/${refused}.reason.json`]) {
        await Deno.writeFile(join(temp.dir, name), input);
      }
      for (const { end } of await readLastGaps(temp.dir)) assert(Number.isFinite(Date.parse(end)));
      const history = new History(systemClock, "UTC");
      await restoreHistory(history, temp.spool, Infinity);
      for (const { ms } of history.gaps) assert(Number.isFinite(ms));
      await readChannels(temp.dir, "m", 2);
      await readMicrophones(temp.dir);
      let said = "";
      const options = { spoolDir: temp.dir, all: false, wanted: [], dryRun: false };
      await runRequeue({ ...options, print: (text) => said += text });
      assert(isHarmless(said.replaceAll("\n", "")) && said.length < 4000, said);
    },
  },
  {
    name: "recordings that were cut off",
    isSlow: true,
    seeds: [chunkOf({}), stream()],
    async check(input) {
      using captured = capturedLog();
      await using temp = await TempSpool.open();
      const name = formatPartName(NAME);
      await Deno.writeFile(temp.spool.path("recording", name), input);
      const recovered = await recoverRecordings(temp.spool, captured.log);
      assertEquals(temp.files("recording"), []);
      const [chunk] = temp.files("outbox");
      assertEquals(chunk === undefined ? 0 : 1, recovered);
      if (chunk === undefined) return;
      const bytes = await Deno.readFile(temp.spool.path("outbox", chunk));
      const { samples = 0 } = cutToLastPage(bytes) ?? {};
      assertEquals(parseChunkName(chunk)?.durationUs, Math.round(samples * 1e6 / 48_000));
    },
  },
];
