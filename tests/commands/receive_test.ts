// The options of `receive`: what it refuses to start with, and why. It runs as a process in
// tests/integration/receive_test.ts.

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { UsageError } from "../../src/commands/command_line.ts";
import { type ReceiveOptions, runReceive } from "../../src/commands/receive.ts";
import { BUCKET, problem, S3Double } from "../fixtures/s3_double.ts";

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
    [{ noToken: true, store: "s3://rec" }, "--dir and --store exclude each other"],
    [{ noToken: true, s3Credentials: "/none" }, "--s3-credentials and --tls-ca are for --store"],
    ...([
      [{ store: "rec" }, "Cannot use --store as it must be s3://BUCKET"],
      [{ store: "s3://rec" }, "--store needs --s3-credentials FILE"],
      [{ store: "s3://rec", s3Credentials: "/none" }, "S3 credentials: /none does not exist"],
      [{ store: "s3://rec", s3Credentials: tokens }, `${tokens}: line 1 is not one of aws_access`],
      [
        { store: "s3://rec", s3Credentials: tokens, tlsCa: tokens },
        `--tls-ca: the file ${tokens} holds no PEM certificate`,
      ],
    ] as const).map(([changed, words]): [Partial<ReceiveOptions>, string] => [
      { noToken: true, dir: undefined, ...changed },
      words,
    ]),
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

Deno.test("receive does not start with keys or a bucket that the store refuses, and starts while it is away", async () => {
  await using double = new S3Double();
  const dir = await Deno.makeTempDir({ prefix: "receive-command-" });
  const file = join(dir, "s3");
  const start = async (credentials: string, bucket: string) => {
    await Deno.writeTextFile(file, credentials);
    return await runReceive({
      ...{ dir: undefined, store: `s3://${bucket}`, s3Credentials: file, tlsCa: undefined },
      ...{ listen: "127.0.0.1:0", tokens: undefined, noToken: true, maxMb: 1, env: {} },
      ...{ tlsCert: undefined, tlsKey: undefined, logLevel: "ERROR" },
    }, AbortSignal.abort());
  };
  const { credentials } = double;
  assertEquals(await start(credentials, BUCKET), 0);
  assertEquals(await start(credentials, "another"), 1);
  assertEquals(await start(credentials.replace("AKID", "AKIX"), BUCKET), 1);
  double.fault = () => problem(503, "ServiceUnavailable", "Later.");
  assertEquals(await start(credentials, BUCKET), 0);
  await Deno.remove(dir, { recursive: true });
});
