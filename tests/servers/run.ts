// deno-lint-ignore-file no-console -- it talks to a person
// The whole matrix: every situation with every endpoint that it is meant for, one after the other. It
// prints a table, and writes it into docs/testing.md with --write.
//
//   deno task test:servers [--only TEXT] [--write]
//
// The exit code is 1 if one of them is not as it should be.

import { writeDocument } from "../../bench/document.ts";
import { Bed, type EndpointName } from "./bed.ts";
import { CHECKS } from "./checks.ts";
import { FRAMEWORKS } from "./endpoints.ts";
import { endpointsOf, type Situation, SITUATIONS } from "./situations.ts";

/** How much of what the program did the table has, characters. */
const MAX_CELL = 160;

interface Row {
  readonly situation: Situation;
  readonly endpoint: EndpointName;
  /** What the program did. */
  readonly did: string;
  readonly isRight: boolean;
}

async function main(args: readonly string[]): Promise<number> {
  const at = args.indexOf("--only");
  const only = at < 0 ? "" : args[at + 1] ?? "";
  const rows: Row[] = [];
  for (const situation of [...SITUATIONS, ...CHECKS]) {
    for (const endpoint of endpointsOf(situation, FRAMEWORKS)) {
      if (!`${situation.server} ${endpoint}: ${situation.name}`.includes(only)) continue;
      const row = await runOne(situation, endpoint);
      console.log(`${row.isRight ? "✔" : "✘"} ${situation.server}, ${endpoint}: ${situation.name}`);
      console.log(`  ${row.did}\n`);
      rows.push(row);
    }
  }
  const table = tableOf(rows);
  if (args.includes("--write")) await writeDocument("servers", table, "docs/testing.md");
  console.log(`\n${table}`);
  return rows.every(({ isRight }) => isRight) ? 0 : 1;
}

async function runOne(situation: Situation, endpoint: EndpointName): Promise<Row> {
  try {
    await using bed = await Bed.start(endpoint);
    return { situation, endpoint, did: await situation.run(bed), isRight: true };
  } catch (error) {
    const did = error instanceof Error ? error.message : String(error);
    return { situation, endpoint, did, isRight: false };
  }
}

function tableOf(rows: readonly Row[]): string {
  const cells = rows.map(({ situation: { server, name }, endpoint, did, isRight }) => {
    const line = hidePorts(did.split("\n")[0] ?? "");
    const said = line.length > MAX_CELL ? `${line.slice(0, MAX_CELL)}…` : line;
    return [server, endpoint, name, plain(said), isRight ? "✔" : "✘"];
  });
  const head = [
    ["server", "endpoint", "promise", "what the program did", ""],
    Array(5).fill("---"),
  ];
  return [...head, ...cells].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** Quoted pages stay text in a document. */
function plain(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

/** Ports differ from run to run. */
function hidePorts(text: string): string {
  return text.replaceAll(/(127\.0\.0\.1|localhost):\d+/g, "$1");
}

if (import.meta.main) Deno.exit(await main(Deno.args));
