// The options of `receive`: what it refuses to start with, and why. It runs as a process in
// tests/integration/receive_test.ts.

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { UsageError } from "../../src/commands/command_line.ts";
import { type ReceiveOptions, runReceive } from "../../src/commands/receive.ts";

Deno.test("receive refuses to start open to everybody, or with options that do not fit", async () => {
  const dir = await Deno.makeTempDir({ prefix: "receive-command-" });
  const tokens = join(dir, "tokens");
  await Deno.writeTextFile(tokens, "good\nbad line of words\n");
  const options: ReceiveOptions = {
    ...{ dir: join(dir, "store"), listen: "127.0.0.1:0", tokens: undefined, noToken: false },
    ...{ tlsCert: undefined, tlsKey: undefined, maxMb: 1, logLevel: "ERROR", env: {} },
    ...{ store: undefined, s3Credentials: undefined, tlsCa: undefined },
  };
  const refused: [Partial<ReceiveOptions>, string][] = [
    [{ dir: undefined }, "receive needs --dir DIR"],
    [{}, "receive needs tokens: --tokens FILE"],
    [{ env: { RA_INGEST_TOKEN: "with space" } }, "RA_INGEST_TOKEN holds no usable token"],
    [{ tokens }, `Cannot use the tokens of ${tokens}: line 2 is not TOKEN`],
    [{ tokens: join(dir, "none") }, `${join(dir, "none")} does not exist`],
    [{ noToken: true, listen: "0.0.0.0:0" }, "--no-token is possible only if --listen"],
    [{ noToken: true, listen: "[::]:0" }, "--no-token is possible only if --listen"],
    [{ noToken: true, tokens }, "exclude each other"],
    [{ noToken: true, tlsCert: "a" }, "--tls-cert and --tls-key belong together"],
    [
      { noToken: true, tlsCert: "/none", tlsKey: "/none" },
      "--tls-cert: the file /none does not exist",
    ],
    ...["127.0.0.1", "8043", ":8043", "a:b:1", "127.0.0.1:70000", "[::1]", ""].map((
      listen,
    ): [Partial<ReceiveOptions>, string] => [
      { listen, noToken: true },
      `--listen "${listen}" is not ADDRESS:PORT`,
    ]),
  ];
  const stopped = AbortSignal.abort();
  for (const [changed, words] of refused) {
    const error = await assertRejects(
      () => runReceive({ ...options, ...changed }, stopped),
      UsageError,
    );
    assertStringIncludes(error.message, words);
  }
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["tokens"], "nothing was made");
  for (const listen of ["127.0.0.1:0", "[::1]:0", "localhost:0"]) {
    assertEquals(await runReceive({ ...options, listen, noToken: true }, stopped), 0, listen);
  }
  await Deno.remove(dir, { recursive: true });
});
