// Both compiled programs, run as a technician would: output, exit codes, a delivered recording.

import { assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { buildBinaries } from "../fixtures/binaries.ts";

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program with only `env` and a PATH in its environment, for at most a minute. */
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
    signal: AbortSignal.timeout(60_000),
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

  await t.step("demo delivers every chunk and misses no sample", async () => {
    const cwd = await Deno.makeTempDir();
    try {
      const { code, stdout, stderr } = await run(command, ["demo", "--seconds", "6"], { cwd });
      assertEquals(code, 0, stdout + stderr);
      assertMatch(stdout, /every chunk delivered/i);
      assertMatch(stdout, /\b0 samples missing/);
      assertNotMatch(stdout + stderr, /NotCapable|not measured/);
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

Deno.test("the binaries for x86_64 and aarch64 run and deliver a recording", async (t) => {
  await using binaries = await buildBinaries();
  await t.step("x86_64", (t) => checkBinary(t, [binaries.x64]));
  await t.step("aarch64", (t) => checkBinary(t, [...binaries.runArm64, binaries.arm64]));
});

Deno.test("the compile tasks list the permissions of a binary, and never allow everything", () => {
  const lines = Object.entries(config.tasks).filter(([name]) => name.startsWith("compile"));
  const words = lines.flatMap(([, line]) => line.split(" "));
  assertEquals(words.filter((word) => word.startsWith("--allow-run=")).length, 1);
  for (const all of ["-A", "--allow-all", "--allow-run", "--allow-env", "--allow-sys"]) {
    assertEquals(words.includes(all), false, all);
  }
});
