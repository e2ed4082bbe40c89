// The documents against the program: what they tell people to type is known here and, where it does no
// harm, done; what they list is what there is.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { DIAGNOSIS_CODES } from "../src/status/diagnosis.ts";
import { parseCommandLine } from "../src/commands/command_line.ts";
import { runCheck } from "../src/commands/check.ts";
import { runDevices } from "../src/commands/devices.ts";
import { CONFIG, CONFIG_DIR, PROGRAM, runInstall, STATE_DIR } from "../src/commands/install.ts";
import { runRequeue } from "../src/commands/requeue.ts";
import { runUninstall } from "../src/commands/uninstall.ts";
import { configKeys, loadConfig } from "../src/config/config.ts";
import { CLOCK_PROBLEM } from "../src/status/status.ts";
import { makeName } from "./fixtures/chunks.ts";
import { run } from "./fixtures/command.ts";
import { codesIn, Document, type ShellCommand } from "./fixtures/documents.ts";
import { startStatusRig } from "./fixtures/status_rig.ts";
import { TempSpool } from "./fixtures/temp_spool.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const README = new Document("README.md");
const RUSSIAN = new Document("docs/README.ru.md");
const OPERATIONS = new Document("docs/operations.md");
const MANUALS = [README, RUSSIAN, OPERATIONS];
const ALL = [
  ...MANUALS,
  ...["architecture", "findings", "performance", "rig"].map((name) =>
    new Document(`docs/${name}.md`)
  ),
];
const EXAMPLE = {
  point_id: "11111111-1111-4111-8111-111111111111",
  register_id: "22222222-2222-4222-8222-222222222222",
  device_id: "33333333-3333-4333-8333-333333333333",
  // Nobody listens there: nothing is sent anywhere.
  ingest_base_url: "https://127.0.0.1:9",
};

/** Each command once, by its text. */
function commandsOf(documents: readonly Document[]): Map<string, ShellCommand> {
  return new Map(
    documents.flatMap((document) => document.commands())
      .map((command) => [JSON.stringify(command), command]),
  );
}

/** The modules of the program in one text. */
function readSource(): string {
  const read = (dir: string): string =>
    [...Deno.readDirSync(join(ROOT, dir))].map(({ name, isDirectory }) =>
      isDirectory
        ? read(join(dir, name))
        : name.endsWith(".ts")
        ? Deno.readTextFileSync(join(ROOT, dir, name))
        : ""
    ).join("\n");
  return read("src") + Deno.readTextFileSync(join(ROOT, "main.ts"));
}

const { tasks }: { tasks: Record<string, string> } = JSON.parse(
  Deno.readTextFileSync(join(ROOT, "deno.json")),
);
const HEALTH_PORT = configKeys().find(({ name }) => name === "health_port")?.default ?? "";
const ciRun = Deno.readTextFileSync(join(ROOT, ".ci/run"));
const ciPackages = Deno.readTextFileSync(join(ROOT, ".ci/packages")).trim().split("\n");

// --- Commands ------------------------------------------------------------------------------------

function checkTask(name = ""): void {
  assert(Object.hasOwn(tasks, name), `deno.json has no task "${name}"`);
}

/** What can be said of the other programs' arguments. Places of ours must be those of `install`. */
const KNOWN: Record<string, (words: readonly string[]) => void> = {
  deno: ([, task, name]) => {
    assertEquals(task, "task");
    checkTask(name);
  },
  npx: ([, yes, deno, task, name]) => {
    assertEquals([yes, task], ["-y", "task"]);
    assert(ciRun.includes(`npx -y ${deno} task`), `${deno} is not what CI runs`);
    checkTask(name);
  },
  "apt-get": ([, verb = "", ...rest]) => {
    assertMatch(verb, /^(update|install)$/);
    for (const word of rest.filter((word) => !/^(--|\$\()/.test(word))) {
      assert(ciPackages.includes(word), word);
    }
  },
  scp: ([, file = ""]) =>
    assert(Object.values(tasks).some((task) => task.includes(`-o ${file} `)), file),
  ssh: (words) => assertEquals(words[2], `${HEALTH_PORT}:127.0.0.1:${HEALTH_PORT}`),
  curl: (words) => assert(words.at(-1)?.startsWith(`http://127.0.0.1:${HEALTH_PORT}/`)),
  systemctl: ([, verb = "", unit]) => {
    assertMatch(verb, /^(status|start|stop|restart)$/);
    assertEquals(unit, "recorder-agent");
  },
  journalctl: ([, ...rest]) => assertEquals(rest.slice(0, 2), ["-u", "recorder-agent"]),
  ...Object.fromEntries(
    ["chown", "cp", "find", "jq", "mount", "mv", "promtool", "tail", "tee", "timedatectl"]
      .map((name) => [name, () => {}]),
  ),
};

function checkPlaces(words: readonly string[]): void {
  const ours = words.map((word) => word.replace("/media/card", "")) // another till's card
    .filter((word) => /^\/.*recorder-agent/.test(word));
  for (const place of ours) {
    assert([PROGRAM, CONFIG_DIR, STATE_DIR].some((known) => place.startsWith(known)), place);
  }
}

Deno.test("every shell block of the manuals is valid, and every program in it is known", async () => {
  for (const document of MANUALS) {
    const blocks = document.blocks("sh");
    assert(blocks.length > 5, document.path);
    for (const block of blocks) await run("bash", ["-n", "-c", block]);
  }
  for (const { words: [program = "", ...args] } of commandsOf(MANUALS).values()) {
    checkPlaces(args);
    if (/^(\.\/)?recorder-agent$/.test(program)) continue;
    assert(Object.hasOwn(KNOWN, program), `${program} ${args.join(" ")} is checked by nothing`);
    KNOWN[program]?.([program, ...args]);
  }
});

Deno.test("every recorder-agent command of the manuals does what can be done without harm", async () => {
  const dir = await Deno.makeTempDir({ prefix: "docs-test-" });
  const root = join(dir, "root");
  await Deno.mkdir(join(root, "etc"), { recursive: true });
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
        // Unattended if it gives the token; else somebody answers.
        const ask = Object.hasOwn(env, "RA_INGEST_TOKEN") ? null : (question: string) => {
          const answers: Record<string, string> = { ...EXAMPLE, ingest_token: "a-token" };
          return Promise.resolve(answers[question.split(",")[0] ?? ""] ?? null);
        };
        const token = Object.hasOwn(env, "RA_INGEST_TOKEN") ? { RA_INGEST_TOKEN: "a-token" } : {};
        return await runInstall({
          ...{ ...args, root, executable, ask, print, env: token, dryRun: true },
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
      case "run":
        loadConfig({
          path: CONFIG,
          env,
          readTextFile: (path) => path === CONFIG ? Deno.readTextFileSync(config) : "a-token",
        });
        return 0;
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

  const all = [...commandsOf(MANUALS).values()];
  for (const command of all.filter(({ words }) => /recorder-agent$/.test(words[0] ?? ""))) {
    said = [];
    assertEquals(await carryOut(command), 0, `${command.words.join(" ")}\n${said.join("\n")}`);
    assert(parseCommandLine(command.words.slice(1)).command === "run" || said.length > 0);
  }
  const expected = ["check", "devices", "install", "requeue", "run", "uninstall", "version"];
  assertEquals([...ran].sort(), expected);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("tasks and pages that the documents name are there", async () => {
  for (const { text } of ALL) {
    for (const [, name] of text.matchAll(/\bdeno task ([a-z][\w:]*)/g)) checkTask(name);
  }
  await using rig = startStatusRig();
  for (const { text } of MANUALS) {
    for (const [, path = ""] of text.matchAll(/http:\/\/127\.0\.0\.1:8042\/([a-z]*)/g)) {
      const answer = await fetch(rig.url + path, { headers: { accept: "text/html" } });
      await answer.body?.cancel();
      assertEquals(answer.status, 200, path);
    }
  }
});

Deno.test("the Russian README has the commands of the English one", () => {
  assertEquals(RUSSIAN.commands(), README.commands());
});

Deno.test("every link of the documents leads somewhere", () => {
  const broken = ALL.flatMap((document) =>
    document.links().filter((link) => {
      const [file = "", anchor] = link.split("#");
      const path = file === "" ? document.path : join(document.path, "..", file);
      try {
        const anchors = new Document(path).anchors();
        return anchor !== undefined && !anchors.includes(anchor);
      } catch {
        return true;
      }
    }).map((link) => `${document.path}: ${link}`)
  );
  assertEquals(broken, []);
});

// --- Tables --------------------------------------------------------------------------------------

Deno.test("the tables of the configuration have every key, its variable and its default", () => {
  const expected = configKeys().map((key) => [key.name, key.variable, key.default]).sort();
  for (
    const [document, heading] of [[README, "## Configuration"], [RUSSIAN, "## Настройка"]] as const
  ) {
    const rows = document.rows(heading);
    assertEquals(
      rows.map(([name = "", variable, value]) => [
        name,
        variable,
        expected.find(([key]) => key === name)?.[2] === null ? null : value,
      ]).sort(),
      expected,
      document.path,
    );
  }
});

/** What a call with a literal code, or several, names. */
function literalsOf(source: string, calls: RegExp): string[] {
  const found = [...source.matchAll(calls)].flatMap(([, list = ""]) =>
    [...list.matchAll(/"([a-z_]+)"/g)].map(([, code = ""]) => code)
  );
  return [...new Set(found)].sort();
}

Deno.test("docs/operations.md has every problem code and every cause of a gap, and no other", () => {
  const source = readSource();
  const codes = literalsOf(
    source,
    /(?:setProblem|clearProblem|#problem|#failed)\(\s*((?:"[a-z_]+"[,\s]*)+)/g,
  );
  assert(codes.includes("upload_failing") && codes.includes("disk_low"), codes.join());
  const listed = OPERATIONS.rows("## Problems").flatMap(([code = ""]) => codesIn(code)).sort();
  assertEquals(listed, [...new Set([...codes, ...DIAGNOSIS_CODES, CLOCK_PROBLEM])].sort());
  const causes = literalsOf(source, /(?:#gapCause =|#closeBooks\()([^;]*)/g);
  const explained = OPERATIONS.rows("## Missing sound").flatMap(([cause = ""]) => codesIn(cause));
  assertEquals(explained.sort(), causes);
  const known = [...listed, ...causes];
  const strange = RUSSIAN.rows("## Если не пишет").flatMap(([code = ""]) => codesIn(code))
    .filter((code) => !known.includes(code));
  assertEquals(strange, []);
});

Deno.test("docs/operations.md has every line of the log", () => {
  const source = readSource();
  const written = [...source.matchAll(/\blog\.(?:info|warning|error|fatal)\(\s*"([^"]+)"/g)]
    .map(([, message = ""]) => message);
  assert(written.length > 30);
  const listed = OPERATIONS.rows("### The log").flatMap(([message = ""]) => codesIn(message));
  assertEquals(written.filter((message) => !listed.includes(message)), []);
  assertEquals(listed.filter((message) => !source.includes(`"${message}"`)), []);
});

Deno.test("the documents have every field of /health and every metric, and no other", async () => {
  await using rig = startStatusRig();
  const fields = README.rows("## Health and metrics").flatMap(([cell = ""]) => codesIn(cell));
  assertEquals(fields.sort(), Object.keys(rig.view().report).sort());
  const sums = new Set(README.text.match(/\b[a-z_]+_s\b(?= [=+]|`)/g));
  for (const name of Object.keys(rig.view().report.ledger)) assert(sums.has(name), name);

  const answer = await (await fetch(`${rig.url}metrics`)).text();
  const metrics = [...answer.matchAll(/^# TYPE (\w+)/gm)].map(([, name = ""]) => name);
  const table = OPERATIONS.rows("## Metrics and alerts");
  assertEquals(table.flatMap(([cell = ""]) => codesIn(cell)).sort(), metrics.sort());
  const alerts = OPERATIONS.blocks("yaml").join("").match(/\b(recorder_agent|process)_\w+/g) ?? [];
  assertEquals(alerts.filter((name) => !metrics.includes(name)), []);
  const codes = OPERATIONS.rows("## Problems").flatMap(([code = ""]) => codesIn(code));
  const [, alerted = ""] = /code=~"([^"]+)"/.exec(OPERATIONS.text) ?? [];
  assertEquals(alerted.split("|").filter((code) => !codes.includes(code)), []);
});
