// Faults that change nothing: no test can ever notice them, so none of them is planted. Each was proved by
// reading the code. A fault that is only harmless (a limit that is a little off, a case that is rare) does not
// belong here: docs/testing.md lists those that were left.

import type { Mutant } from "./mutants.ts";

export interface Equivalent {
  /** From the project's root. */
  readonly file: string;
  /**
   * The line with the fault, trimmed. It may be anywhere in the file. Where other lines are the same, the lines
   * before it tell it from them.
   */
  readonly code: string;
  readonly before: string;
  readonly after: string;
  /** Which of the equal faults of this line, from 1; by default the only one. */
  readonly nth?: number;
  /** Why nothing is different. */
  readonly why: string;
}

/** Each group has one reason. */
interface Group {
  readonly why: string;
  readonly faults: readonly (readonly [
    file: string,
    code: string,
    before: string,
    after: string,
    nth?: number,
  ])[];
}

const GROUPS: readonly Group[] = [
  {
    why:
      "the first listing replaces it: in an empty folder the length differs, in any other the number does",
    faults: [[
      "src/spool/folder.ts",
      "readonly tally: Tally = { files: 0, bytes: 0, durationUs: 0 };",
      "0",
      "1",
      3,
    ]],
  },
  {
    why: "it is set before anything reads it: in the constructor, or when a chunk is created",
    faults: [
      ["src/spool/chunk_writer.ts", "#syncIntervalMs = 0;", "0", "1"],
      ["src/spool/chunk_writer.ts", "#pageMs = 0;", "0", "1"],
      ["src/spool/chunk_writer.ts", "#syncedMs = 0;", "0", "1"],
    ],
  },
  {
    why: "the first own change sets it, and only the end of a change reads it",
    faults: [["src/spool/folder_watch.ts", "#ownSinceMs = 0;", "0", "1"]],
  },
  {
    why: "a request sets it before the rounds begin, and only they read it",
    faults: [["src/spool/coalesced_sync.ts", "#isWanted = false;", "false", "true"]],
  },
  {
    why: "a stream's header sets it, and nothing reads it before the header",
    faults: [
      ["src/chunk/opus.ts", "#nextSequence = 0;", "0", "1"],
      ["src/chunk/opus.ts", "#headerPackets = 0;", "0", "1"],
      ["src/chunk/opus.ts", "#position = 0;", "0", "1"],
      ["src/chunk/opus.ts", "#resync = false;", "false", "true"],
      ["src/chunk/sound_joiner.ts", "#preSkip = 0;", "0", "1"],
      ["src/capture/stream_cutter.ts", "#lostSamples = 0;", "0", "1"],
    ],
  },
  {
    why: "without sound, nothing reads the other fields",
    faults: [[
      "src/chunk/chunk_file.ts",
      "const NO_SOUND: WholePart = { samples: 0, sizeBytes: 0, lastPageOffset: 0 };",
      "0",
      "1",
      3,
    ]],
  },
  {
    why: "it is compared from the second page on, and the first page sets it",
    faults: [["src/chunk/chunk_file.ts", "#serial = 0;", "0", "1"]],
  },
  {
    why: "it is set when a chunk opens, and read when that chunk is written or closed",
    faults: [["src/capture/stream_cutter.ts", "#chunkStart = 0;", "0", "1"]],
  },
  {
    why: "all that hold a packet have begun the stream",
    faults: [["src/chunk/sound_joiner.ts", "if (writer === null) return;", "return;", ";"]],
  },
  {
    why:
      "it is read while more than one request may be in flight: the first request has set it by then",
    faults: [
      ["src/upload/send_window.ts", "#connections = 0;", "0", "1"],
      ["src/upload/send_window.ts", "#isConnecting = false;", "false", "true"],
    ],
  },
  {
    why: "only a delivery reads it, and what was delivered was begun, which sets it",
    faults: [["src/upload/uploader.ts", "let isConnecting = false;", "false", "true"]],
  },
  {
    why: "the answer sets it before anybody who waits for the answer reads it",
    faults: [[
      "src/upload/uploader.ts",
      "const attempt = { sizeBytes, outcome, isConnecting, isAnswered: false, tookMs: 0 };",
      "0",
      "1",
    ]],
  },
  {
    why: "only seven parts are read",
    faults: [[
      "src/chunk/chunk_name.ts",
      "const [year, month, day, hour, minute, second, fraction] = match.slice(1, 8).map(Number);",
      "8",
      "9",
    ]],
  },
  {
    why: "the element is always there: the default stands for the type only",
    faults: [
      [
        "src/chunk/chunk_name.ts",
        "const unixMs = Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);",
        "0",
        "1",
        1,
      ],
      [
        "src/chunk/chunk_name.ts",
        "const unixMs = Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);",
        "0",
        "1",
        2,
      ],
      [
        "src/chunk/chunk_name.ts",
        "const unixUs = unixMs * 1000 + (fraction ?? 0);",
        "0",
        "1",
      ],
      [
        "src/chunk/chunker.ts",
        "const surplus = this.#prerollSamples - (this.#preroll[0]?.samples ?? 0);",
        "0",
        "1",
        2,
      ],
      [
        "src/chunk/ogg.ts",
        "const index = ((crc >>> 24) ^ (bytes[i] ?? 0)) & 0xff;",
        "0",
        "1",
      ],
      ["src/chunk/ogg.ts", "crc = (crc << 8) ^ (CRC_TABLE[index] ?? 0);", "0", "1"],
      [
        "src/chunk/ogg.ts",
        "const segmentsEnd = position + HEADER_BYTES + (header[26] ?? 0);",
        "0",
        "1",
      ],
      ["src/chunk/ogg.ts", "flags: header[5] ?? 0,", "0", "1"],
      ["src/chunk/opus.ts", "const samples = (frameSamples ?? 0) * frames;", "0", "1"],
      [
        "src/capture/level_meter.ts",
        "floorDbfs: decibels(Math.sqrt(quietest[Math.floor(bins.length / 10)] ?? 0) / 32768),",
        "0",
        "1",
      ],
      ["src/capture/level_meter.ts", "const sample = samples[at] ?? 0;", "0", "1"],
    ],
  },
  {
    why: "Linux always says the mode",
    faults: [[
      "src/spool/private_folders.ts",
      "const mode = info?.isDirectory ? info.mode ?? 0 : 0;",
      "0",
      "1",
      1,
    ]],
  },
  {
    why: "a file that ends before this byte has no next page either way",
    faults: [[
      "src/chunk/chunk_file.ts",
      "const segmentsEnd = start + 27 + (file[start + 26] ?? 0);",
      "0",
      "1",
    ]],
  },
  {
    why: "a page without this byte has no room for a CRC: that throws either way",
    faults: [[
      "src/chunk/chunk_file.ts",
      "return withFlags(page, (page[5] ?? 0) | END_OF_STREAM);",
      "0",
      "1",
    ]],
  },
  {
    why: "there is no header then, and only a header that has changed is written",
    faults: [[
      "src/capture/stream_cutter.ts",
      "const isChanged = header?.some((byte, at) => byte !== before?.[at]) ?? false;",
      "false",
      "true",
    ]],
  },
  {
    why: "the ninth character of a UUID is a hyphen, at which a number ends",
    faults: [[
      "src/capture/stream_cutter.ts",
      "serial: parseInt(key.slice(0, 8), 16),",
      "8",
      "9",
    ]],
  },
  {
    why: "the case of a dropped chunk follows, and finds no open chunk and nothing kept back",
    faults: [["src/spool/chunk_writer.ts", "this.#part = null;\nreturn;", "return;", ";"]],
  },
  {
    why: "it is the last case, and nothing follows",
    faults: [
      ["src/spool/chunk_writer.ts", "this.#rest = NOTHING;\nreturn;", "return;", ";"],
      [
        "src/receive/multipart_reader.ts",
        "input = input.subarray(input.length);\nused = null;\nbreak;",
        "break;",
        ";",
      ],
    ],
  },
  {
    why: "a seek to where the file is already",
    faults: [
      ["src/spool/part_file.ts", "#isAtEnd = true;", "true", "false"],
      ["src/spool/part_file.ts", "this.#isAtEnd = true;", "true", "false"],
      ["src/spool/part_file.ts", "this.#isAtEnd = true;", "this.#isAtEnd = true;", ";"],
    ],
  },
  {
    why: "the first column is 0, which is added or deducted",
    faults: [[
      "src/spool/name_block.ts",
      "this.#numbers[at + START] = name.startUnixUs;",
      "+",
      "-",
    ]],
  },
  {
    why: "a zero is written to new memory, which is zeros",
    faults: [["src/spool/name_block.ts", "this.#store(new Uint8Array(0));", "0", "1"]],
  },
  {
    why: "behind the end there is no byte that could be equal, and the end is what is returned",
    faults: [
      ["src/chunk/ogg.ts", "for (let at = from; at < buffer.length; at++) {", "<", "<="],
      ["src/chunk/ogg.ts", "matched < 4 && at + matched < buffer.length &&", "<", "<=", 2],
    ],
  },
  {
    why: "the pattern has no fifth byte: no byte of the buffer is equal to it",
    faults: [
      ["src/chunk/ogg.ts", "matched < 4 && at + matched < buffer.length &&", "<", "<=", 1],
      ["src/chunk/ogg.ts", "matched < 4 && at + matched < buffer.length &&", "4", "5"],
    ],
  },
  {
    why: "a microsecond is less than a sample: it is rounded to none",
    faults: [
      [
        "src/chunk/sound_line.ts",
        "const betweenUs = Math.max(0, startUnixUs - endUs);",
        "0",
        "1",
      ],
      [
        "src/chunk/sound_line.ts",
        "const gapSamples = Math.min(samples, toSamples(gapUs ?? (follows ? betweenUs : 0)));",
        "0",
        "1",
      ],
    ],
  },
  {
    why: "this status has been decided above",
    faults: [
      [
        "src/upload/verdict.ts",
        "if (status >= 400 && status < 500 && ![408, 409, 425, 429].includes(status)) {",
        ">=",
        ">",
      ],
      [
        "src/upload/verdict.ts",
        "reason: status < 300 ? `${said}: not an answer of the Ingest API (a captive portal?)` : said,",
        "<",
        "<=",
      ],
    ],
  },
  {
    why: "only the order of the ranks counts",
    faults: [[
      "src/system/connection_life.ts",
      'return this.answers > 0 ? 1 : ["reading", "writing", "working"].indexOf(this.#state) + 2;',
      "2",
      "3",
    ]],
  },
  {
    why: "a line that is only a line feed is malformed two lines below, too",
    faults: [
      [
        "src/system/http_body.ts",
        "if (end < 0 && input.length >= MAX_LINE_BYTES) throw malformed();",
        "<",
        "<=",
      ],
      [
        "src/system/http_body.ts",
        "if (end < 0 && input.length >= MAX_LINE_BYTES) throw malformed();",
        "0",
        "1",
      ],
    ],
  },
  {
    why: "what follows the last boundary is discarded",
    faults: [["src/receive/multipart_reader.ts", "return 2;", "2", "3"]],
  },
  {
    why: "the first byte is the one that was searched for: it is equal",
    faults: [["src/receive/multipart_reader.ts", "let matched = 1;", "1", "0"]],
  },
  {
    why: "without a count, 0 or less is left: it is deleted either way",
    faults: [[
      "src/receive/shares.ts",
      "const left = (this.#counts.get(client) ?? 0) - 1;",
      "0",
      "1",
    ]],
  },
  {
    why: "an address without :: has eight groups, and the first four are read",
    faults: [[
      "src/receive/shares.ts",
      'const missing = after === undefined ? 0 : 8 - groups.length - after.split(":").length;',
      "0",
      "1",
    ]],
  },
  {
    why: "a time that cannot be read has been refused two lines above",
    faults: [["src/receive/chunk_form.ts", ") ?? 0;", "0", "1"]],
  },
  {
    why: "only the first six digits are read",
    faults: [[
      "src/receive/chunk_form.ts",
      'return seconds * 1e6 + Number(fraction.padEnd(6, "0").slice(0, 6));',
      "6",
      "7",
      1,
    ]],
  },
  {
    why: "the texts begin with usb: or name:, so they are neither a PCM nor any device",
    faults: [[
      "src/microphone/microphone_choice.ts",
      'if (wanted === null || wanted.kind === "pcm" || wanted.kind === "any") return false;',
      "||",
      "&&",
      2,
    ]],
  },
];

export const EQUIVALENT: readonly Equivalent[] = GROUPS.flatMap(({ why, faults }) =>
  faults.map(([file, code, before, after, nth]) => ({
    ...{ file, code, before, after, why },
    ...nth === undefined ? {} : { nth },
  }))
);

/** The faults of a file that an entry means: one, if the entry is right. */
export function faultsMeantBy(
  entry: Equivalent,
  source: string,
  mutants: readonly Mutant[],
): Mutant[] {
  const lines = source.split("\n").map((line) => line.trim());
  const height = entry.code.split("\n").length;
  const equal = mutants.filter(({ line, before, after }) =>
    before === entry.before && after === entry.after &&
    lines.slice(line - height, line).join("\n") === entry.code
  );
  if (entry.nth === undefined) return equal;
  return [...Map.groupBy(equal, ({ line }) => line).values()]
    .flatMap((ofLine) => ofLine.slice((entry.nth ?? 1) - 1, entry.nth));
}

/** Those of a file's faults that change nothing. */
export function withoutEffect(
  file: string,
  source: string,
  mutants: readonly Mutant[],
): Set<Mutant> {
  return new Set(
    EQUIVALENT.filter((entry) => entry.file === file)
      .flatMap((entry) => faultsMeantBy(entry, source, mutants)),
  );
}
