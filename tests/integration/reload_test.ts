// Settings that change while the program runs, with a real microphone, ffmpeg, program and server.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { exists } from "../../src/system/disk.ts";
import { decodeToPcm, findLag, makeChirp, sampleRate } from "../fixtures/audio.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { FakeServiceManager } from "../fixtures/notify_socket.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";

const TOKEN = "a-token-that-is-nowhere-else";
const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const OTHER_ID = "44444444-4444-4444-8444-444444444444";

async function rig() {
  const dir = await Deno.makeTempDir({ prefix: "reload-" });
  const microphone = await PulseMicrophone.start();
  const ingest = await IngestServer.start({ token: TOKEN });
  const config = {
    ingest_base_url: "http://127.0.0.1:9", // nobody listens there
    ingest_token: TOKEN,
    audio_device: microphone.device,
    spool_dir: join(dir, "spool"),
    schedule_start: "00:00",
    schedule_end: "00:00",
    chunk_seconds: 2,
    retry_min_s: 0.1,
    retry_max_s: 600,
    min_free_gb: 0,
  };
  return {
    dir,
    microphone,
    ingest,
    config,
    async [Symbol.asyncDispose]() {
      await ingest[Symbol.asyncDispose]();
      await microphone[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

const EMPTY = new Uint8Array();

async function problemsOf(agent: AgentProcess) {
  const { problems } = (await agent.health()).body as {
    problems: { code: string; message: string }[];
  };
  return problems.filter(({ code }) => code !== "microphone_silent");
}

Deno.test("settings that promise it change without losing a sample; others cost a declared gap", async () => {
  await using setup = await rig();
  const { config, ingest, microphone, dir } = setup;
  const wav = join(dir, "chirp.wav");
  await makeChirp(wav, 12);
  await using agent = await AgentProcess.start({ config, dir, env: microphone.env });
  await agent.said("Recording.");
  const played = microphone.play(wav);
  await agent.said("Chunks wait because delivery fails");

  // A wrong file changes nothing, and is a problem until it is corrected.
  await agent.reload({ ...config, ingest_base_url: ingest.url, chunk_seconds: 0 });
  await agent.said("The configuration is wrong");
  const [wrong] = (await problemsOf(agent)).filter(({ code }) => code === "config_not_applied");
  assertMatch(wrong?.message ?? "", /config\.yaml:\d+:\d+: chunk_seconds: 0 /);
  assertEquals(ingest.chunks.length, 0);

  // Delivery is replaced while recording continues: the long wait for the old server ends at once.
  const good = {
    ...config,
    ...{ ingest_base_url: ingest.url, retry_max_s: 1, chunk_seconds: 3, sync_interval_s: 2 },
    ...{ device_id: OTHER_ID, max_spool_days: 3, keep_delivered_days: 0, upload_concurrency: 2 },
  };
  await agent.reload(good);
  await agent.said("The configuration was read again.");
  await ingest.waitForChunks(5, 30_000);
  assertEquals(await problemsOf(agent), []);
  assertEquals((await agent.health()).body.device_id, OTHER_ID);
  await played;
  const before = [...ingest.chunks];

  // The microphone is opened again: the chunk ends early, and the gap is declared with its cause.
  const from = agent.log.length;
  await agent.reload({ ...good, gain_db: 6, health_port: 1 });
  await agent.said("Recording.", { from });
  await agent.said("Sound is missing.", { from });
  assertEquals((await problemsOf(agent)).map(({ code }) => code), ["restart_needed"]);
  await ingest.waitForChunks(before.length + 2, 30_000);
  assertEquals(await agent.end("SIGTERM"), 0);

  // One stream up to there, in which each chunk begins with the sample after the one before it.
  let endSample = 0;
  const streams = new Set<string>();
  for (const { bytes } of before) {
    const tags = readChunkHeader(bytes)?.tags ?? {};
    streams.add(tags["STREAM_ID"] ?? "");
    assertEquals(Number(tags["STREAM_SAMPLE"]), endSample);
    endSample += cutToLastPage(bytes)?.samples ?? NaN;
  }
  assertEquals(streams.size, 1);
  const ids = before.map(({ bytes }) => readChunkHeader(bytes)?.tags["DEVICE_ID"]);
  assertEquals(new Set(ids).size, 2);
  assertEquals(ids, ids.toSorted(), "with the next chunk");
  assertEquals(before.map(({ fields }) => fields["device_id"]), ids);

  // The decoded sound equals what was played, with one shift on both sides of the changes.
  const parts = await Promise.all(before.map(({ bytes }) => decodeToPcm(bytes)));
  const heard = new Float32Array(endSample);
  let at = 0;
  for (const part of parts) {
    heard.set(part, at);
    at += part.length;
  }
  assertEquals(at, endSample);
  const reference = await decodeToPcm(wav);
  const onset = heard.findIndex((sample) => Math.abs(sample) > 0.02);
  const place = { length: 4800, around: onset, reach: 9600 };
  const { lag: shift } = findLag(reference, heard, { ...place, at: 3.3 * sampleRate });
  // Around the changes only: on a busy machine PulseAudio itself may lose some milliseconds elsewhere.
  const isOther = ids.findIndex((id) => id === OTHER_ID);
  const changedAt = Number(readChunkHeader(before[isOther]?.bytes ?? EMPTY)?.tags["STREAM_SAMPLE"]);
  const lags = [];
  for (let second = 3.3; second <= 10.5; second += 0.25) {
    const at = Math.round(second * sampleRate);
    if (Math.abs(at + shift - changedAt) > 3 * sampleRate) continue;
    const window = { ...place, at, around: shift, reach: 960 };
    lags.push(findLag(reference, heard, window).lag);
  }
  assert(lags.length >= 8, `there must be sound on both sides: ${lags}`);
  assert(Math.max(...lags) - Math.min(...lags) <= 16, `the shift must be equal: ${lags}`);

  const gaps = (await Deno.readTextFile(join(config.spool_dir, "gaps.jsonl"))).trim().split("\n")
    .map((line) => JSON.parse(line)).filter(({ cause }) => cause === "settings_changed");
  assertEquals(gaps.length, 1);
  assert(gaps[0].ms < 3000, `${gaps[0].ms} ms`);
  const causes = ingest.chunks.map(({ bytes }) => readChunkHeader(bytes)?.tags["GAP_CAUSE"]);
  assertEquals(causes.filter((cause) => cause === "settings_changed").length, 1);
  assert(!JSON.stringify(agent.log).includes(TOKEN));
});

Deno.test("a start with a wrong file uses the settings that worked last, until the file is corrected", async () => {
  const dir = await Deno.makeTempDir({ prefix: "last-good-" });
  try {
    await using manager = await FakeServiceManager.start();
    const env = {
      NOTIFY_SOCKET: manager.path,
      RUNTIME_DIRECTORY: manager.runtimeDir,
      STATE_DIRECTORY: dir,
    };
    // Not now, so that no microphone is needed.
    const hour = new Date().getHours();
    const time = (hours: number) => `${String((hour + hours) % 24).padStart(2, "0")}:00`;
    const config = {
      ingest_base_url: "https://ingest.example.com",
      ingest_token: TOKEN,
      spool_dir: join(dir, "spool"),
      schedule_start: time(6),
      schedule_end: time(8),
    };
    {
      await using agent = await AgentProcess.start({ config, dir, env });
      await manager.told("READY", "1");
      await until(() => exists(join(dir, "last_good_config.json")));
      assertEquals(await agent.end("SIGTERM"), 0);
    }
    const wrong = { ...config, schedule_start: "25:00", ingest_base_url: "nonsense" };
    await using agent = await AgentProcess.start({ config: wrong, dir, env });
    const { body } = await agent.health();
    assertEquals((await problemsOf(agent)).map(({ code }) => code), ["config_not_applied"]);
    assertMatch(JSON.stringify(body.problems), /worked last are in force.*nonsense.*25:00/);
    await agent.reload({ ...config, schedule_start: time(5) });
    await agent.said("The configuration was read again.");
    assertEquals(await problemsOf(agent), []);
    await until(async () =>
      JSON.parse(await Deno.readTextFile(join(dir, "last_good_config.json"))).schedule_start ===
        (hour + 5) % 24 * 60
    );
    assertEquals(await agent.end("SIGTERM"), 0);
    assert(!JSON.stringify(agent.log).includes(TOKEN));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a command pauses the recording over a restart, another one resumes it, and the gap is declared", async () => {
  await using setup = await rig();
  const { config, dir, microphone } = setup;
  const command = async (...words: string[]) => {
    const path = join(dir, "config.yaml");
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", MAIN, ...words, "-c", path],
    }).output();
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  };
  {
    await using agent = await AgentProcess.start({ config, dir, env: microphone.env });
    await agent.said("Recording.");
    const { code, text } = await command("pause", "15m");
    assertEquals(code, 0, text);
    assertMatch(text, /^Recording is paused until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n$/);
    await until(async () => (await agent.health()).body.recording === false);
    assert((await problemsOf(agent)).some(({ code }) => code === "recording_paused"));
    assertEquals(await agent.end("SIGTERM"), 0);
  }
  const { code, text } = await command("resume");
  assertEquals(code, 1);
  assertMatch(text, /the service does not run/);
  await using agent = await AgentProcess.start({ config, dir, env: microphone.env });
  const { body, status } = await agent.health();
  assertEquals([body.recording, body.status, status], [false, "degraded", 200]);
  assert((await problemsOf(agent)).some(({ code }) => code === "recording_paused"));
  assertEquals(await command("resume"), { code: 0, text: "Recording resumes\n" });
  await agent.said("Recording.");
  await agent.said("Recorded.");
  assertEquals(await agent.end("SIGTERM"), 0);
  const causes = (await Deno.readTextFile(join(config.spool_dir, "gaps.jsonl"))).trim().split("\n")
    .map((line) => JSON.parse(line).cause);
  assert(causes.filter((cause) => cause === "paused").length >= 2, causes.join());
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!await condition()) {
    assert(performance.now() < endMs);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
