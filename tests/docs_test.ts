// Compares the documents with the program: each command in them is known here and, where that is harmless,
// run; each list in them is complete.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { parse as parseYaml } from "@std/yaml/parse";
import { join } from "@std/path/join";
import { CONFORM_TESTS } from "../src/commands/conform_tests.ts";
import { CONFIG_DIR, PROGRAM } from "../src/commands/install_places.ts";
import { STATE_DIR } from "../src/config/places.ts";
import { IngestClient } from "../src/upload/ingest_client.ts";
import { PUBLIC_TLS } from "./fixtures/public_tls.ts";
import { inMemory } from "../src/upload/upload_file.ts";
import { judge } from "../src/upload/verdict.ts";
import { ids, makeChunk, makeName } from "./fixtures/chunks.ts";
import {
  checkNames,
  commandNames,
  configurationKeys,
  exitCodes,
  gapCauses,
  healthFields,
  ledgerFields,
  logLines,
  metricNames,
  notInSource,
  optionNames,
  problemsByKind,
} from "./fixtures/code_tables.ts";
import { isSoundMissing, problemCodes } from "../src/status/problems.ts";
import { codesIn, Document } from "./fixtures/documents.ts";
import { ALL, commandsOf, DOCS, MANUALS, README } from "./fixtures/manuals.ts";
import { phrasesUsed } from "./fixtures/phrases.ts";
import { startReceiver, TOKEN } from "./fixtures/receive_rig.ts";
import { startStatusRig } from "./fixtures/status_rig.ts";

const ROOT = new URL("..", import.meta.url).pathname;
/** Pages that are not needed in Russian: they are for people who run a fleet or its server. */
const ENGLISH_ONLY = [
  "docs/how-to/alerts.md",
  "docs/how-to/receive-chunks.md",
  "docs/how-to/receive-into-s3.md",
  "docs/how-to/use-received-chunks.md",
];
const RUSSIAN_REFERENCE = [
  ...["configuration", "command-line", "exit-codes", "problems", "failures", "storage"],
];
const { tasks }: { tasks: Record<string, string> } = JSON.parse(
  Deno.readTextFileSync(join(ROOT, "deno.json")),
);
const HEALTH_PORT = configurationKeys().find(({ name }) => name === "health_port")?.default ?? "";
const ciRun = Deno.readTextFileSync(join(ROOT, ".ci/run"));
const ciPackages = Deno.readTextFileSync(join(ROOT, ".ci/packages")).trim().split("\n");

// --- Commands ------------------------------------------------------------------------------------

function checkTask(name = ""): void {
  assert(Object.hasOwn(tasks, name), `deno.json has no task "${name}"`);
}

/** What is known about the arguments of other programs. Paths of this program must be those of `install`. */
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
    assertMatch(verb, /^(update|install|remove|purge)$/);
    for (const word of rest.filter((word) => !/^(--|\$\()/.test(word))) {
      const own = ["recorder-agent", "./recorder-agent.deb"];
      assert([...ciPackages, ...own, "cryptsetup"].includes(word), word);
    }
  },
  scp: ([, file = ""]) =>
    assert(
      file === "dist/recorder-agent_*_arm64.deb" ||
        Object.values(tasks).some((task) => task.includes(`-o ${file} `)),
      file,
    ),
  ssh: (words) => assertEquals(words[2], `${HEALTH_PORT}:127.0.0.1:${HEALTH_PORT}`),
  curl: (words) =>
    assert(
      [`http://127.0.0.1:${HEALTH_PORT}/`, "$INGEST_BASE_URL/"].some((start) =>
        words.at(-1)?.startsWith(start)
      ),
      words.at(-1),
    ),
  systemctl: ([, verb = "", unit, more]) => {
    if (verb === "daemon-reload") return;
    if (unit === "--now") {
      assertMatch(verb, /^(enable|disable)$/);
      assertMatch(more ?? "", /^recorder-agent-(led@ACT|receive)$/);
      return;
    }
    assertMatch(verb, /^(status|start|stop|restart|reload|mask)$/);
    assertMatch(unit ?? "", /^recorder-agent(-receive|-spool|-update)?$/);
  },
  journalctl: ([, u, unit]) => {
    assertEquals(u, "-u");
    assertMatch(unit ?? "", /^recorder-agent(-receive)?$/);
  },
  ...Object.fromEntries(
    [
      ...[
        "apt-ftparchive",
        "cd",
        "chmod",
        "chown",
        "cp",
        "cryptsetup",
        "fallocate",
        "echo",
        "find",
        "git",
        "gpg",
        "grep",
        "install",
        "ls",
        "mkdir",
      ],
      ...["mkfs.ext4", "mount", "mv", "openssl", "promtool", "rm", "sh", "sha256sum", "ssh-keygen"],
      ...["systemd-creds", "tail", "tee", "timedatectl", "useradd"],
      "ansible-playbook", // tests/package/run.ts runs it, and those of the package
      // tests/integration/how_to_test.ts runs these.
      ...["ffmpeg", "ffplay", "opusinfo"],
    ]
      .map((name) => [name, () => {}]),
  ),
};

function checkPlaces(words: readonly string[]): void {
  const places = words.map((word) => word.replace("/media/card", "")) // another till's card
    .filter((word) => /^\/.*recorder-agent/.test(word));
  for (const place of places) {
    assert([PROGRAM, CONFIG_DIR, STATE_DIR].some((known) => place.startsWith(known)), place);
  }
}

Deno.test("every program in the shell blocks of the manuals is known", () => {
  for (const document of ALL.filter(({ path }) => /\/(tutorial|how-to)\//.test(path))) {
    assert(document.blocks("sh").length > 0, document.path);
  }
  for (const { words: [program = "", ...args] } of commandsOf(MANUALS).values()) {
    checkPlaces(args);
    if (/^(\.\/)?recorder-agent$/.test(program)) continue;
    assert(Object.hasOwn(KNOWN, program), `${program} ${args.join(" ")} is checked by nothing`);
    KNOWN[program]?.([program, ...args]);
  }
});

Deno.test("a unit that a page writes for every boot is enabled there, and has the credentials that it names", () => {
  let enabled = 0;
  for (const page of DOCS) {
    const units = page.blocks("ini").join("\n");
    if (units.includes("[Install]")) {
      const [, unit = ""] = /`\/etc\/systemd\/system\/([\w-]+)\.service`/.exec(page.text) ?? [];
      const isEnabled = page.commands().some(({ words }) =>
        words[0] === "systemctl" && words[1] === "enable" && words.includes(unit)
      );
      assert(isEnabled, `${page.path}: ${unit}`);
      enabled++;
    }
    for (const [, name] of units.matchAll(/%d\/([\w-]+)/g)) {
      assertMatch(units, new RegExp(`^LoadCredential(Encrypted)?=${name}:`, "m"), page.path);
    }
  }
  assert(enabled > 0);
});

Deno.test("tasks and pages that the documents name exist", async () => {
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

Deno.test("every link of the documents has a target", () => {
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

Deno.test("every page can be reached from the index of its language", () => {
  const linkedFrom = (index: Document) =>
    index.links().map((link) => join(index.path, "..", link.split("#")[0] ?? ""));
  const found = ["docs/README.md", "docs/ru/README.md"].flatMap((path) => {
    return [path, ...linkedFrom(new Document(path))];
  });
  assertEquals(DOCS.map(({ path }) => path).filter((path) => !found.includes(path)), []);
});

Deno.test("the source files that the documents name exist", () => {
  const missing = ALL.flatMap(({ path, text }) => {
    const named = text.matchAll(/`((?:src|tests|bench)\/[\w./-]+)`/g);
    return [...named].map(([, file = ""]) => file).filter((file) => !file.includes("NAME"))
      .filter((file) => !exists(file)).map((file) => `${path}: ${file}`);
  });
  assertEquals(missing, []);
});

function exists(path: string): boolean {
  try {
    Deno.statSync(join(ROOT, path));
    return true;
  } catch {
    return false;
  }
}

// --- Tables --------------------------------------------------------------------------------------

/** A page of the reference. */
function reference(name: string): Document {
  return new Document(`docs/reference/${name}.md`);
}

/** The codes in the first cells of the tables below a heading. */
function listed(document: Document, heading: string): string[] {
  return document.rows(heading).flatMap(([cell = ""]) => codesIn(cell)).sort();
}

Deno.test("the tables of the configuration have every key, its variable and its default", () => {
  const expected = configurationKeys().map((key) => [key.name, key.variable, key.default]).sort();
  const russian = new Document("docs/ru/reference/configuration.md");
  for (
    const [document, heading] of [
      [reference("configuration"), "## Keys"],
      [russian, "## Ключи"],
    ] as const
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

Deno.test("the reference says what each key accepts, in the words of the program", () => {
  const points = reference("configuration").points("## Accepted values")
    .map(([name, text]) => [name, text.replace(/, not less than `\w+`$/, "")]);
  const expected = configurationKeys().map(({ name, accepted }) => [name, accepted]);
  assertEquals(points.toSorted(), expected.toSorted());
});

Deno.test("each key has a reason in the page that explains them, in the order of the table", () => {
  const page = new Document("docs/explanation/configuration.md");
  const rows = page.rows("# Why each key exists");
  assertEquals(
    rows.map(([name = ""]) => codesIn(name)[0]),
    configurationKeys().map(({ name }) => name),
  );
  assertEquals(rows.filter(([, reason = ""]) => reason === ""), []);
});

Deno.test("the reference has every command, every option and every check", () => {
  const page = reference("command-line");
  const headings = page.headingCodes("## Commands").map((code) => code.split(" ").at(-1) ?? "");
  assertEquals(commandNames().filter((name) => !headings.includes(name)), []);
  const options = listed(page, "## Options").flatMap((code) => /^--[a-z0-9-]+/.exec(code) ?? []);
  assertEquals(options, optionNames());
  const verdicts = ["ok", "warning", "failed", "skipped"];
  assertEquals(
    listed(page, "### `check`").filter((code) => !verdicts.includes(code)),
    checkNames(),
  );
});

Deno.test("the reference has every test of conform, in its order", () => {
  const names = reference("conform").rows("# The tests of `conform`").map(([name = ""]) => name);
  assertEquals(names, [...CONFORM_TESTS]);
});

Deno.test("the reference has every exit code", () => {
  const codes = reference("exit-codes").rows("# Exit codes").flatMap(([cell = ""]) =>
    codesIn(cell)
  );
  assertEquals(codes.sort(), exitCodes());
});

Deno.test("the reference has every problem code and every cause of a gap, and no other", () => {
  const page = reference("problems");
  assertEquals(page.headingCodes("## Codes").sort(), problemCodes().sort());
  assertEquals(listed(page, "## Causes of missing sound"), gapCauses());
});

Deno.test("the pages of problems list the codes by kind, and say for which kinds sound is missing", () => {
  for (
    const [path, heading, missing] of [
      ["docs/reference/problems.md", "# Problems", "no sound is recorded"],
      ["docs/ru/reference/problems.md", "# Проблемы", "звук не записывается"],
    ] as const
  ) {
    const found = new Document(path).points(heading).map(([kind, text]) => {
      const links = [...text.matchAll(/\[`([a-z_]+)`\]\(#\1\)/g)];
      return [kind, { codes: links.map(([, code]) => code), isMissing: text.includes(missing) }];
    });
    const expected = [...problemsByKind()].map(([kind, codes]) => [
      kind,
      { codes, isMissing: codes.some(isSoundMissing) },
    ]);
    assertEquals(found, expected, path);
  }
});

Deno.test("the page of problems says for each code what it means, what happens and how to fix it", () => {
  for (
    const [path, words] of [
      ["docs/reference/problems.md", ["Meaning", "Meanwhile", "Fix"]],
      ["docs/ru/reference/problems.md", ["Что это значит", "Что делает программа", "Что делать"]],
    ] as const
  ) {
    const { text } = new Document(path);
    for (const code of problemCodes()) {
      const [, section = ""] = text.split(`\n### \`${code}\`\n`);
      const said = section.split("\n#")[0] ?? "";
      assertEquals(
        words.filter((word) => !said.includes(`- **${word}**: `)),
        [],
        `${path} ${code}`,
      );
    }
  }
});

Deno.test("the reference has every line of the log with its level, and no other", () => {
  const written = logLines();
  assert(written.size > 25);
  const rows = [reference("log").rows("## Messages"), reference("receive").rows("## Log")].flat()
    .map(([message = "", level = ""]) => [codesIn(message)[0] ?? "", level] as const);
  const messages = rows.map(([message]) => message);
  assertEquals([...written.keys()].filter((message) => !messages.includes(message)), []);
  assertEquals(notInSource(messages), []);
  const levels = rows.filter(([message]) => written.has(message))
    .map(([message, level]) => [message, level.split("/").sort()]);
  assertEquals(
    levels,
    levels.map(([message]) => [message, [...written.get(String(message)) ?? []].sort()]),
  );
});

Deno.test("the reference has every field of /health and every metric, and no other", async () => {
  await using rig = startStatusRig();
  const view = rig.view();
  const health = reference("health");
  assertEquals(listed(health, "## Fields"), healthFields(view));
  assertEquals(listed(health, "## Ledger"), ledgerFields(view));
  const sums = new Set(health.text.match(/\b[a-z_]+_s\b(?= [=+]|`)/g));
  assertEquals(ledgerFields(view).filter((name) => !sums.has(name)), []);
  const metrics = metricNames(view);
  assertEquals(listed(reference("metrics"), "# Metrics"), metrics);
});

/** The names of the headers and fields of an upload whose time is not synchronized. */
async function uploadedNames(): Promise<{ headers: string[]; fields: string[] }> {
  const sent = { headers: [] as string[], fields: [] as string[] };
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const usual = /^(accept|accept-.*|content-length|host|user-agent)$/;
      sent.headers = [...request.headers.keys()].filter((name) => !usual.test(name)).sort();
      sent.fields = [...(await request.formData()).keys()].sort();
      return Response.json({ status: "ok", chunk_id: "1" });
    },
  );
  using client = new IngestClient({
    baseUrl: `http://127.0.0.1:${server.addr.port}`,
    readToken: () => Promise.resolve("a-token"),
    ids,
    timestampFormat: "unix",
    timeoutMs: 10_000,
    tls: PUBLIC_TLS,
  });
  const provisional = { bootId: "b0a1b2c3", startBootUs: 1, seenUnixS: null };
  const name = { ...makeName(), provisional };
  const { kind } = await client.upload(name, inMemory(makeChunk()), new AbortController().signal);
  assertEquals(kind, "delivered");
  return sent;
}

Deno.test("the protocol has every header and every field of an upload, and no other", async () => {
  const { headers, fields } = await uploadedNames();
  const page = reference("protocol");
  const listedHeaders = [...page.text.matchAll(/^([A-Z][\w-]+): [^{]/gm)]
    .map(([, header = ""]) => header.toLowerCase());
  assertEquals(listedHeaders.sort(), headers);
  assertEquals(listed(page, "## Request"), fields);
});

Deno.test("ingest-api.yaml has the same headers, fields and answers as the program", async () => {
  const text = Deno.readTextFileSync(join(ROOT, "docs/reference/ingest-api.yaml"));
  const { paths } = parseYaml(text) as OpenApi;
  const { parameters, requestBody, responses } = paths["/api/v1/chunks"].post;
  const { headers, fields } = await uploadedNames();
  // It describes these two in other places.
  const own = headers.filter((name) => !["authorization", "content-type"].includes(name));
  assertEquals(parameters.map(({ name }) => name.toLowerCase()).sort(), own);
  const { schema } = requestBody.content["multipart/form-data"];
  assertEquals([...schema.required].sort(), fields);
  assertEquals(Object.keys(schema.properties).sort(), fields);
  const kinds = { Refused: "refused", Later: "retry", Misconfigured: "misconfigured" };
  for (const [status, { $ref }] of Object.entries(responses)) {
    const code = Number(status.replace("XX", "18")); // one that no row names
    const body = JSON.stringify({ status: "ok", chunk_id: "1" });
    const expected = Object.entries(kinds).find(([name]) => $ref?.endsWith(name))?.[1];
    assertEquals(judge(code, new Headers(), body).kind, expected ?? "delivered", status);
  }
});

Deno.test("the receiver accepts the examples of ingest-api.yaml, and the program reads the answers so", async () => {
  const text = Deno.readTextFileSync(join(ROOT, "docs/reference/ingest-api.yaml"));
  const { parameters, requestBody, responses } = (parseYaml(text) as OpenApi)
    .paths["/api/v1/chunks"].post;
  const headers = Object.fromEntries(
    parameters.flatMap(({ name, example }) => example === undefined ? [] : [[name, example]]),
  );
  const examples = Object.values(requestBody.content["multipart/form-data"].examples);
  assertEquals(examples.length, 2);
  const accepted = responses["200"]?.content?.["application/json"].example;
  await using rig = await startReceiver({});
  const bytes = makeChunk();
  const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toBase64();
  for (const { value: { chunk_file, ...fields } } of examples) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("chunk_file", new Blob([bytes]), chunk_file);
    const answer = await fetch(`http://127.0.0.1:${rig.port}/api/v1/chunks`, {
      ...{ method: "POST", body: form },
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...Object.fromEntries(
          // The digests of the examples are those of an empty file.
          Object.entries(headers).map((
            [name, value],
          ) => [name, value.replace(/47DE\S{40}/, sha256)]),
        ),
      },
    });
    assertEquals([answer.status, await answer.json()], [200, accepted]);
  }
  assertEquals(rig.files().length, 1, "both are the same chunk");
  for (const status of ["200", "409"]) {
    const body = JSON.stringify(responses[status]?.content?.["application/json"].example);
    assertEquals(judge(Number(status), new Headers(), body).kind, "delivered", status);
  }
});

/** The part of the file that the tests read. */
interface OpenApi {
  readonly paths: Record<"/api/v1/chunks", {
    readonly post: {
      readonly parameters: readonly { readonly name: string; readonly example?: string }[];
      readonly requestBody: {
        readonly content: Record<"multipart/form-data", {
          readonly schema: {
            readonly required: readonly string[];
            readonly properties: Readonly<Record<string, unknown>>;
          };
          readonly examples: Readonly<
            Record<string, { readonly value: Readonly<Record<string, string>> }>
          >;
        }>;
      };
      readonly responses: Readonly<
        Record<string, {
          readonly $ref?: string;
          readonly content?: Record<"application/json", { readonly example?: unknown }>;
        }>
      >;
    };
  }>;
}

// --- Two languages, one language -----------------------------------------------------------------

Deno.test("what a technician needs exists in Russian, with the same commands and entries", () => {
  const pages = DOCS.map(({ path }) => path);
  const wanted = [
    ...pages.filter((path) => /^docs\/(tutorial|how-to)\//.test(path)),
    ...RUSSIAN_REFERENCE.map((name) => `docs/reference/${name}.md`),
  ].filter((path) => !ENGLISH_ONLY.includes(path));
  const twins = wanted.map((path) => path.replace("docs/", "docs/ru/"));
  assertEquals(
    pages.filter((path) => path.startsWith("docs/ru/")).sort(),
    [
      "docs/ru/README.md",
      ...twins,
    ].sort(),
  );
  for (const path of wanted) {
    const [english, russian] = [
      new Document(path),
      new Document(path.replace("docs/", "docs/ru/")),
    ];
    assertEquals(russian.commands(), english.commands(), russian.path);
    assertEquals(russian.entries(), english.entries(), russian.path);
  }
  assertEquals(new Document("docs/ru/README.md").commands(), README.commands());
});

Deno.test("the promises have the same figures in both languages", () => {
  const figures = ({ text }: Document) => {
    const [promises = ""] = /^- \*\*[^]*?(?=\n\n)/m.exec(text) ?? [];
    const shown = promises.replaceAll(/\]\([^)]*\)/g, "]");
    const written = shown.match(/\d+(?:[.,\u00a0 ]\d+)*/g) ?? [];
    const numbers = written.map((figure) => figure.replaceAll(/[,\u00a0 ](?=\d{3})/g, ""));
    return [...new Set(numbers.map((number) => Number(number.replace(",", "."))))];
  };
  const english = figures(README);
  assert(english.length > 8, String(english));
  assertEquals(figures(new Document("docs/ru/README.md")).toSorted(), english.toSorted());
});

Deno.test("comments of commands are in the language of the page", () => {
  const foreign = DOCS.filter(({ path }) => path.startsWith("docs/ru/")).flatMap((page) =>
    page.blocks("sh").flatMap((block) => block.match(/(?<=\s)# .*/g) ?? [])
      .filter((comment) => !/\p{Script=Cyrillic}/u.test(comment))
      .map((comment) => `${page.path}: ${comment}`)
  );
  assertEquals(foreign, []);
});

Deno.test("no text uses a phrase that the project no longer uses", () => {
  assertEquals(phrasesUsed(), []);
});

Deno.test("the README is short, and no table in it is wider than a screen", () => {
  const lines = README.text.split("\n");
  assert(lines.length <= 130, `${lines.length} lines`);
  assertEquals(lines.filter((line) => line.startsWith("|") && line.length > 120), []);
});

Deno.test("a picture of the documents is small", () => {
  const pictures = [...Deno.readDirSync(join(ROOT, "docs/images"))].map(({ name }) => name);
  assert(pictures.length > 0);
  for (const name of pictures) {
    const { size } = Deno.statSync(join(ROOT, "docs/images", name));
    assert(size < 150_000, `${name}: ${size} bytes`);
  }
});
