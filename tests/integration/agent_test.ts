// The whole path with real parts: a microphone of PulseAudio, ffmpeg, the program as a process, and an
// Ingest API over TLS.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { AgentProcess, IDS } from "../fixtures/agent_process.ts";
import { decodeToPcm, findLag, makeChirp, opusinfo, sampleRate } from "../fixtures/audio.ts";
import { makeCertificates } from "../fixtures/certificates.ts";
import { IngestServer, type ReceivedChunk } from "../fixtures/ingest_server.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { until } from "../fixtures/temp_spool.ts";

const TOKEN = "a-token-that-is-nowhere-else";

/** A microphone, an Ingest API over TLS, a folder, and a configuration that connects them. */
async function rig(extra: Record<string, string | number> = {}) {
  const dir = await Deno.makeTempDir({ prefix: "agent-test-" });
  const microphone = await PulseMicrophone.start();
  const { caFile, certPem, keyPem } = await makeCertificates(dir);
  const ingest = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
  const spool = join(dir, "spool");
  const tokenFile = join(dir, "token");
  await Deno.writeTextFile(tokenFile, `${TOKEN}\n`);
  const config = {
    ingest_base_url: ingest.url,
    ingest_token_file: tokenFile,
    tls_ca_file: caFile,
    audio_device: microphone.device,
    spool_dir: spool,
    schedule_start: "00:00",
    schedule_end: "00:00",
    retry_min_s: 0.1,
    retry_max_s: 1,
    min_free_gb: 0,
    ...extra,
  };
  return {
    dir,
    microphone,
    ingest,
    spool,
    start: () => AgentProcess.start({ config, env: microphone.env, dir }),
    async [Symbol.asyncDispose]() {
      await ingest[Symbol.asyncDispose]();
      await microphone[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** The decoded samples of chunks, joined in the given order. */
async function joinDecoded(chunks: readonly ReceivedChunk[]): Promise<Float32Array> {
  const parts = [];
  for (const { bytes } of chunks) parts.push(await decodeToPcm(bytes));
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** The problems in /health, without that of a silent microphone: not every test plays sound. */
async function problemCodes(agent: AgentProcess): Promise<string[]> {
  const problems = (await agent.health()).body.problems as { code: string }[];
  return problems.map(({ code }) => code).filter((code) => code !== "microphone_silent");
}

function names(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("the sound of the microphone arrives complete, in order, once, with its time", async () => {
  await using setup = await rig({ chunk_seconds: 2 });
  const { microphone, ingest, spool } = setup;
  const wav = join(setup.dir, "chirp.wav");
  await makeChirp(wav, 14);
  await using agent = await setup.start();
  await agent.said("Recording.");
  const heardFromMs = Date.now();
  const played = microphone.play(wav);
  const health = [];
  for (let i = 0; i < 8; i++) {
    await sleep(1800);
    health.push(await agent.health());
  }
  await played;
  const heardToMs = Date.now();
  assertEquals(await agent.end("SIGTERM"), 0);

  // The server accepted everything, in the order of time, without a violation of the protocol.
  const { chunks } = ingest;
  assert(chunks.length >= 7, `${chunks.length} chunks`);
  assertEquals(ingest.violations, []);
  assertEquals(ingest.duplicates, 0);
  assertEquals(ingest.connections, 1, "one connection is kept alive");
  assertEquals(names(join(spool, "outbox")), []);
  assertEquals(names(join(spool, "recording")), []);
  const uploaded = names(join(spool, "uploaded"));
  assertEquals(uploaded.map((name) => parseChunkName(name)?.key), chunks.map(({ key }) => key));

  // /health kept the contract the whole time.
  for (const { status, body } of health) {
    assertEquals(status, 200);
    assertEquals(body.status, "ok", JSON.stringify(body.problems));
    assertEquals(body.recording, true);
    assertEquals(body.in_schedule, true);
    assertEquals(body.point_id, IDS.point_id);
    for (
      const field of [
        "queue_size",
        "uploaded_total",
        "upload_errors_total",
        "spool_files",
        "spool_bytes",
      ]
    ) assertEquals(typeof body[field], "number", field);
  }
  assert(typeof health.at(-1)?.body.last_upload_ts === "number");

  // Each chunk has its time and its ids, and continues where the previous one ended.
  let endSample = 0;
  let endTs: unknown = null;
  for (const { fields, bytes } of chunks) {
    assertEquals(fields["point_id"], IDS.point_id);
    assertEquals(fields["register_id"], IDS.register_id);
    assertEquals(fields["device_id"], IDS.device_id);
    assertEquals(fields["sample_rate"], "48000");
    const header = readChunkHeader(bytes);
    assertEquals(header?.tags["MICROPHONE"], "usbmic");
    assertEquals(Number(header?.tags["STREAM_SAMPLE"]), endSample);
    endSample += cutToLastPage(bytes)?.samples ?? NaN;
    if (endTs !== null) assertEquals(fields["start_ts"], endTs, "no gap, to the microsecond");
    endTs = fields["end_ts"];
  }
  const [first, last] = [chunks[0], chunks.at(-1)];
  assert(first !== undefined && last !== undefined);
  assert(Number(first.fields["start_ts"]) * 1000 < heardFromMs + 100);
  assert(Number(last.fields["end_ts"]) * 1000 > heardToMs - 300);

  // The joined chunks equal the signal of the microphone: an equal shift everywhere, seams included.
  for (const [index, { bytes }] of chunks.entries()) {
    const file = join(setup.dir, `${index}.ogg`);
    await Deno.writeFile(file, bytes);
    assert(!/WARNING|ERROR/.test(await opusinfo(file)));
  }
  const heard = await joinDecoded(chunks);
  assertEquals(heard.length, endSample);
  const reference = await decodeToPcm(wav);
  const onset = heard.findIndex((sample) => Math.abs(sample) > 0.02);
  const place = { length: 4800, around: onset, reach: 9600 };
  const { lag: shift } = findLag(reference, heard, { ...place, at: 3.3 * sampleRate });
  const lags = [];
  // Skip the first seconds, in which encoder and PulseAudio settle.
  for (let second = 3.3; second <= 12.5; second += 0.5) {
    const window = { ...place, at: Math.round(second * sampleRate), around: shift, reach: 480 };
    const { lag, correlation } = findLag(reference, heard, window);
    assert(correlation > 0.5, `at ${second} s: correlation ${correlation}`);
    lags.push(lag);
  }
  const spread = Math.max(...lags) - Math.min(...lags);
  // 24 kbit/s blurs the position by a few samples; a seam made by ffmpeg would lose 312.
  assert(spread <= 16, `the shift must be equal everywhere: ${lags}`);

  // The log and /health do not contain the token.
  assert(!JSON.stringify(agent.log).includes(TOKEN));
});

/** Seconds of sound in the file that grows in this folder; 0: there is none. */
function secondsIn(recording: string): number {
  try {
    const file = Deno.readFileSync(join(recording, names(recording)[0] ?? "none"));
    return (cutToLastPage(file)?.samples ?? 0) / sampleRate;
  } catch {
    return 0; // it was sealed just now
  }
}

Deno.test("after kill -9 during a chunk a restart delivers the sound that had arrived, and declares the rest", async () => {
  await using setup = await rig({ chunk_seconds: 4 });
  {
    await using killed = await setup.start();
    await killed.said("Recording.");
    await setup.ingest.waitForChunks(1, 60_000);
    // In the middle of a later chunk.
    await until(() => secondsIn(join(setup.spool, "recording")) > 1.5);
    const killedMs = Date.now();
    await killed.end("SIGKILL");
    const [part] = names(join(setup.spool, "recording"));
    assertMatch(part ?? "", /\.part$/);

    await using agent = await setup.start();
    await setup.ingest.waitForChunks(3, 20_000);
    const [before, chunk, next] = setup.ingest.chunks;
    assert(before !== undefined && chunk !== undefined && next !== undefined);
    const lostMs = killedMs - Number(chunk.fields["end_ts"]) * 1000;
    // kill_test.ts holds 1 s; here, sound may have waited for a processor.
    assert(lostMs > 0 && lostMs < 4000, `lost ${lostMs} ms`);
    assert(part?.includes(chunk.key), "the key is that of the start of the chunk");
    const file = join(setup.dir, "recovered.ogg");
    await Deno.writeFile(file, chunk.bytes);
    assert(!/WARNING|ERROR/.test(await opusinfo(file)));
    const seconds = (await decodeToPcm(chunk.bytes)).length / sampleRate;
    const claimed = Number(chunk.fields["end_ts"]) - Number(chunk.fields["start_ts"]);
    assert(Math.abs(seconds - claimed) < 0.001, `${seconds} s of sound, ${claimed} s claimed`);
    assertEquals(chunk.fields["start_ts"], before.fields["end_ts"], "it joins, to the microsecond");

    // The next chunk says what is missing before it, and gaps.jsonl has all of it.
    const tags = readChunkHeader(next.bytes)?.tags ?? {};
    assertEquals(tags["PREVIOUS_CHUNK_ID"], chunk.key);
    assertEquals(tags["GAP_CAUSE"], "program_killed");
    const missingMs = (Number(next.fields["start_ts"]) - Number(chunk.fields["end_ts"])) * 1000;
    assert(Math.abs(Number(tags["GAP_BEFORE_MS"]) - missingMs) <= 1);
    assertEquals(await agent.end("SIGINT"), 0);
    const gaps = (await Deno.readTextFile(join(setup.spool, "gaps.jsonl"))).trim().split("\n")
      .map((line): { ms: number; cause: string; end: string } => JSON.parse(line))
      .filter(({ end }) => Date.parse(end) / 1000 <= Number(next.fields["start_ts"]) + 0.05);
    assertEquals(gaps.slice(-2).map(({ cause }) => cause), ["program_killed", "starting"]);
    const declaredMs = gaps.slice(-2).reduce((sum, { ms }) => sum + ms, 0);
    assert(Math.abs(declaredMs - missingMs) < 50, `${declaredMs} of ${missingMs} ms declared`);
  }
});

Deno.test("a microphone that was lost and returns is recorded again, and the gap is declared", async () => {
  await using setup = await rig({ chunk_seconds: 2 });
  await using agent = await setup.start();
  await agent.said("Recording.");
  await sleep(1500);
  await setup.microphone.unplug();
  const lost = await agent.said("", { from: agent.log.length });
  const from = agent.log.length;
  while (!agent.log.some(({ code }) => String(code).startsWith("microphone_"))) await sleep(50);
  const { body } = await agent.health();
  assertEquals(body.recording, false, JSON.stringify(lost));
  assertEquals(body.status, "degraded");
  await setup.microphone.replug();
  const back = await agent.said("Recording.", { from });
  assert(Number(back["gap_ms"]) > 500 && Number(back["gap_ms"]) < 15_000, `${back["gap_ms"]} ms`);
  const after = (await agent.health()).body;
  assertEquals(after.recording, true);
  assertEquals(await problemCodes(agent), []);
  // A gap is counted when the chunk after it is: "starting" until the first sound, and the loss.
  let books = after;
  for (let i = 0; i < 100 && Number(books.gaps_total) < 2; i++) {
    await sleep(100);
    books = (await agent.health()).body;
  }
  assertEquals(books.gaps_total, 2);
  const ledger = books.ledger as Record<string, number>;
  const sum = (...names: string[]) => names.reduce((sum, name) => sum + (ledger[name] ?? NaN), 0);
  const difference = sum("scheduled_s") - sum("recorded_s", "gaps_s", "open_s");
  assert(Math.abs(difference) < 1e-6, JSON.stringify(ledger));
  assertEquals(ledger["unaccounted_s"], 0, JSON.stringify(ledger));
  const declared = (await Deno.readTextFile(join(setup.spool, "gaps.jsonl"))).trim().split("\n")
    .map((line) => JSON.parse(line));
  assertEquals(declared.length, 2);
  assertEquals(declared[0].cause, "starting");
  assertMatch(declared[1].cause, /^microphone_/);
  // The log has it when the first sound arrives, the file when the delay of that sound is known.
  assert(Math.abs(declared[1].ms - Number(back["gap_ms"])) < 1500, JSON.stringify(declared));
  assertEquals(await agent.end("SIGTERM"), 0);
  const streams = setup.ingest.chunks.map(({ bytes }) => readChunkHeader(bytes)?.tags["STREAM_ID"]);
  assert(new Set(streams).size === 2, "the chunks after the loss belong to another stream");
});

Deno.test("a microphone that offers only stereo is recorded in mono", async () => {
  await using setup = await rig({
    chunk_seconds: 1,
    audio_device: "stereo_only",
    sample_rate: 16000,
  });
  await using agent = await setup.start();
  await setup.ingest.waitForChunks(1, 20_000);
  const [chunk] = setup.ingest.chunks;
  assertEquals(chunk?.fields["sample_rate"], "16000");
  assertEquals(chunk && readChunkHeader(chunk.bytes)?.head.channels, 1);
  assertEquals(await agent.end("SIGTERM"), 0);
});

Deno.test("while the server is unreachable nothing is lost: chunks wait and follow in order", async () => {
  // With more requests in flight, the order of arrival is that of the network.
  await using setup = await rig({ chunk_seconds: 1, upload_concurrency: 1 });
  setup.ingest.goOffline();
  await using agent = await setup.start();
  await agent.said("Chunks wait");
  while (Number((await agent.health()).body.queue_size) < 3) await sleep(200);
  assertEquals((await agent.health()).body.status, "degraded");
  await setup.ingest.goOnline();
  await agent.said("s: upload_failing.");
  await setup.ingest.waitForChunks(4, 20_000);
  assertEquals(await problemCodes(agent), []);
  assertEquals(await agent.end("SIGTERM"), 0);
  const starts = setup.ingest.chunks.map(({ fields }) => Number(fields["start_ts"]));
  assertEquals(starts, starts.toSorted((a, b) => a - b));
});

Deno.test("a second agent on the same spool is refused, and the first continues", async () => {
  await using setup = await rig({ chunk_seconds: 1 });
  await using agent = await setup.start();
  await agent.said("Recording.");
  await using second = await setup.start();
  const refusal = await second.said("is exiting");
  assertMatch(refusal.message, new RegExp(`another recorder-agent .*process ${agent.pid}`));
  await setup.ingest.waitForChunks(1, 20_000);
  assertEquals(await agent.end("SIGTERM"), 0);
});
