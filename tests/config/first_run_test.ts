import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/config/config.ts";
import { loadGivenConfig, NotSetUpError } from "../../src/config/first_run.ts";

const NOTHING = { explicit: undefined, env: {}, executable: "", usual: "/nonexistent/config.yaml" };

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

Deno.test("the command names the program where it lies if it is not installed", () => {
  const commandOf = (executable: string) =>
    assertThrows(() => loadGivenConfig({ ...NOTHING, executable }), NotSetUpError).command;
  assertEquals(commandOf("/home/pi/recorder-agent"), "sudo /home/pi/recorder-agent install");
  assertEquals(commandOf("/usr/local/bin/recorder-agent"), "sudo recorder-agent install");
});

Deno.test("a file or a variable is a configuration, and its problems are listed", async () => {
  const file = await Deno.makeTempFile({ suffix: ".yaml" });
  for (
    const given of [
      { explicit: "/nonexistent/named.yaml" },
      { usual: file },
      { env: { RA_CHUNK_SECONDS: "5" } },
    ]
  ) {
    const error = assertThrows(() => loadGivenConfig({ ...NOTHING, ...given }), ConfigError);
    assert(!(error instanceof NotSetUpError), error.message);
  }
  await Deno.remove(file);
});
