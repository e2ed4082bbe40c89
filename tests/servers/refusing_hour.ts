// deno-lint-ignore-file no-console -- it talks to a person
// A run of an hour behind an nginx that refuses every chunk (413) for the first half: the whole program
// with a microphone, TLS, and the settings of a till. It prints what has arrived, in which order, what is in
// rejected/, and the log, in which repeats are counted instead of shown.
//
//   deno task test:hour [--minutes 60] [--chunk-seconds 60]
//
// The exit code is 1 if anything did not arrive, or not in order.

import { join } from "@std/path/join";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import type { LogLine } from "../fixtures/agent_process.ts";
import { Bed } from "./bed.ts";
import { Nginx } from "./nginx.ts";
import { startRecordingTill } from "./recording_till.ts";

/** Default of `upload_concurrency`. */
const IN_FLIGHT = 6;
const LOOK_MS = 200;
/** The last chunk is delivered within this time after the microphone's last sound. */
const DRAIN_LIMIT_MS = 600_000;

async function main(args: readonly string[]): Promise<number> {
  const minutes = numberOf(args, "--minutes", 60);
  const chunkSeconds = numberOf(args, "--chunk-seconds", 60);
  const halfMs = minutes * 30_000;
  await using bed = await Bed.start("strict");
  const open = { upstream: bed.url, tls: bed.tls, server: "client_max_body_size 0;" };
  const refusing = { ...open, server: "client_max_body_size 1k;" };
  await using nginx = await Nginx.start(refusing);
  await using till = await startRecordingTill({
    url: nginx.url(),
    caFile: bed.tls.caFile,
    chunkSeconds,
  });
  const { agent, spool } = till;
  const rejected = new Set<string>();
  const watch = async (ms: number, isOver: () => boolean = () => false) => {
    for (const endMs = performance.now() + ms; performance.now() < endMs && !isOver();) {
      for (const name of filesIn(join(spool, "rejected"))) rejected.add(name);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  };

  console.log(`${new Date().toISOString()}  recording; nginx refuses every chunk with 413`);
  await watch(halfMs);
  const waitingAtHalf = filesIn(join(spool, "outbox")).length;
  await nginx.reload(open);
  const openedAt = Date.now();
  console.log(`${new Date().toISOString()}  nginx accepts; ${waitingAtHalf} chunks wait`);
  await watch(halfMs);
  const backlog = () => filesIn(join(spool, "outbox")).length;
  await watch(DRAIN_LIMIT_MS, () => backlog() === 0);
  console.log(`${new Date().toISOString()}  stopping`);
  const code = await agent.end("SIGTERM");

  const delivered = filesIn(join(spool, "uploaded")).map((name) => parseChunkName(name)?.key);
  const arrived = bed.strict?.chunks ?? [];
  const places = arrived.map(({ key }, at) => delivered.indexOf(key) - at);
  const left = backlog();
  const ahead = Math.max(0, ...places);
  // The chunk that ended with the program may still wait.
  const isRight = code === 0 && rejected.size === 0 && left <= 1 && ahead < IN_FLIGHT &&
    arrived.length === delivered.length && arrived.length > 0 &&
    bed.strict?.violations.length === 0;
  const drainedMs = (arrived[waitingAtHalf - 1]?.receivedAtMs ?? NaN) - openedAt;
  console.log(`
arrived                      ${arrived.length}
recorded and delivered       ${delivered.length}
still in outbox/ at the end  ${left}
ever in rejected/            ${rejected.size}
accepted twice               ${bed.strict?.duplicates}
most places ahead of time    ${ahead} (allowed: ${IN_FLIGHT - 1})
waiting when nginx accepted  ${waitingAtHalf}, delivered ${(drainedMs / 1000).toFixed(1)} s later
exit code                    ${code}

The log of it:
${condensed(agent.log).join("\n")}

${isRight ? "Everything arrived, in order." : "NOT everything arrived in order."}`);
  return isRight ? 0 : 1;
}

/** The log, in which lines like one of the last three are counted instead of shown. */
function condensed(log: readonly LogLine[]): string[] {
  const lines: string[] = [];
  let recent: string[] = [];
  let repeats = new Map<string, number>();
  const close = () => {
    for (const [message, times] of repeats) lines.push(`   … and ${times} × ${message}`);
    repeats = new Map();
  };
  for (const { time, level, message, ...fields } of log) {
    const kind = message.replaceAll(/\d+/g, "N").slice(0, 60);
    if (recent.includes(kind)) {
      const short = message.slice(0, 80);
      const known = [...repeats.keys()].find((key) => key.replaceAll(/\d+/g, "N") === kind);
      repeats.set(known ?? short, (repeats.get(known ?? short) ?? 0) + 1);
      continue;
    }
    close();
    recent = [kind, ...recent].slice(0, 3);
    const more = ["chunk", "reason", "waiting"].filter((name) => fields[name] !== undefined)
      .map((name) => `${name}=${String(fields[name]).slice(0, 60)}`);
    lines.push([String(time).slice(11, 19), level, message.slice(0, 240), ...more].join(" "));
  }
  close();
  return lines;
}

function filesIn(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map(({ name }) => name).filter((name) =>
      name.endsWith(".ogg")
    ).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function numberOf(args: readonly string[], option: string, fallback: number): number {
  const at = args.indexOf(option);
  const value = at < 0 ? fallback : Number(args[at + 1]);
  if (!(value > 0)) throw new Error(`Cannot run as ${option} must be a number above 0`);
  return value;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
