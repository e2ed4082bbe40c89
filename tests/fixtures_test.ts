// Proves the fixtures themselves, against the real programs and Deno's own fetch.

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import {
  decodeToPcm,
  ffprobe,
  findLag,
  makeChirp,
  makeSpeech,
  opusinfo,
  sampleRate,
} from "./fixtures/audio.ts";
import { makeCertificates } from "./fixtures/certificates.ts";
import { run } from "./fixtures/command.ts";
import { type Behaviour, IngestServer } from "./fixtures/ingest_server.ts";
import { PulseMicrophone } from "./fixtures/pulse_microphone.ts";

/** A temporary folder that `await using` removes. */
async function temporaryFolder() {
  const path = await Deno.makeTempDir({ prefix: "fixtures-" });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

// ---- audio.ts

Deno.test("makeSpeech() and makeChirp() make 48 kHz mono files of exactly the length asked for", async () => {
  await using folder = await temporaryFolder();
  for (const make of [makeSpeech, makeChirp]) {
    const file = join(folder.path, `${make.name}.wav`);
    await make(file, 3);
    const stream = (await ffprobe(file)).streams[0];
    assertEquals([stream?.codec_name, stream?.sample_rate, stream?.channels], [
      "pcm_s16le",
      "48000",
      1,
    ]);
    const pcm = await decodeToPcm(file);
    assertEquals(pcm.length, 3 * sampleRate);
    assert(pcm.some((sample) => Math.abs(sample) > 0.2), "there is sound");
  }
});

Deno.test("findLag() finds a lost stretch of samples in a chirp that went through Opus", async () => {
  await using folder = await temporaryFolder();
  const [wav, ogg] = [join(folder.path, "chirp.wav"), join(folder.path, "chirp.ogg")];
  await makeChirp(wav, 20);
  const flags = ["-v", "error", "-i", wav, "-c:a", "libopus", "-b:a", "24k", ogg];
  await run("ffmpeg", flags);
  const reference = await decodeToPcm(wav);
  const heard = await decodeToPcm(await Deno.readFile(ogg));
  assertEquals(heard.length, reference.length);

  const at = 13.3 * sampleRate;
  const window = { at, length: 9600, reach: 1500 };
  const whole = findLag(reference, heard, window);
  assertEquals(whole.lag, 0);
  assert(whole.correlation > 0.9, `correlation ${whole.correlation}`);

  const holed = new Float32Array([
    ...heard.subarray(0, at - 400),
    ...heard.subarray(at - 400 + 312),
  ]);
  assertEquals(findLag(reference, holed, window).lag, -312);
});

Deno.test("opusinfo() accepts a sound file and reports a damaged one", async () => {
  await using folder = await temporaryFolder();
  const [wav, ogg, bad] = ["s.wav", "s.ogg", "bad.ogg"].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  await makeSpeech(wav, 2);
  await run("ffmpeg", ["-v", "error", "-i", wav, "-c:a", "libopus", ogg]);
  assertMatch(await opusinfo(ogg), /Playback length: 0m:0[12]/);

  const bytes = await Deno.readFile(ogg);
  await Deno.writeFile(bad, bytes.subarray(0, bytes.length - 700)); // no end-of-stream
  await assertRejects(() => opusinfo(bad), Error, "WARNING");
  await assertRejects(() => decodeToPcm(new Uint8Array(100)), Error);
});

// ---- pulse_microphone.ts

/** Records from an ALSA device of the microphone with real ffmpeg. */
async function record(microphone: PulseMicrophone, args: string[]) {
  const output = await new Deno.Command("ffmpeg", {
    args: [
      ...["-hide_banner", "-nostdin", "-nostats", "-f", "alsa", ...args],
      ...["-f", "f32le", "-ar", "48000", "-ac", "1", "pipe:1"],
    ],
    env: microphone.env,
  }).output();
  return {
    code: output.code,
    stderr: new TextDecoder().decode(output.stderr),
    pcm: new Float32Array(output.stdout.slice(0, output.stdout.length & ~3).buffer),
  };
}

function loudest(pcm: Float32Array): number {
  return pcm.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
}

Deno.test("PulseMicrophone hears exactly what is played to it", async () => {
  await using folder = await temporaryFolder();
  await using microphone = await PulseMicrophone.start();
  const wav = join(folder.path, "chirp.wav");
  await makeChirp(wav, 2);
  const [heard] = await Promise.all([
    record(microphone, ["-channels", "1", "-sample_rate", "48000", "-t", "5", "-i", "usbmic"]),
    delay(500).then(() => microphone.play(wav)),
  ]);
  assertEquals(heard.code, 0, heard.stderr);

  const reference = await decodeToPcm(wav);
  const start = heard.pcm.findIndex((sample) => Math.abs(sample) > 0.01);
  const window = { at: 48000, length: 9600, around: start, reach: 200 };
  const { lag, correlation } = findLag(reference, heard.pcm, window);
  assert(correlation > 0.9999, `correlation ${correlation}`);
  for (const at of [4800, 86400]) { // the same lag everywhere: no sample is missing
    assertEquals(findLag(reference, heard.pcm, { ...window, at }).lag, lag);
  }
});

Deno.test("stereo_only refuses one channel as a stereo microphone does, and delivers two", async () => {
  await using folder = await temporaryFolder();
  await using microphone = await PulseMicrophone.start();
  const wav = join(folder.path, "chirp.wav");
  await makeChirp(wav, 1);
  await using _playing = microphone.playLooped(wav);
  const device = ["-sample_rate", "48000", "-t", "2", "-i", microphone.stereoOnlyDevice];

  const mono = await record(microphone, ["-channels", "1", ...device]);
  assertEquals(mono.code, 1);
  assertStringIncludes(mono.stderr, "cannot set channel count to 1 (Invalid argument)");

  const stereo = await record(microphone, ["-channels", "2", ...device]);
  assertEquals(stereo.code, 0, stereo.stderr);
  assertMatch(stereo.stderr, /Audio: pcm_s16le, 48000 Hz, stereo/);
  assert(loudest(stereo.pcm) > 0.2, "there is sound");
});

Deno.test("a microphone asked for 44100 Hz delivers 44100 Hz", async () => {
  await using microphone = await PulseMicrophone.start();
  const args = ["-channels", "1", "-sample_rate", "44100", "-t", "1", "-i", microphone.device];
  const heard = await record(microphone, args);
  assertEquals(heard.code, 0, heard.stderr);
  assertMatch(heard.stderr, /Audio: pcm_s16le, 44100 Hz, mono/);
});

Deno.test("unplugging a PulseMicrophone ends a recording, and replugging brings it back", async () => {
  await using microphone = await PulseMicrophone.start();
  const device = ["-channels", "1", "-i", microphone.device];
  const recording = record(microphone, device);
  await delay(1000);
  await microphone.unplug();
  assertMatch((await recording).stderr, /Input\/output error|No such device/);
  assertEquals((await record(microphone, device)).code, 1, "it is away");

  await microphone.replug();
  assertEquals((await record(microphone, ["-t", "1", ...device])).code, 0, "it is back");
});

Deno.test("a suspended PulseMicrophone delivers nothing until it is resumed", async () => {
  await using microphone = await PulseMicrophone.start();
  await using recording = new Deno.Command("ffmpeg", {
    args: [
      ...["-v", "quiet", "-nostdin", "-f", "alsa", "-channels", "1", "-i", microphone.device],
      ...["-f", "s16le", "-flush_packets", "1", "pipe:1"],
    ],
    env: microphone.env,
    stdout: "piped",
  }).spawn();
  let bytes = 0;
  const counted = recording.stdout.pipeTo(
    new WritableStream({ write: (data) => void (bytes += data.length) }),
  );
  const bytesWithin = async (ms: number) => {
    const before = bytes;
    await delay(ms);
    return bytes - before;
  };
  while (bytes === 0) await delay(50);
  assert(await bytesWithin(1000) > 48000, "it delivers");
  await microphone.suspend();
  await delay(700); // what was on the way
  assertEquals(await bytesWithin(1000), 0, "it is silent");
  await microphone.resume();
  while (await bytesWithin(50) === 0);
  assert(await bytesWithin(1000) > 48000, "it delivers again");
  recording.kill("SIGKILL");
  await counted;
});

Deno.test("PulseMicrophones run side by side and leave no process and no file behind", async () => {
  const folders: string[] = [];
  {
    await using first = await PulseMicrophone.start();
    await using second = await PulseMicrophone.start();
    folders.push(...[first, second].map(({ env }) => (env.ALSA_CONFIG_PATH ?? "").slice(0, -10)));
    await first.unplug();
    const still = await record(second, ["-channels", "1", "-t", "1", "-i", second.device]);
    assertEquals(still.code, 0, still.stderr);
  }
  for (const folder of folders) {
    await assertRejects(() => Deno.stat(folder), Deno.errors.NotFound);
    const processes = await new Deno.Command("pgrep", { args: ["-f", folder] }).output();
    assertEquals(new TextDecoder().decode(processes.stdout), "");
  }
});

// ---- ingest_server.ts and certificates.ts

const validFields = {
  point_id: "7d0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
  register_id: "8e0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
  device_id: "9f0f2a34-54e2-4c5e-9d0c-1a2b3c4d5e6f",
  start_ts: "1790000000.25",
  end_ts: "1790000060.25",
  codec: "opus",
  sample_rate: "48000",
  channels: "1",
};

interface Upload {
  fields?: Record<string, string>;
  headers?: Record<string, string>;
  method?: string;
  path?: string;
  type?: string;
  bytes?: Uint8Array<ArrayBuffer>;
  client?: Deno.HttpClient;
  signal?: AbortSignal;
}

/** Sends a chunk as the protocol wants it, except for what `upload` says. */
async function send(server: IngestServer, upload: Upload = {}): Promise<Response> {
  const bytes = upload.bytes ?? crypto.getRandomValues(new Uint8Array(5000));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toBase64();
  const body = new FormData();
  for (const [name, value] of Object.entries(upload.fields ?? validFields)) body.set(name, value);
  body.set("chunk_file", new File([bytes], "chunk.ogg", { type: upload.type ?? "audio/ogg" }));
  return await fetch(server.url + (upload.path ?? "/api/v1/chunks"), {
    method: upload.method ?? "POST",
    body,
    redirect: "manual",
    headers: {
      authorization: "Bearer test-token",
      "idempotency-key": crypto.randomUUID(),
      "repr-digest": `sha-256=:${digest}:`,
      ...upload.headers,
    },
    ...(upload.client ? { client: upload.client } : {}),
    ...(upload.signal ? { signal: upload.signal } : {}),
  });
}

Deno.test("IngestServer keeps chunks in order, over one kept-alive connection", async () => {
  await using server = await IngestServer.start();
  using client = Deno.createHttpClient({});
  const bytes = new Uint8Array([1, 2, 3]);
  const arrived = server.waitForChunks(3, 5000);
  for (let i = 0; i < 3; i++) {
    const answer = await (await send(server, { bytes, client })).json();
    assertEquals(answer, { status: "ok", chunk_id: server.chunks[i]?.chunkId });
  }
  await arrived;
  assertEquals(server.chunks[0]?.fields, validFields);
  assertEquals(server.chunks[0]?.bytes, bytes);
  assertEquals(server.chunks[0]?.fileName, "chunk.ogg");
  assertEquals([server.connections, server.violations], [1, []]);
});

Deno.test("IngestServer answers a repeated Idempotency-Key alike and stores it once", async () => {
  await using server = await IngestServer.start();
  const upload = {
    bytes: new Uint8Array([1, 2, 3]),
    headers: { "idempotency-key": crypto.randomUUID() },
  };
  const first = await (await send(server, upload)).json();
  assertEquals(await (await send(server, upload)).json(), first);
  assertEquals([server.chunks.length, server.duplicates], [1, 1]);
  assertEquals(server.chunks[0]?.attempts, 2);

  const other = await send(server, { ...upload, bytes: new Uint8Array([4]) });
  assertEquals([other.status, (await other.json()).status], [400, "error"]);
  assertMatch(server.violations[0] ?? "", /came again with other bytes/);
});

Deno.test("IngestServer records and refuses whatever violates the protocol", async (t) => {
  const without = (name: string) =>
    Object.fromEntries(Object.entries(validFields).filter(([key]) => key !== name));
  const cases: [Upload, number, RegExp][] = [
    [{ path: "/api/v1/chunk" }, 404, /path/],
    [{ path: "/api/v1/chunks?x=1" }, 404, /path/],
    [{ method: "PUT" }, 405, /method is PUT/],
    [{ headers: { authorization: "Bearer wrong" } }, 401, /Authorization/],
    [{ headers: { "idempotency-key": "1" } }, 400, /Idempotency-Key/],
    [{ headers: { "content-type": "application/json" } }, 400, /Content-Type/],
    [{ headers: { "content-type": "multipart/form-data; boundary=x" } }, 400, /multipart|missing/],
    [{ headers: { "repr-digest": "sha-256=:AAAA:" } }, 400, /Repr-Digest/],
    [{ type: "audio/opus" }, 400, /chunk_file's type/],
    [{ fields: { ...validFields, extra: "1" } }, 400, /field extra is unknown/],
    [{ fields: { ...validFields, start_ts: "2026-01-01T00:00:00Z" } }, 400, /start_ts/],
    [{ fields: { ...validFields, end_ts: "1" } }, 400, /not after start_ts/],
    [{ fields: { ...validFields, channels: "2" } }, 400, /channels/],
    [{ fields: { ...validFields, codec: "vorbis" } }, 400, /codec/],
    [{ fields: { ...validFields, device_id: "till 4" } }, 400, /device_id/],
    ...Object.keys(validFields).map((name): [Upload, number, RegExp] => [
      { fields: without(name) },
      400,
      new RegExp(`field ${name} is missing`),
    ]),
  ];
  for (const [upload, status, violation] of cases) {
    await t.step(violation.source, async () => {
      await using server = await IngestServer.start();
      const answer = await send(server, upload);
      await answer.body?.cancel();
      assertEquals(answer.status, status);
      assertEquals(server.violations.length, 1);
      assertMatch(server.violations[0] ?? "", violation);
      assertEquals([server.chunks.length, server.requests[0]?.answer], [0, "violation"]);
    });
  }
});

Deno.test("IngestServer speaks TLS that is trusted through its authority only", async () => {
  await using folder = await temporaryFolder();
  const { caFile, certPem, keyPem } = await makeCertificates(folder.path);
  await using server = await IngestServer.start({ tls: { certPem, keyPem } });
  await assertRejects(() => send(server), TypeError);

  const caCerts = [await Deno.readTextFile(caFile)];
  using client = Deno.createHttpClient({ caCerts });
  assertEquals((await (await send(server, { client })).json()).status, "ok");
  const byName = await fetch(server.url.replace("127.0.0.1", "localhost"), { client });
  assertEquals(byName.status, 404);
  await byName.body?.cancel();
});

Deno.test("IngestServer misbehaves as told, first by script, then by default", async () => {
  await using server = await IngestServer.start({ behaviour: { kind: "html200" } });
  server.script.push(
    { kind: "status", status: 503, headers: { "retry-after": "7" } },
    { kind: "broken-json" },
    { kind: "redirect", location: "https://elsewhere.invalid/" },
    { kind: "slow", ms: 100 },
  );
  const busy = await send(server);
  assertEquals([busy.status, busy.headers.get("retry-after")], [503, "7"]);
  assertEquals(await busy.json(), { status: "error" });
  const broken = await send(server);
  assertEquals(broken.status, 200);
  await assertRejects(() => broken.json(), SyntaxError);
  const redirect = await send(server);
  assertEquals(redirect.headers.get("location"), "https://elsewhere.invalid/");
  await redirect.body?.cancel();
  assertEquals((await (await send(server)).json()).status, "ok");
  assertStringIncludes(await (await send(server)).text(), "<html>");
  assertEquals(server.requests.map(({ answer }) => answer), [
    "status",
    "broken-json",
    "redirect",
    "slow",
    "html200",
  ]);
  assertEquals([server.chunks.length, server.violations], [1, []]);
});

for (const scheme of ["http", "https"] as const) {
  const start = async (folder: string, behaviour: Behaviour) => {
    if (scheme === "http") {
      return { server: await IngestServer.start({ behaviour }), client: Deno.createHttpClient({}) };
    }
    const { caFile, ...tls } = await makeCertificates(folder);
    const caCerts = [await Deno.readTextFile(caFile)];
    return {
      server: await IngestServer.start({ tls, behaviour }),
      client: Deno.createHttpClient({ caCerts }),
    };
  };

  Deno.test(`IngestServer drops connections over ${scheme}, before or after accepting`, async () => {
    await using folder = await temporaryFolder();
    const { server, client } = await start(folder.path, { kind: "ok" });
    await using _server = server;
    using _client = client;
    server.script.push({ kind: "ok" }, { kind: "reset-before-body" }, {
      kind: "accept-then-reset",
    });
    await (await send(server, { client })).body?.cancel();
    await assertRejects(() => send(server, { client }), TypeError);
    assertEquals([server.chunks.length, server.connections], [1, 1]);

    const upload = {
      client,
      bytes: new Uint8Array(300_000),
      headers: { "idempotency-key": crypto.randomUUID() },
    };
    await assertRejects(() => send(server, upload), TypeError);
    assertEquals([server.chunks.length, server.connections], [2, 2]);
    const { chunk_id } = await (await send(server, upload)).json();
    assertEquals(chunk_id, server.chunks[1]?.chunkId);
    assertEquals([server.duplicates, server.connections], [1, 3]);
    assertEquals([server.requests.length, server.violations], [4, []]);
  });

  Deno.test(`IngestServer over ${scheme} drips an answer of which the headers come at once`, async () => {
    await using folder = await temporaryFolder();
    const { server, client } = await start(folder.path, { kind: "drip", bytesPerSecond: 20 });
    await using _server = server;
    using _client = client;
    const answer = await send(server, { client });
    assertEquals(answer.status, 200);
    const started = performance.now();
    const reader = answer.body?.getReader();
    for (let i = 0; i < 5; i++) assertEquals((await reader?.read())?.value?.length, 1);
    assert(performance.now() - started > 150, "slowly");
    await reader?.cancel();
  });

  for (const kind of ["silence", "drip", "slow"] as const) {
    Deno.test(`IngestServer over ${scheme} closes at once during ${kind}`, async () => {
      await using folder = await temporaryFolder();
      const behaviour = { kind, bytesPerSecond: 1, ms: 60_000 };
      const { server, client } = await start(folder.path, behaviour);
      using _client = client;
      const given_up = send(server, { client, signal: AbortSignal.timeout(300) })
        .then((answer) => answer.text());
      await assertRejects(() => given_up);
      const hanging = send(server, { client }).then((answer) => answer.text());
      await server.waitUntil(({ requests }) => requests.length === 2, 5000);
      const started = performance.now();
      await server[Symbol.asyncDispose]();
      assert(performance.now() - started < 500);
      await assertRejects(() => hanging, TypeError);
    });
  }
}

Deno.test("IngestServer can go offline and come back at the same address", async () => {
  await using server = await IngestServer.start();
  await (await send(server)).body?.cancel();
  server.goOffline();
  await assertRejects(() => send(server), TypeError);
  server.goOnline();
  assertEquals((await send(server).then((answer) => answer.json())).status, "ok");
  assertEquals(server.chunks.length, 2);
});

Deno.test("waitForChunks() rejects after its time, saying what there is", async () => {
  await using server = await IngestServer.start();
  await assertRejects(() => server.waitForChunks(1, 50), Error, "there are 0 chunks");
  const waiting = server.waitForChunks(1, 60_000);
  await server[Symbol.asyncDispose]();
  await assertRejects(() => waiting, Error, "Server closed");
});
