// The control socket against commands, and against other users of its group.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { runPause } from "../../src/commands/pause.ts";
import {
  type ControlAnswer,
  type ControlRequest,
  encodeControl,
  parseAnswer,
} from "../../src/system/control_protocol.ts";
import { serveControl } from "../../src/web/control_socket.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { capturedLog, until } from "../fixtures/temp_spool.ts";
import { exists } from "../../src/system/disk.ts";

async function rig(answer: ControlAnswer | Promise<ControlAnswer> = { ok: true, message: "done" }) {
  const dir = await Deno.makeTempDir({ prefix: "control-" });
  const path = join(dir, "control.sock");
  const requests: ControlRequest[] = [];
  const stop = new AbortController();
  const { log } = capturedLog();
  const control = (request: ControlRequest) => {
    requests.push(request);
    return Promise.resolve(answer);
  };
  const serving = serveControl(path, control, log, stop.signal);
  await until(() => rightsOf(path) === 0o660);
  return {
    dir,
    path,
    requests,
    /** What the service answers to these bytes. */
    say: async (bytes: Uint8Array): Promise<string> => {
      const connection = await Deno.connect({ transport: "unix", path });
      try {
        await connection.write(bytes).catch(() => {});
        const buffer = new Uint8Array(4096);
        const length = await connection.read(buffer).catch(() => null) ?? 0;
        return new TextDecoder().decode(buffer.subarray(0, length));
      } finally {
        connection.close();
      }
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await serving;
      assertEquals(await exists(path), false);
      await Deno.remove(dir, { recursive: true });
    },
  };
}

Deno.test("a command is carried out and answered; the socket is for the owner and the group", async () => {
  await using service = await rig();
  const answer = await service.say(encodeControl({ command: "pause", seconds: 60 }));
  assertEquals(parseAnswer(answer), { ok: true, message: "done" });
  assertEquals(service.requests, [{ command: "pause", seconds: 60 }]);
});

Deno.test("what is not a command is refused, and what is too long or half is not answered", async () => {
  await using service = await rig();
  const text = (line: string) => new TextEncoder().encode(line);
  for (
    const line of ["hello\n", "null\n", "[]\n", '{"command":"format"}\n', '{"command":"pause"}\n'] //
      .concat(['{"command":"pause","seconds":9}\n', '{"command":"pause","seconds":1e9}\n'])
  ) {
    const answer = parseAnswer(await service.say(text(line)));
    assertEquals(answer?.ok, false, line);
    assertMatch(answer?.message ?? "", /^Cannot do this: expected /);
  }
  assertEquals(await service.say(new Uint8Array(8192).fill(0x20)), "");
  assertEquals(service.requests, []);
});

Deno.test("connections that say nothing keep nobody from a command, and end with the service", async () => {
  await using service = await rig();
  const connect = () => Deno.connect({ transport: "unix", path: service.path });
  const silent = [];
  for (let count = 0; count < 100; count++) silent.push(await connect());
  const answer = await service.say(encodeControl({ command: "resume" }));
  assertEquals(parseAnswer(answer)?.ok, true);
  const first = silent[0]?.read(new Uint8Array(1)).catch(() => null);
  assertEquals(await first, null, "it has given its place to another one");
  for (const connection of silent) connection.close();
});

Deno.test("a connection whose request is carried out keeps its place", async () => {
  const { promise, resolve } = Promise.withResolvers<ControlAnswer>();
  await using service = await rig(promise);
  const connect = () => Deno.connect({ transport: "unix", path: service.path });
  const waiting = service.say(encodeControl({ command: "resume" }));
  await until(() => service.requests.length === 1);
  const silent = [];
  for (let count = 0; count < 100; count++) silent.push(await connect());
  const last = await silent.at(-50)?.read(new Uint8Array(1)).catch(() => null);
  assertEquals(last, null, "it has given its place to another one");
  resolve({ ok: true, message: "late" });
  assertEquals(parseAnswer(await waiting)?.message, "late");
  for (const connection of silent) connection.close();
});

Deno.test("a command says so if the service closes its connection at once", async () => {
  const dir = await Deno.makeTempDir({ prefix: "control-" });
  using listener = Deno.listen({ transport: "unix", path: join(dir, "control.sock") });
  listener.accept().then((connection) => connection.close());
  const config = join(dir, "config.yaml");
  const entries = { ...IDS, ingest_base_url: "https://i.example.com", ingest_token: "t" };
  await Deno.writeTextFile(config, JSON.stringify({ ...entries, spool_dir: dir }));
  const options = { config, env: {}, executable: "", request: { command: "resume" } as const };
  assertEquals(await runPause(options), 1);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("an answer of somebody else is shown without its control characters", () => {
  const answer = parseAnswer(JSON.stringify({ ok: true, message: "\u001b]0;x\u0007 fine" }));
  assert(answer !== null && !/\p{Cc}/u.test(answer.message));
  for (const line of ["", "7", "{}", '{"ok":1,"message":"x"}']) {
    assertEquals(parseAnswer(line), null);
  }
});

Deno.test("the command gives the answer as its exit code, and says why there is none", async () => {
  await using service = await rig({ ok: false, message: "no" });
  const config = join(service.dir, "config.yaml");
  const entries = { ...IDS, ingest_base_url: "https://i.example.com", ingest_token: "t" };
  await Deno.writeTextFile(config, JSON.stringify({ ...entries, spool_dir: service.dir }));
  const options = { config, env: {}, executable: "", request: { command: "resume" } as const };
  assertEquals(await runPause(options), 1);
  assertEquals(service.requests.length, 1);
  const elsewhere = join(service.dir, "elsewhere");
  await Deno.writeTextFile(config, JSON.stringify({ ...entries, spool_dir: elsewhere }));
  assertEquals(await runPause(options), 1);
});

function rightsOf(path: string): number | null {
  try {
    return (Deno.statSync(path).mode ?? 0) & 0o777;
  } catch {
    return null;
  }
}
