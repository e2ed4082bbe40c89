// `recorder-agent check` as a person runs it: on a machine with six defects, and on one on which
// everything that can work here works.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { checkFiles } from "../../src/commands/check_machine.ts";
import { loadConfig } from "../../src/config/config.ts";
import { DEFAULT_CONFIG_PATH } from "../../src/config/places.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { makeCertificates } from "../fixtures/certificates.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
/** The same with fake programs. */
const MAIN_WITH_PROGRAMS = new URL("../fixtures/main_with_programs.ts", import.meta.url).pathname;
const TOKEN = "a-token-that-is-nowhere-else";

interface Finding {
  name: string;
  verdict: string;
  message: string;
  fix: string | null;
  because: string | null;
}

/** Runs the command with this configuration; returns exit code and text, and asserts that the token is hidden. */
async function check(
  dir: string,
  config: Record<string, string | number>,
  options: { args?: string[]; env?: Record<string, string>; programs?: string } = {},
): Promise<{ code: number; text: string }> {
  const path = join(dir, "config.yaml");
  const entries = Object.entries({ ...IDS, health_port: 1, ...config });
  await Deno.writeTextFile(path, entries.map(([k, v]) => `${k}: ${JSON.stringify(v)}\n`).join(""), {
    mode: 0o640,
  });
  const main = options.programs === undefined ? MAIN : MAIN_WITH_PROGRAMS;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", main, "check", "-c", path, ...options.args ?? []],
    env: { ...options.env, TEST_PROGRAMS: options.programs ?? "" },
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(new TextDecoder().decode(stderr), "");
  assert(!text.includes(TOKEN), "the token is shown");
  return { code, text };
}

/** A folder with programs that replace those of the system. */
async function makePrograms(dir: string, programs: Record<string, string>): Promise<string> {
  const bin = join(dir, "bin");
  await Deno.mkdir(bin);
  for (const [name, script] of Object.entries(programs)) {
    await Deno.writeTextFile(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return bin;
}

Deno.test("check names six defects, each with its fix", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  const { caFile, certPem, keyPem } = await makeCertificates(dir);
  await using ingest = await IngestServer.start({ tls: { certPem, keyPem }, token: "another" });
  try {
    await Deno.writeTextFile(join(dir, "a-file"), "in the way");
    const programs = await makePrograms(dir, {
      ffmpeg: "echo ' V..... libx264 H.264'",
      vcgencmd: "echo throttled=0x50001",
    });
    const config = {
      ingest_base_url: ingest.url,
      ingest_token: TOKEN,
      audio_device: "usb:9-9",
      spool_dir: join(dir, "a-file"),
    };
    const planted: [string, RegExp, RegExp][] = [
      ["ffmpeg", /no libopus/, /apt-get install --yes ffmpeg/],
      ["microphone", /usb:9-9|no sound cards/, /recorder-agent devices|plug|audio_device/i],
      ["user", /no user recorder-agent/, /recorder-agent install/],
      ["spool", /a-file cannot be written/, /folder that recorder-agent owns/],
      ["tls", /authority that is not trusted/, /tls_ca_file/],
      ["power", /voltage is too low/, /power supply/],
    ];
    const { code, text } = await check(dir, config, { programs, args: ["--json"] });
    assertEquals(code, 1);
    const report: { ok: boolean; checks: Finding[] } = JSON.parse(text);
    assertEquals(report.ok, false);
    for (const [name, message, fix] of planted) {
      const found = report.checks.find((finding) =>
        finding.name === name && finding.verdict === "failed"
      );
      assert(found !== undefined, `${name} is not named: ${text}`);
      assertMatch(found.message, message);
      assertMatch(found.fix ?? "", fix);
    }

    // With the CA the certificate is valid; then the token is wrong.
    const trusted = await check(dir, { ...config, tls_ca_file: caFile }, { programs });
    assertEquals(trusted.code, 1);
    assertMatch(trusted.text, /✔ tls/);
    assertMatch(
      trusted.text,
      /✘ token +is not accepted: the server answers 401[^\n]*\n +→ Compare/,
    );
    assertMatch(trusted.text, /\n\d failed: fix these first\.\n$/);
    assertEquals(ingest.chunks.length, 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("check hears the microphone, finds the server, and makes a chunk only on request", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  const { caFile, certPem, keyPem } = await makeCertificates(dir);
  await using ingest = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
  await using microphone = await PulseMicrophone.start();
  try {
    await Deno.mkdir(join(dir, "spool"));
    const config = {
      ingest_base_url: ingest.url,
      ingest_token: TOKEN,
      tls_ca_file: caFile,
      audio_device: microphone.device,
      spool_dir: join(dir, "spool"),
      min_free_gb: 0,
    };
    const { text } = await check(dir, config, { env: microphone.env });
    for (
      const name of [
        ...["configuration", "ffmpeg", "microphone", "spool"],
        ...["connection", "tls", "api", "token", "size"],
      ]
    ) {
      assertMatch(text, new RegExp(`^✔ ${name}`, "m"));
    }
    // No sound is played to the microphone.
    assertMatch(text, /^! level +The microphone delivers only silence/m);
    assertEquals(ingest.chunks.length, 0);
    assertEquals([...Deno.readDirSync(join(dir, "spool"))], []);

    const sent = await check(dir, config, { env: microphone.env, args: ["--send-test-chunk"] });
    assertMatch(sent.text, /✔ test chunk +a second of silence was delivered/);
    assertEquals(ingest.chunks.length, 1);
    assertEquals(ingest.chunks[0]?.fields.point_id, IDS.point_id);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("check does not wait for an ffmpeg that cannot be killed", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  try {
    // Imitates an ffmpeg that is blocked by a driver: no signal reaches it.
    const programs = await makePrograms(dir, {
      ffmpeg: 'case "$*" in *-encoders*) exec /usr/bin/ffmpeg "$@";; esac; exec sleep 40',
      kill: "",
    });
    const config = {
      ingest_base_url: "http://127.0.0.1:1",
      ingest_token: TOKEN,
      audio_device: "x",
    };
    const { text } = await check(dir, config, { programs });
    assertMatch(text, /✘ level +ffmpeg \(process \d+\) was killed but does not end/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("check reports a service that records another microphone than the configuration names", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  let recorded = "usbmic";
  await using service = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => Response.json({ recording: true, microphone: recorded }),
  );
  try {
    const config = {
      ingest_base_url: "http://127.0.0.1:1",
      ingest_token: TOKEN,
      audio_device: "usbmic",
      health_port: service.addr.port,
    };
    const good = await check(dir, config);
    assertMatch(good.text, /✔ level +the service is recording it/);
    recorded = "HD Webcam";
    const other = await check(dir, config);
    assertMatch(other.text, /! level +the service records another microphone: HD Webcam/);
    assertMatch(other.text, /→ Restart it/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** The report of `check --json`, and its exit code. */
async function report(
  dir: string,
  config: Record<string, string | number>,
  options: { args?: string[] } = {},
): Promise<{ code: number; ok: boolean; checks: Finding[] }> {
  const { code, text } = await check(dir, config, { args: ["--json", ...options.args ?? []] });
  return { code, ...JSON.parse(text) };
}

const SERVER = ["dns", "connection", "tls", "api", "token", "size", "test chunk"];

/** The names of the checks that were skipped for this cause. */
function skippedFor(checks: readonly Finding[], cause: string): string[] {
  return checks.filter(({ because }) => because === cause).map(({ name, verdict }) => {
    assertEquals(verdict, "skipped", name);
    return name;
  });
}

Deno.test("check reports a wrong configuration once, and still makes the other checks", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  try {
    const config = { chunk_second: 5, ingest_token: TOKEN };
    const { code, text } = await check(dir, config);
    assertEquals(code, 1);
    assertMatch(text, /^✘ configuration .*ingest_base_url: is missing/m);
    assertMatch(text, /^✘ configuration .*did you mean chunk_seconds/m);
    assertMatch(
      text,
      /^– not checked +[^\n]*spool, dns, connection, tls, api, token, size: fix configuration first$/m,
    );
    assertMatch(text, /^✔ ffmpeg/m);
    const { checks } = await report(dir, config);
    const skipped = skippedFor(checks, "configuration");
    for (const name of ["spool", "dns", "connection", "tls", "api", "token", "size"]) {
      assert(skipped.includes(name), name);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("check reports a cause once; the checks that depend on it are skipped, with its name", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  const usual = { ingest_token: TOKEN, audio_device: "usb:9-9", spool_dir: dir };
  const server = (checks: readonly Finding[]) =>
    checks.filter(({ name }) => SERVER.includes(name))
      .map(({ name, verdict, because }) => [name, verdict, because].join(" ").trim());
  try {
    const { code, checks } = await report(dir, {
      ...usual,
      ingest_base_url: "https://nowhere.invalid",
    }, { args: ["--send-test-chunk"] });
    assertEquals(code, 1);
    assertEquals(skippedFor(checks, "microphone"), ["level"]);
    assertEquals(server(checks), [
      "dns failed",
      "connection skipped dns",
      "tls skipped dns",
      "api skipped dns",
      "token skipped dns",
      "size skipped dns",
      "test chunk skipped dns",
    ]);
    const closed = await report(dir, { ...usual, ingest_base_url: "https://127.0.0.1:1" });
    assertEquals(server(closed.checks), [
      "connection failed",
      "tls skipped connection",
      "api skipped connection",
      "token skipped connection",
      "size skipped connection",
    ]);
    const { text } = await check(dir, { ...usual, ingest_base_url: "https://127.0.0.1:1" });
    assertMatch(text, /^– not checked +tls, api, token, size: fix connection first$/m);
    assertEquals(text.match(/not checked .*token/g)?.length, 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("check names a certificate file that cannot be used, and skips what needs it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-test-" });
  await using ingest = await IngestServer.start({ token: TOKEN });
  try {
    const ca = join(dir, "bad.pem");
    const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    await Deno.writeTextFile(ca, pem);
    const { checks } = await report(dir, {
      ...{ ingest_token: TOKEN, audio_device: "usb:9-9", spool_dir: dir, tls_ca_file: ca },
      ingest_base_url: ingest.url,
    }, { args: ["--send-test-chunk"] });
    const skipped = skippedFor(checks, "configuration");
    for (const name of ["tls", "api", "token", "size"]) assert(skipped.includes(name), name);
    const wrong = checks.find(({ name }) => name === "configuration");
    assertMatch(wrong?.message ?? "", /tls_ca_file.*bad\.pem.*certificate/);
    assertEquals(wrong?.verdict, "failed");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const isSetUpHere = await Deno.stat(DEFAULT_CONFIG_PATH).then(() => true, () => false);

Deno.test({
  name: "without any configuration the program and check print one message, and exit with 2",
  ignore: isSetUpHere,
  async fn() {
    const env = Object.fromEntries(
      Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("RA_")),
    );
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", MAIN, ...args],
        clearEnv: true,
        env,
        stdin: "null",
      }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return [code, text(stdout), text(stderr)] as const;
    };
    const outside = "recorder-agent is not set up yet";
    const command =
      "cp config.yaml.example config.yaml, write your values into it, and add -c config.yaml";
    for (const args of [[], ["requeue"]]) {
      assertEquals(await run(...args), [2, "", `${outside}. To set it up: ${command}\n`]);
    }
    const [code, said] = await run("check");
    assertEquals([code, said], [2, `✘ configuration  ${outside}\n${" ".repeat(17)}→ ${command}\n`]);
    const [codeOfJson, json] = await run("check", "--json");
    assertEquals([codeOfJson, JSON.parse(json)], [2, {
      ok: false,
      checks: [{
        name: "configuration",
        verdict: "failed",
        message: outside,
        fix: command,
        because: null,
      }],
    }]);
  },
});

Deno.test({
  name: "check as root names a file of the configuration that only root, not the service, can read",
  ignore: Deno.uid() !== 0,
  async fn() {
    const root = await Deno.makeTempDir({ dir: "/dev/shm" });
    const file = join(root, "token");
    await Deno.mkdir(join(root, "etc"));
    await Deno.writeTextFile(join(root, "etc/passwd"), "recorder-agent:x:65534:65534::/:/bin/sh\n");
    await Deno.writeTextFile(
      join(root, "etc/group"),
      "audio:x:29:recorder-agent\nrecorder-agent:x:65534:\n",
    );
    await Deno.writeTextFile(file, "a-token\n", { mode: 0o600 });
    const found = async (path: string) => {
      const lines = Object.entries({
        ...IDS,
        ingest_base_url: "https://ingest.example.com",
        ingest_token_file: path,
      });
      const text = lines.map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join("");
      const readTextFile = (name: string) => name === "config.yaml" ? text : "a-token";
      const config = loadConfig({ path: "config.yaml", env: {}, readTextFile });
      return (await checkFiles(config, root)).map(({ message, fix }) => `${message} → ${fix}`);
    };
    const what = `the service cannot read ${file}, which ingest_token_file names → `;
    const right = `${what}sudo chown recorder-agent ${file} && sudo chmod 400 ${file}`;
    assertEquals(await found(file), [`${right}; look at its folders, too`]);
    await Deno.chmod(file, 0o644);
    assertEquals(await found(file), [`${right}; look at its folders, too`], "its folder is closed");
    await Deno.chmod(root, 0o755);
    assertEquals(await found(file), []);
    assertEquals(await found("/etc/recorder-agent/token"), [], "systemd hands it over");
    const [hidden] = await found("/home/pi/token");
    assertMatch(hidden ?? "", /Files there are hidden from it: .* \/home\/pi\/token \/etc\/rec/);
    await Deno.remove(root, { recursive: true });
  },
});
