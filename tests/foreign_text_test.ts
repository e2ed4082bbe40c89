// deno-lint-ignore-file no-console -- a command prints there
// Foreign text on its way through the program: from every place where it enters, through the real code, to
// every place where it is shown. It never commands a terminal, forges a line, or fills /health or the page.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { Ffmpeg } from "../src/capture/ffmpeg.ts";
import { readHealth } from "../src/commands/service.ts";
import { runJoin } from "../src/commands/join.ts";
import { runRequeue } from "../src/commands/requeue.ts";
import { runVerify } from "../src/commands/verify.ts";
import { parseSoundSystem } from "../src/microphone/sound_listing.ts";
import { findAndGrep } from "./fixtures/sound/find_and_grep.ts";
import { readHolders } from "../src/microphone/sound_system.ts";
import { writeReason } from "../src/spool/reason_file.ts";
import { ProblemReport } from "../src/status/problem_report.ts";
import { type Diagnosis, problems } from "../src/status/problems.ts";
import { systemClock } from "../src/system/clock.ts";
import { startLog } from "../src/system/log.ts";
import { visible } from "../src/system/printable.ts";
import { judge } from "../src/upload/verdict.ts";
import { Supervision } from "../src/web/supervision.ts";
import { makeName } from "./fixtures/chunks.ts";
import { withFakePrograms } from "./fixtures/fake_programs.ts";
import { HOSTILE, isHarmless } from "./fixtures/hostile_text.ts";
import { SimulatedTill } from "./fixtures/simulated_till.ts";
import { SimulatedClock } from "./fixtures/simulated_clock.ts";
import { startStatusRig } from "./fixtures/status_rig.ts";
import { TempSpool } from "./fixtures/temp_spool.ts";

/** Longer than anything that may be shown. */
const LONG = `${HOSTILE}${"x".repeat(300_000)}${HOSTILE}`;
const MOST_SHOWN = 2100;

/** What a server says: in its answer, in its id of a chunk, in the address that it redirects to. */
function fromServer(): string[] {
  const verdicts = [
    judge(401, new Headers(), LONG),
    judge(422, new Headers(), JSON.stringify({ detail: LONG })),
    judge(500, new Headers(), LONG),
    judge(
      302,
      new Headers({ location: LONG.replaceAll(/[^\x20-\x7e\x80-\xff]/g, "\x80\x9b") }),
      "",
    ),
    judge(200, new Headers(), JSON.stringify({ status: "ok", chunk_id: LONG })),
  ];
  return verdicts.map((verdict) => "reason" in verdict ? verdict.reason : verdict.chunkId ?? "");
}

/** What a USB device calls itself. */
function fromDevice(): string[] {
  const line = HOSTILE.replaceAll(/[\r\n]/g, "");
  const { cards, devices } = parseSoundSystem(
    new Map([
      ["/proc/asound/cards", [` 1 [Mic            ]: USB-Audio - ${line}`, `   ${LONG}`]],
      ["/proc/asound/pcm", ["01-00: USB Audio : USB Audio : capture 1"]],
      ["/sys/class/sound/card1/device/../serial", [LONG]],
      ["/proc/asound/card1/usbid", [line]],
    ]),
    new Map(),
  );
  const usb = devices[0]?.usb;
  return [devices[0]?.name, cards[0]?.longName, usb?.serial, usb?.vendorProduct]
    .map((text) => text ?? "");
}

/** What the process that holds the microphone calls itself. */
async function fromProcess(dir: string): Promise<string[]> {
  const files = {
    "proc/asound/card1/pcm0c/sub0/status": "owner_pid   : 42\n",
    "proc/42/status": "Tgid:\t42\n",
    "proc/42/comm": HOSTILE,
    "proc/42/cgroup": "0::/\n",
  };
  for (const [path, text] of Object.entries(files)) {
    await Deno.mkdir(join(dir, path, ".."), { recursive: true });
    await Deno.writeTextFile(join(dir, path), text);
  }
  const holders = await readHolders(null, { root: dir, run: findAndGrep });
  return [problems.busy("a", holders).message];
}

/** What ffmpeg writes, for instance the name of a device. */
async function fromFfmpeg(dir: string): Promise<string[]> {
  const path = join(dir, "said");
  await Deno.writeTextFile(path, `[alsa @ 0x1] [error] ${HOSTILE}\n[error] ${LONG}\n`);
  const said: string[] = [];
  await withFakePrograms({ ffmpeg: `cat ${path} >&2` }, async () => {
    const options = { sampleRate: 48000, bitrateKbps: 24, socketDir: null };
    const ffmpeg = Ffmpeg.start(
      { kind: "lavfi", graph: "a" },
      options,
      (_, text) => said.push(text),
    );
    for await (const _ of ffmpeg.sound());
    said.push((await ffmpeg.ended).message);
  });
  return said;
}

/** What another program says that has taken the port of the health server. */
async function fromPort(): Promise<string[]> {
  const body = JSON.stringify({
    status: "error",
    microphone: HOSTILE,
    problems: [{ code: HOSTILE, message: LONG.slice(0, 100_000) }],
  });
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response(body),
  );
  const health = await readHealth(server.addr.port);
  const [problem] = Array.isArray(health?.problems) ? health.problems : [];
  return [String(health?.microphone), problem.code, problem.message];
}

/** What is in the spool: names of files, and files with reasons. */
async function fromSpool(): Promise<string[]> {
  await using temp = await TempSpool.open();
  const name = HOSTILE.replaceAll(/[\0/]/g, "");
  await Deno.writeTextFile(join(temp.dir, "rejected", name), "");
  const rejected = async (number: number) =>
    join(temp.dir, "rejected", await temp.store("rejected", makeName(number)));
  await writeReason(await rejected(1), { reason: LONG, rejected_at: LONG });
  await Deno.writeTextFile(
    `${await rejected(2)}.reason.json`,
    JSON.stringify({ reason: HOSTILE, rejected_at: HOSTILE }),
  );
  const printed: string[] = [];
  const print = (text: string) => printed.push(text);
  const options = { spoolDir: temp.dir, all: false, wanted: [], dryRun: false, print };
  assertEquals(await runRequeue(options), 0);
  return printed.flatMap((text) => text.split("\n"));
}

/** The lines of the log, and /health, the page, /metrics and the status line, with this problem. */
async function show(diagnosis: Diagnosis) {
  await using rig = startStatusRig({ clock: new SimulatedClock(0) });
  const lines: string[] = [];
  const write = (bytes: Uint8Array) => lines.push(new TextDecoder().decode(bytes));
  const log = startLog({ level: "DEBUG", journal: false, write });
  rig.status.recording(diagnosis.message);
  new ProblemReport({ ...rig, log }).set(diagnosis);
  log.info("{text}", { text: diagnosis.message, list: [diagnosis.message] });
  const read = async (path: string, accept: string) =>
    await (await fetch(rig.url + path, { headers: { accept } })).text();
  const told: string[] = [];
  const stop = new AbortController();
  const supervision = new Supervision({
    timeZone: "UTC",
    notifier: { send: (text) => Promise.resolve(told.push(text) > 0) },
  }, systemClock);
  stop.abort();
  const telling = new AbortController();
  const running = supervision.run(() => rig.view().report, telling.signal, stop.signal);
  telling.abort();
  await running;
  return {
    log: lines.map((line) => line.trimEnd()),
    health: await read("health", "*/*"),
    page: await read("", "text/html"),
    metrics: await read("metrics", "*/*"),
    status: told.join("").replaceAll("\n", " "),
  };
}

Deno.test("no foreign text enters that is not printable and bounded", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const sources = {
      server: fromServer(),
      device: fromDevice(),
      process: await fromProcess(dir),
      ffmpeg: await fromFfmpeg(dir),
      port: await fromPort(),
      spool: await fromSpool(),
    };
    for (const [source, texts] of Object.entries(sources)) {
      assert(texts.join("").includes("\uFFFD"), `${source}: nothing hostile came in`);
      for (const text of texts) {
        assert(isHarmless(text), `${source}: ${JSON.stringify(text.slice(0, 200))}`);
        assert(text.length < MOST_SHOWN, `${source}: ${text.length}`);
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("foreign text that came in all the same is shown nowhere as it is", async () => {
  const shown = await show({ code: "upload_failing", message: LONG, fix: HOSTILE });
  assert(shown.log.length >= 2);
  for (const line of shown.log) {
    assert(isHarmless(line), line.slice(0, 300));
    assert(line.length < 4 * MOST_SHOWN);
    JSON.parse(line);
  }
  for (const [exit, text] of Object.entries({ ...shown, log: "" })) {
    assert(isHarmless(text.replaceAll(/[\n\t]/g, "")), exit);
    assert(text.length < 100_000, `${exit}: ${text.length}`);
  }
  assert(!shown.page.includes("<b onclick"));
  assert(isHarmless(visible(HOSTILE).replaceAll("\n", "")));
});

Deno.test("join and verify show the names of files, and no terminal obeys them", async () => {
  const dir = await Deno.makeTempDir({ prefix: "foreign-names-" });
  const hostile = HOSTILE.replaceAll(/[\0/]/g, "");
  const said: string[] = [];
  const log = console.log;
  console.log = (text: string) => said.push(text);
  try {
    const till = new SimulatedTill();
    till.start();
    till.hear(6);
    till.stop();
    await till.deliver(dir);
    await Deno.writeTextFile(join(dir, `${hostile}.ogg`), "not Ogg");
    const [at, missing] = [{ device: undefined, zone: "UTC" }, [join(dir, hostile)]];
    const cut = { ...at, from: undefined, to: undefined, gaps: "silence" as const };
    for (const json of [false, true]) await runVerify({ ...at, paths: [dir], json });
    await runVerify({ ...at, paths: missing, json: false });
    await runJoin({ ...cut, paths: [dir], output: join(dir, "out.ogg") });
    await runJoin({ ...cut, paths: missing, output: join(dir, "out.ogg") });
    assertEquals(said.filter((text) => text.includes("owned")).length, 5, said.join("\n"));
    for (const text of said) assert(isHarmless(text.replaceAll("\n", "")), JSON.stringify(text));
  } finally {
    console.log = log;
    await Deno.remove(dir, { recursive: true });
  }
});
