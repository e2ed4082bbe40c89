// Runs the commands of the manuals, as far as that is harmless: some of them start real programs.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { parseCommandLine } from "../../src/commands/command_line.ts";
import { runCheck } from "../../src/commands/check.ts";
import { runDevices } from "../../src/commands/devices.ts";
import { runInstall } from "../../src/commands/install.ts";
import { CONFIG } from "../../src/commands/install_places.ts";
import { runJoin } from "../../src/commands/join.ts";
import { runReceive } from "../../src/commands/receive.ts";
import { parsePause } from "../../src/commands/pause.ts";
import { runRequeue } from "../../src/commands/requeue.ts";
import { runVerify } from "../../src/commands/verify.ts";
import { runUninstall } from "../../src/commands/uninstall.ts";
import { loadConfig } from "../../src/config/config.ts";
import { makeSelfSigned } from "../fixtures/certificates.ts";
import { makeName } from "../fixtures/chunks.ts";
import { run } from "../fixtures/command.ts";
import { type ShellCommand } from "../fixtures/documents.ts";
import { ALL, commandsOf, EXAMPLE, MANUALS } from "../fixtures/manuals.ts";
import { BUCKET, S3Double } from "../fixtures/s3_double.ts";
import { SimulatedTill } from "../fixtures/simulated_till.ts";
import { TempSpool } from "../fixtures/temp_spool.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

Deno.test("every shell block of the documents is valid", async () => {
  const blocks = ALL.flatMap((document) => document.blocks("sh"));
  assert(blocks.length > 0);
  // One bash for all: to fork this large process for each takes long.
  const each = 'for block; do bash -n -c "$block" || { echo "$block" >&2; exit 1; }; done';
  await run("bash", ["-c", each, "bash", ...blocks]);
});

Deno.test("every recorder-agent command of the manuals runs, as far as that is harmless", async () => {
  const dir = await Deno.makeTempDir({ prefix: "docs-test-" });
  const root = join(dir, "root");
  await Deno.mkdir(join(root, "etc/recorder-agent"), { recursive: true });
  const [cert, key] = ["till.pem", "till.key"].map((name) =>
    join(root, "etc/recorder-agent", name)
  );
  await makeSelfSigned(cert ?? "", key ?? "");
  await Deno.copyFile(cert ?? "", join(root, "etc/recorder-agent/ca.pem"));
  await Deno.writeTextFile(join(root, "etc/group"), "root:x:0:\naudio:x:29:\n");
  await Deno.writeTextFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n");
  const executable = join(dir, "program");
  await Deno.writeTextFile(executable, "#!/bin/sh\n");
  const config = join(dir, "config.yaml");
  const lines = Object.entries(EXAMPLE).map(([key, value]) => `${key}: ${value}\n`);
  await Deno.writeTextFile(config, `${lines.join("")}spool_dir: ${dir}/spool\n`);
  let said: string[] = [];
  const print = (text: string) => said.push(text);
  const ran = new Set<string>();

  const carryOut = async ({ words, env }: ShellCommand): Promise<number> => {
    const args = parseCommandLine(words.slice(1));
    ran.add(args.command);
    switch (args.command) {
      case "install": {
        // Unattended if it gives the token; otherwise a person answers.
        const ask = Object.hasOwn(env, "RA_INGEST_TOKEN") ? null : (question: string) => {
          const answers: Record<string, string> = { ...EXAMPLE, ingest_token: "a-token" };
          return Promise.resolve(answers[question.split(",")[0] ?? ""] ?? null);
        };
        const take = args.take && join(dir, args.take);
        if (take) {
          const ids = Object.entries(EXAMPLE).map(([key, value]) => `${key}: ${value}\n`);
          await Deno.writeTextFile(take, `${ids.join("")}ingest_token: a-token\n`);
        }
        const token = Object.hasOwn(env, "RA_INGEST_TOKEN") ? { RA_INGEST_TOKEN: "a-token" } : {};
        return await runInstall({
          ...{ ...args, take, root, executable, ask, print, env: token, dryRun: true },
        });
      }
      case "uninstall":
        return await runUninstall({ ...args, root, print, dryRun: true });
      case "check":
        return Math.min(
          0,
          await runCheck({ ...args, config, env: { RA_INGEST_TOKEN: "a" }, print }),
        );
      case "devices":
        return Math.min(0, await runDevices({ print }));
      case "requeue":
        return await requeue(args);
      case "pause": // these need a service: tests/integration/reload_test.ts runs them
        print(String(parsePause(args.operands[0] ?? "")));
        return 0;
      case "resume":
        print("resumes");
        return 0;
      case "verify":
      case "join": {
        const paths = args.operands.map((path) => path === "chunks" ? chunks : chunk);
        const options = { ...args, paths, zone: "UTC", print, progress: () => {} };
        if (args.command === "verify") return await runVerify(options);
        // Decoding needs ffmpeg: tests/integration/how_to_test.ts runs that.
        const output = join(dir, `${crypto.randomUUID()}-${args.output.replace(".wav", ".ogg")}`);
        return await runJoin({ ...options, output });
      }
      case "conform": // needs a server: tests/commands/conform_test.ts runs it
        print(args.operands.join());
        return 0;
      case "receive": {
        print("receives");
        const tokens = join(dir, "tokens");
        await Deno.writeTextFile(tokens, "a-token\n");
        const given = { tokens: args.tokens && tokens, tlsCert: undefined, tlsKey: undefined };
        await using double = new S3Double();
        const credentials = join(dir, "s3");
        await Deno.writeTextFile(credentials, double.credentials);
        const where = args.store === undefined
          ? { dir: join(dir, "received") }
          : { store: `s3://${BUCKET}`, s3Credentials: args.s3Credentials && credentials };
        return await runReceive({
          ...{ ...args, ...given, ...where, listen: "127.0.0.1:0" },
          ...{ logLevel: "ERROR", env, tlsCa: undefined },
        }, AbortSignal.abort());
      }
      case "run":
        loadConfig({
          path: CONFIG,
          env: Object.hasOwn(env, "RA_INGEST_TOKEN_FILE")
            ? env
            : { ...env, RA_INGEST_TOKEN: "a-token" },
          readTextFile: (path) => path === CONFIG ? Deno.readTextFileSync(config) : "a-token",
        });
        return 0;
      case "help":
      case "version": {
        const { stdout } = await run(Deno.execPath(), [
          ...["run", "-A", "--no-check", join(ROOT, "main.ts")],
          ...words.slice(1),
        ]);
        print(new TextDecoder().decode(stdout));
        return 0;
      }
      default:
        throw new Error(`${args.command} is run by nothing here`);
    }
  };
  const requeue = async (args: ReturnType<typeof parseCommandLine>): Promise<number> => {
    await using temp = await TempSpool.open();
    const [key = crypto.randomUUID()] = args.operands;
    const chunk = await temp.store("outbox", { ...makeName(1), key });
    await temp.spool.reject(chunk, { reason: "the server answered 422" });
    return await runRequeue({ ...args, spoolDir: temp.dir, wanted: args.operands, print });
  };

  const chunks = join(dir, "chunks");
  const till = new SimulatedTill({ startUnixMs: Date.UTC(2026, 10, 23, 14) });
  till.start();
  till.hear(20);
  till.stop();
  await till.deliver(chunks);
  const chunk = join(dir, "chunk.ogg");
  await Deno.writeFile(chunk, till.chunks[2]?.bytes ?? new Uint8Array(0));

  const all = [...commandsOf(MANUALS).values()];
  for (const command of all.filter(({ words }) => /recorder-agent$/.test(words[0] ?? ""))) {
    said = [];
    assertEquals(await carryOut(command), 0, `${command.words.join(" ")}\n${said.join("\n")}`);
    assert(parseCommandLine(command.words.slice(1)).command === "run" || said.length > 0);
  }
  const expected = [
    "check",
    "conform",
    "devices",
    "help",
    "install",
    "join",
    "pause",
    "receive",
    "requeue",
    "resume",
    "run",
    "uninstall",
    "verify",
    "version",
  ];
  assertEquals([...ran].sort(), expected);
  await Deno.remove(dir, { recursive: true });
});
