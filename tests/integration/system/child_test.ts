import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import { HangingError, killIfRunning, outputOf, spawnBound } from "../../../src/system/child.ts";

Deno.test("outputOf() returns what a program writes, and whether it succeeded", async () => {
  const { success, stdout } = await outputOf("sh", ["-c", "printf hello; exit 3"]);
  assertEquals([success, stdout], [false, "hello"]);
  await assertRejects(() => outputOf("no-such-program", []), Deno.errors.NotFound);
});

Deno.test("outputOf() gives a program no terminal: root may start it as another user, who could type there", async () => {
  const { stdout } = await outputOf("cat", ["/proc/self/stat"]);
  const [pid, , , , , session] = stdout.split(" ");
  assertEquals(session, pid, "a session of its own");
});

Deno.test("outputOf() keeps a megabyte of what a program writes, and lets it write the rest", async () => {
  const { success, stdout } = await outputOf("head", ["-c", "3000000", "/dev/zero"], {
    limitMs: 60_000,
  });
  assertEquals([success, stdout.length], [true, 1024 * 1024]);
});

Deno.test("a program that hangs is killed and reported", async () => {
  const startMs = performance.now();
  await assertRejects(
    () => outputOf("sleep", ["60"], { limitMs: 200 }),
    Error,
    "sleep gave no answer within 0.2 s",
  );
  assert(performance.now() - startMs < 30_000, "long before it would have ended");
});

Deno.test("a program that is killed gives no answer, whatever it has written", async () => {
  await assertRejects(
    () => outputOf("sh", ["-c", "echo half; kill -KILL $$"]),
    HangingError,
    "sh was killed (SIGKILL)",
  );
});

Deno.test("killing a program that has ended is not an error", async () => {
  const child = spawnBound("true", [], { stdout: "null", stderr: "null" });
  await child.status;
  killIfRunning(child);
});

Deno.test("a child inherits the environment without the token, the proxy and the service manager's variables", async () => {
  const own = { RA_INGEST_TOKEN: "t0ken", RA_POINT_ID: "p", NOTIFY_SOCKET: "/run/n", TZ: "UTC" };
  const proxies = { HTTPS_PROXY: "http://till:s3cret@proxy", no_proxy: "localhost" };
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      join(import.meta.dirname ?? "", "../../fixtures/child_environment.ts"),
    ],
    env: { ...own, ...proxies, LC_ALL: "ru_RU.UTF-8", PULSE_SERVER: "unix:/run/pulse" },
    stderr: "inherit",
  }).output();
  const { taken, children } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals({ ...taken, ...own, ...proxies }, taken);
  for (const environ of children) {
    const names = environ.map((variable: string) => variable.replace(/=.*/s, ""));
    const secret = ["RA_INGEST_TOKEN", "RA_POINT_ID", "NOTIFY_SOCKET", ...Object.keys(proxies)];
    for (const name of secret) {
      assert(!names.includes(name), name);
    }
    for (const kept of ["PULSE_SERVER=unix:/run/pulse", "TZ=UTC", "LC_ALL=C.UTF-8"]) {
      assert(environ.includes(kept), kept);
    }
  }
});
