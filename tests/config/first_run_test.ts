import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import { ConfigError } from "../../src/config/config.ts";
import { parseEnvironmentFile } from "../../src/config/environment_file.ts";
import { loadGivenConfig, NoConfigError, NotSetUpError } from "../../src/config/first_run.ts";

const NOTHING = {
  explicit: undefined,
  env: {},
  executable: "/usr/local/bin/recorder-agent",
  installation: {
    config: "/nonexistent/config.yaml",
    environment: "/nonexistent/env",
    unit: "/nonexistent/unit",
  },
};
const VARIABLES = {
  RA_POINT_ID: "11111111-1111-4111-8111-111111111111",
  RA_REGISTER_ID: "22222222-2222-4222-8222-222222222222",
  RA_DEVICE_ID: "33333333-3333-4333-8333-333333333333",
  RA_INGEST_BASE_URL: "https://ingest.example.com",
  RA_INGEST_TOKEN: "a-token",
};
const LINES = Object.entries(VARIABLES).map(([name, value]) => `${name}=${value}\n`).join("");

/** A machine with these files. */
async function machine(files: { config?: string; environment?: string; unit?: string }) {
  const dir = await Deno.makeTempDir({ prefix: "first-run-test-" });
  const installation = {
    config: join(dir, "config"),
    environment: join(dir, "environment"),
    unit: join(dir, "unit"),
  };
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(dir, name), text);
  return {
    installation,
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test("without file and variables there is one thing to say: the command that sets it up", () => {
  const error = assertThrows(() => loadGivenConfig(NOTHING), NotSetUpError);
  assertEquals(error.problems, [
    "recorder-agent is not set up yet. To set it up: sudo recorder-agent install",
  ]);
  assert(error instanceof ConfigError);
  // Variables of others, and empty ones, set nothing up.
  const env = { TZ: "UTC", RA_POINT_ID: " ", CREDENTIALS_DIRECTORY: "/run/credentials" };
  assertThrows(() => loadGivenConfig({ ...NOTHING, env }), NotSetUpError);
});

Deno.test("the command names the program where it lies, and from source what exists there", () => {
  const commandOf = (executable: string) =>
    assertThrows(() => loadGivenConfig({ ...NOTHING, executable }), NotSetUpError).command;
  assertEquals(commandOf("/home/pi/recorder-agent"), "sudo /home/pi/recorder-agent install");
  assertEquals(commandOf("/usr/local/bin/recorder-agent"), "sudo recorder-agent install");
  assert(!commandOf("").includes("install"), "install needs the compiled program");
  const [, example = ""] = /^cp (\S+) /.exec(commandOf("")) ?? [];
  assert(Deno.statSync(new URL(`../../${example}`, import.meta.url)).isFile);
});

Deno.test("a file or a variable is a configuration, and its problems are listed", async () => {
  await using till = await machine({ config: "" });
  for (
    const given of [
      { explicit: "/nonexistent/named.yaml" },
      till,
      { env: { RA_CHUNK_SECONDS: "5" } },
    ]
  ) {
    const error = assertThrows(() => loadGivenConfig({ ...NOTHING, ...given }), ConfigError);
    assert(!(error instanceof NoConfigError), error.message);
  }
});

Deno.test("the variables of the service count, unless a file is named; those of the caller win", async () => {
  await using till = await machine({ environment: `${LINES}RA_CHUNK_SECONDS=7\n` });
  const { installation } = till;
  const alone = loadGivenConfig({ ...NOTHING, installation });
  assertEquals([alone.config.chunkSeconds, alone.config.pointId], [7, VARIABLES.RA_POINT_ID]);
  assertEquals(alone.paths, [installation.environment]);
  const env = { RA_CHUNK_SECONDS: "9" };
  assertEquals(loadGivenConfig({ ...NOTHING, installation, env }).config.chunkSeconds, 9);

  await Deno.writeTextFile(installation.config, "chunk_seconds: 5\nsample_rate: 16000\n");
  const both = loadGivenConfig({ ...NOTHING, installation });
  assertEquals([both.config.chunkSeconds, both.config.sampleRate], [7, 16000]);
  assertEquals(both.paths, [installation.config, installation.environment]);
  const named = { ...NOTHING, installation, explicit: installation.config };
  const error = assertThrows(() => loadGivenConfig(named), ConfigError);
  assertStringIncludes(error.message, "point_id: is missing");
  const service = { ...NOTHING, installation, env: { NOTIFY_SOCKET: "/run/notify" } };
  assertThrows(() => loadGivenConfig(service), ConfigError, "point_id: is missing");
});

Deno.test("a file of variables that this user may not read is named; with other values it is left out", async () => {
  await using till = await machine({ environment: LINES });
  const readTextFile = () => {
    throw new Deno.errors.PermissionDenied("");
  };
  const error = assertThrows(
    () => loadGivenConfig({ ...NOTHING, ...till, readTextFile }),
    ConfigError,
  );
  assertEquals(error.problems, [
    `${till.installation.environment}: the file with the variables of the service may not be read ` +
    "by this user",
  ]);
  const given = loadGivenConfig({ ...NOTHING, ...till, readTextFile, env: VARIABLES });
  assertEquals(given.paths, []);
});

Deno.test("a machine whose unit is installed is set up: what is missing is named", async () => {
  await using till = await machine({ unit: "", environment: "HTTPS_PROXY=http://proxy:3128\n" });
  const error = assertThrows(() => loadGivenConfig({ ...NOTHING, ...till }), NoConfigError);
  assert(!(error instanceof NotSetUpError));
  assertStringIncludes(error.reason, till.installation.config);
  assertStringIncludes(error.fix, "sudo recorder-agent install");
  assertStringIncludes(error.fix, till.installation.environment);
});

Deno.test("a file of variables is read as systemd reads it", () => {
  const text = `# a comment
; another
RA_POINT_ID=1
  RA_A = spaces around
RA_B="in \\"quotes\\" #1 \\$x"
RA_C='single \\ "quotes"'
RA_D=one \\
two
RA_E=back\\\\slash
RA_F=
RA_G=a=b
RA_A2=x\r
HTTPS_PROXY=http://proxy
no_proxy=localhost
PATH=/bin
export RA_H=1
`;
  assertEquals(parseEnvironmentFile(text), {
    RA_POINT_ID: "1",
    RA_A: "spaces around",
    RA_B: 'in "quotes" #1 $x',
    RA_C: 'single \\ "quotes"',
    RA_D: "one two",
    RA_E: "back\\slash",
    RA_F: "",
    RA_G: "a=b",
    RA_A2: "x",
    HTTPS_PROXY: "http://proxy",
    no_proxy: "localhost",
  });
});
