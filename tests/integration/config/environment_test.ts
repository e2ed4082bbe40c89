// The variables that a process with the permissions of the compiled program finds in its environment.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";

/** What takeEnvironment() finds in a child process with these permissions and this environment. */
async function environmentIn(
  permissions: string[],
  env: Record<string, string>,
): Promise<unknown> {
  const root = new URL("../../../", import.meta.url);
  const folder = await Deno.makeTempDir({ prefix: "environment-" });
  const script = join(folder, "environment.ts");
  const module = new URL("src/config/places.ts", root).href;
  await Deno.writeTextFile(
    script,
    `import { takeEnvironment } from ${JSON.stringify(module)};
    console.log(JSON.stringify(takeEnvironment()));`,
  );
  // Only the variables that locate the cached packages: RA_ variables may be set where the tests run.
  const cache = Object.fromEntries(
    ["HOME", "DENO_DIR"].map((name) => [name, Deno.env.get(name)]).filter(([, value]) => value),
  );
  const options = ["--no-prompt", "--no-check", "--config", new URL("deno.json", root).pathname];
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...options, ...permissions, script],
    clearEnv: true,
    env: { ...cache, ...env },
  }).output();
  await Deno.remove(folder, { recursive: true });
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("takeEnvironment() finds every RA_ variable, compiled and from source", async () => {
  const env = { RA_CHUNK_SECONDS: "5", RA_COLOUR: "blue", TZ: "UTC", SECRET_OF_OTHERS: "x" };
  const expected = { RA_CHUNK_SECONDS: "5", RA_COLOUR: "blue", TZ: "UTC" };
  const compiled = "--allow-env=RA_*,NOTIFY_SOCKET,WATCHDOG_USEC,RUNTIME_DIRECTORY," +
    "STATE_DIRECTORY,CREDENTIALS_DIRECTORY,JOURNAL_STREAM,TZ,HTTPS_PROXY,no_proxy";
  const [all, some] = await Promise.all([
    environmentIn(["--allow-env"], env),
    environmentIn([compiled, "--ignore-env"], env),
  ]);
  assertEquals(all, expected);
  assertEquals(some, expected);
});
