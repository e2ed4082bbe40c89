// Both compiled programs, run as a technician would: output, exit codes, a delivered recording.

import {
  assert,
  assertEquals,
  assertMatch,
  assertNotMatch,
  assertStringIncludes,
} from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { join } from "@std/path/join";
import { formatChunkName } from "../../src/chunk/chunk_name.ts";
import { type Binaries, buildBinaries } from "../fixtures/binaries.ts";
import { run as command } from "../fixtures/command.ts";
import { ReceiverProcess } from "../fixtures/receiver_process.ts";
import { chunkAt } from "../fixtures/temp_spool.ts";

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program with only `env` and a PATH in its environment, for at most five minutes: one of them is emulated. */
async function run(
  [program = "", ...prefix]: readonly string[],
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Outcome> {
  const output = await new Deno.Command(program, {
    args: [...prefix, ...args],
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    signal: AbortSignal.timeout(300_000),
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

async function checkBinary(t: Deno.TestContext, command: readonly string[]): Promise<void> {
  await t.step("--version names the program and its version", async () => {
    const { code, stdout } = await run(command, ["--version"]);
    assertEquals(code, 0);
    assertMatch(stdout, /^recorder-agent \d+\.\d+\.\d+/);
  });

  await t.step("--help names every command", async () => {
    const { code, stdout } = await run(command, ["--help"]);
    assertEquals(code, 0);
    for (const word of ["recorder-agent", "devices", "demo", "--log-level", "--version"]) {
      assertStringIncludes(stdout, word);
    }
  });

  await t.step("an unknown option is named, with exit code 2", async () => {
    const { code, stderr } = await run(command, ["--no-such-option"]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "--no-such-option");
  });

  await t.step("a misspelt variable is found with the permissions of the program", async () => {
    const { code, stderr } = await run(command, [], { env: { RA_CHUNK_SECOND: "5" } });
    assertEquals(code, 2);
    assertStringIncludes(stderr, "RA_CHUNK_SECOND");
    assertNotMatch(stderr, /NotCapable/);
  });

  await t.step("receive answers with the permissions that it keeps", async () => {
    const dir = await Deno.makeTempDir();
    try {
      const options = { dir: join(dir, "received"), token: "a-token-for-tests", program: command };
      await using receiver = await ReceiverProcess.start(options);
      for (const path of ["/api/v1/chunks", "/metrics"]) {
        const authorization = "Bearer a-token-for-tests";
        const response = await fetch(await receiver.url + path, { headers: { authorization } });
        await response.body?.cancel();
        assert([200, 405].includes(response.status), `${path}: ${response.status}`);
      }
      assertEquals(await receiver.end("SIGTERM"), 0);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });

  await t.step("demo delivers every chunk and misses no sample", async () => {
    const cwd = await Deno.makeTempDir();
    // On a busy machine, an emulated program needs some seconds for a chunk.
    const isEmulated = command.length > 1;
    const seconds = isEmulated ? "20" : "6";
    // A part of a second that a slow machine cuts off is too short to be measured.
    const unmeasured = (text: string) =>
      [...text.matchAll(/([\d.]+) s +[\d.]+ kB +not measured/g)]
        .filter(([, seconds]) => Number(seconds) >= 1);
    const demo = () => run(command, ["demo", "--seconds", seconds], { cwd });
    try {
      let { code, stdout, stderr } = await demo();
      // On a busy machine the level may come later than the chunk: not every time.
      for (let more = 2; more > 0 && !isEmulated && unmeasured(stdout).length > 0; more--) {
        ({ code, stdout, stderr } = await demo());
      }
      assertNotMatch(stdout + stderr, /NotCapable/);
      assertMatch(stdout, /\b0 samples missing/);
      if (isEmulated) {
        // On a busy machine it is slower than the sound: then the end of the demo comes too early for the rest.
        assertMatch(stdout, /\b[1-9]\d* delivered/, stdout + stderr);
      } else {
        assertEquals(code, 0, stdout + stderr);
        assertMatch(stdout, /every chunk delivered/i);
        assertEquals(unmeasured(stdout), [], stdout);
        assertMatch(stdout, /\d s +[\d.]+ kB +[█░]+ -[\d.]+ dB/);
      }
      // The command that it prints at the end; a second of it is enough.
      const [player = "", ...args] = /play them: (.*)/.exec(stdout)?.[1]?.split(" ") ?? [];
      const env = { SDL_AUDIODRIVER: "dummy" }; // there is no loudspeaker
      const played = await run([player], [...args, "-t", "1"], { cwd, env });
      assertEquals(played.code, 0, stdout + played.stderr);
    } finally {
      await Deno.remove(cwd, { recursive: true });
    }
  });
}

/** What a program with these permissions may still start; the answer of Deno itself. */
const STILL_PERMITTED = `
import { keepOnlyWhatIsNeeded } from "./src/commands/permissions.ts";
import { PROGRAMS } from "./src/system/programs.ts";
const report: Record<string, string[]> = {};
keepOnlyWhatIsNeeded("run");
const tried = Object.values(PROGRAMS).filter((path) => {
  try {
    new Deno.Command(path, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync();
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotCapable) && !(error instanceof Deno.errors.NotFound);
  }
});
console.log(JSON.stringify(tried));
`;

/** A spool of another user, with refused chunks. */
async function makeForeignSpool(dir: string): Promise<{ spool: string; names: string[] }> {
  const spool = join(dir, "spool");
  const names = [0, 1].map((at) =>
    formatChunkName(chunkAt(Date.UTC(2026, 5, 15, 12) + at * 60_000))
  );
  for (const sub of ["recording", "outbox", "uploaded", "rejected"]) {
    await Deno.mkdir(join(spool, sub), { recursive: true });
  }
  for (const name of names) await Deno.writeTextFile(join(spool, "rejected", name), "sound");
  await command("mkfifo", [join(spool, "rejected", `${names[0]}.reason.json`)]);
  await command("chown", ["-R", "65534:65534", spool]);
  await command("chmod", ["-R", "go=", spool]);
  await Deno.chmod(dir, 0o755);
  return { spool, names };
}

/** As root, in the spool of another user; and without what only other commands need. */
async function checkRights(t: Deno.TestContext, binaries: Binaries): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "binaries-test-" });
  try {
    const { spool, names } = await makeForeignSpool(dir);
    const program = join(dir, "recorder-agent");
    await Deno.copyFile(binaries.x64, program);
    const requeue = (...args: string[]) => run([program], ["requeue", "--spool", spool, ...args]);

    await t.step("requeue moves the chunks as the owner, and waits for no pipe", async () => {
      const listed = await requeue();
      assertEquals([listed.code, listed.stderr], [0, ""], listed.stdout);
      assertMatch(listed.stdout, /2 chunks in rejected/);
      const { code, stdout, stderr } = await requeue("--all");
      assertEquals([code, stderr], [0, ""], stdout);
      const { uid } = await Deno.stat(join(spool, "outbox", names[0] ?? ""));
      assertEquals(uid, 65534);
    });

    await t.step("requeue follows no link, and cannot write where the owner cannot", async () => {
      const precious = join(dir, "precious");
      await Deno.mkdir(precious, { mode: 0o755 });
      await Deno.rename(join(spool, "outbox"), join(dir, "outbox"));
      for (const name of names) {
        await Deno.rename(join(dir, "outbox", name), join(spool, "rejected", name));
      }
      await Deno.symlink(precious, join(spool, "outbox"));
      const { code, stdout } = await requeue("--all");
      assertEquals(code, 1);
      assertMatch(stdout, /outbox must be a folder: it is a link/);
      assertEquals([...Deno.readDirSync(precious)], []);
      // Even if the link came at the last moment, the owner has no right there.
      await Deno.remove(join(spool, "outbox"));
      await Deno.mkdir(join(spool, "outbox"), { mode: 0o700 }); // of root
      const refused = await requeue("--all");
      assertEquals(refused.code, 1);
      assertMatch(refused.stdout + refused.stderr, /no permission/);
      await Deno.chmod(dir, 0o700); // as a home
      assertMatch(
        (await requeue("--all")).stdout,
        /every user must be able to run .*\/usr\/local\/bin/,
      );
    });

    await t.step(
      "install writes program, unit, settings and the judge of updates into an image",
      async () => {
        const image = join(dir, "image");
        for (const made of ["etc", "usr/bin", "var/lib"]) {
          await Deno.mkdir(join(image, made), { recursive: true });
        }
        for (const file of ["passwd", "group", "shadow", "gshadow"]) {
          await Deno.copyFile(`/etc/${file}`, join(image, "etc", file));
        }
        const ids = ["point_id", "register_id", "device_id"]
          .flatMap((key) => ["--set", `${key}=${crypto.randomUUID()}`]);
        const url = ["--set", "ingest_base_url=https://ingest.example.com"];
        const env = { RA_INGEST_TOKEN: "a-token-for-tests" };
        const args = ["install", "--root", image, ...ids, ...url];
        const { code, stdout, stderr } = await run([program], args, { env });
        assertEquals(code, 0, stdout + stderr);
        for (const path of ["usr/local/bin/recorder-agent", "etc/recorder-agent/config.yaml"]) {
          assert((await Deno.stat(join(image, path))).size > 0, path);
        }
        const judge = join(image, "usr/local/lib/recorder-agent/update-trial");
        assertEquals(((await Deno.stat(judge)).mode ?? 0) & 0o777, 0o755);
      },
    );

    await t.step("a program that only install needs cannot be started by the service", async () => {
      const started = JSON.parse((await binaries.evaluate(STILL_PERMITTED)).trim());
      const needed = [
        "amixer",
        "find",
        "grep",
        "setpriv",
        "kill",
        "timedatectl",
        "udevadm",
        "ffmpeg",
      ];
      assertEquals(started.toSorted(), needed.map((name) => `/usr/bin/${name}`).toSorted());
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the binaries for x86_64 and aarch64 run and deliver a recording", async (t) => {
  await using binaries = await buildBinaries();
  await t.step("x86_64", (t) => checkBinary(t, [binaries.x64]));
  await t.step("aarch64", (t) => checkBinary(t, [...binaries.runArm64, binaries.arm64]));
  await t.step("as root", (t) => checkRights(t, binaries));
});

Deno.test("the compile tasks list the permissions of a binary, and never allow everything", () => {
  const lines = Object.entries(config.tasks).filter(([name]) => name.startsWith("compile"));
  const words = lines.flatMap(([, line]) => line.split(" "));
  assertEquals(words.filter((word) => word.startsWith("--allow-run=")).length, 1);
  for (const all of ["-A", "--allow-all", "--allow-run", "--allow-env", "--allow-sys"]) {
    assertEquals(words.includes(all), false, all);
  }
});
