// Scenario of a signed release and of an earlier one: a till with a full spool is upgraded as the pages say, delivers a
// part, goes back by hand, delivers the rest, and is upgraded again. The pages decide what a technician does here; this
// module holds no copy of their commands. tests/releases has larger spools and more programs, without an installation.

import { join } from "@std/path/join";
import manifest from "../../../deno.json" with { type: "json" };
import type { HealthReport } from "../../../src/status/status.ts";
import { compileIn } from "../../fixtures/binaries.ts";
import { Document } from "../../fixtures/documents.ts";
import type { Behaviour } from "../../fixtures/ingest_server.ts";
import { makeReleaseSource } from "../../fixtures/release.ts";
import { namesOf, unpackRelease } from "../../releases/sources.ts";
import {
  gapLines,
  keyIn,
  type Names,
  type Place,
  putChunks,
  putParts,
  putRefused,
  putUnsure,
  sampleOf,
} from "../../releases/stock.ts";
import { Deliveries } from "../deliveries.ts";
import { SLOWEST } from "../guest.ts";
import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { SPOOL, UNIT } from "../service.ts";

const OLD = "0.1.0";
/** Its name in the share. */
const OLD_PROGRAM = `recorder-agent-${OLD}`;
const NEW = manifest.version;

/** Waiting chunks whose time is known: nearly three hours. */
const WAITING = 1000;
/** Of each kind, for each of the first two programs. */
const UNSURE = 10;
const PARTS = 5;
const UPLOADED = 200;
const REFUSED = 50;
const GAPS = 100;
/** What the new release delivers before it is replaced. */
const DELIVERED = 300;
const REFUSAL: Behaviour = { kind: "status", status: 422, body: '{"error":"the sound is odd"}' };
/** Requests in flight, by default. */
const CONCURRENCY = 6;

const CONFIG = "/etc/recorder-agent/config.yaml";
/** A key that the old release does not know. */
const NEW_KEY = "keep_delivered_days";
/** The folder of the technician: a checkout that is trusted, as far as it is needed, and the release in its `dist/`. */
const CHECKOUT = "/root/recorder-agent";
const SUDO = 'set -e; sudo() { "$@"; }\n';
/** What a takeover may cost, in seconds of sound. */
const MISSING_LIMIT_S = 20;
/** How long this machine waits for what the guest does in minutes. */
const LIMIT_MS = 600_000 * SLOWEST;

async function release(rig: Rig, report: Report): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "vm-release-" });
  try {
    const arch = rig.arch === "amd64" ? "x64" : "arm64";
    const old = join(dir, OLD);
    await unpackRelease(OLD, old);
    await Deno.copyFile(await compileIn(old, arch), join(rig.share, OLD_PROGRAM));
    const made = await makeReleaseSource(dir, arch);
    await made.release();
    for (const name of [".ci", "dist"]) {
      await copyFolder(join(made.source, name), join(rig.share, "release", name));
    }
    rig.ingest.goOffline();
    await rig.renew(OLD_PROGRAM);
    const bootId = await rig.running.guest.run("head -c 8 /proc/sys/kernel/random/boot_id");
    await new Till(rig, report, { names: await namesOf(old), bootId }).run();
  } finally {
    await Deno.remove(dir, { recursive: true });
    for (const name of [OLD_PROGRAM, "release", "stock"]) {
      await Deno.remove(join(rig.share, name), { recursive: true }).catch(() => {});
    }
  }
}

class Till {
  readonly #rig: Rig;
  readonly #report: Report;
  readonly #names: Names;
  readonly #bootId: string;
  readonly #deliveries: Deliveries;
  readonly #seenChunks: number;
  readonly #seenDuplicates: number;

  /** @param bootId of the guest. */
  constructor(rig: Rig, report: Report, { names, bootId }: { names: Names; bootId: string }) {
    this.#rig = rig;
    this.#report = report;
    this.#names = names;
    this.#bootId = bootId;
    this.#deliveries = new Deliveries(names, bootId);
    this.#seenChunks = rig.ingest.chunks.length;
    this.#seenDuplicates = rig.ingest.duplicates;
  }

  async run(): Promise<void> {
    const refused = await this.#refuseOne();
    const place = await this.#fill(refused);
    await this.#putUnfinished(place, 1000);
    const folder = await this.#verify();
    await this.#upgrade(folder);
    await this.#deliverSome();
    await this.#goBack();
    await this.#upgradeAgain(folder);
    await this.#judge();
  }

  /** The old release records, is refused a chunk, and delivers another. Returns the key of the refused one. */
  async #refuseOne(): Promise<string> {
    const { ingest } = this.#rig;
    await this.#records(OLD);
    const key = keyIn(await this.#untilListed("outbox", "*.ogg"));
    ingest.byKey.set(key, REFUSAL);
    await ingest.goOnline();
    await this.#untilListed("rejected", "*.json");
    ingest.goOffline();
    await this.#untilListed("outbox", "*.ogg");
    return key;
  }

  /** Fills the spool with copies of a chunk that the old release has recorded; it takes them over itself. */
  async #fill(refused: string): Promise<Place> {
    const { running: { guest }, share } = this.#rig;
    await this.#takesOver(`${OLD} takes over the stock`, null);
    await guest.run(`systemctl stop ${UNIT}`);
    const stock = join(share, "stock");
    for (const dir of ["recording", "outbox", "uploaded", "rejected"]) {
      await Deno.mkdir(join(stock, dir), { recursive: true });
    }
    const sample = await this.#untilListed("outbox", "*.ogg");
    await guest.run(`cp ${SPOOL}/outbox/${sample} /share/stock/outbox/`);
    const place = await sampleOf(stock, this.#names);
    await Deno.remove(join(stock, "outbox", sample));
    const beforeS = WAITING * place.name.durationUs / 1e6 + 100;
    const reason = await guest.run(`cat ${SPOOL}/rejected/*_${refused}.ogg.reason.json`);
    this.#deliveries.owe([
      ...await putChunks(place, "outbox", WAITING, { beforeS }),
      ...await putRefused(place, REFUSED, { beforeS: 50_000, reason, key: refused }),
    ]);
    await putChunks(place, "uploaded", UPLOADED, { beforeS: 40_000 });
    await Deno.writeTextFile(join(stock, "gaps.jsonl"), gapLines(place, GAPS));
    await guest.run(`cat /share/stock/gaps.jsonl >> ${SPOOL}/gaps.jsonl`);
    await Deno.remove(join(stock, "gaps.jsonl"));
    await this.#putUnfinished(place, 0);
    await guest.run(`systemctl start ${UNIT}`);
    await this.#records(OLD, ({ queue_size }) => queue_size >= WAITING);
    await this.#recordsAnother();
    return place;
  }

  /** What the next program must do something about; with it, everything that was put on this machine is moved over. */
  async #putUnfinished(place: Place, laterS: number): Promise<void> {
    this.#deliveries.owe([
      ...await putUnsure(place, UNSURE, { bootId: this.#bootId, beforeS: 20_000 + laterS }),
      ...await putParts(place, PARTS, 60_000 + laterS),
    ]);
    // Each file is renamed into its folder: a program that runs never sees a part of one.
    await this.#rig.running.guest.run(
      `set -e; cp -r /share/stock ${SPOOL}/../stock; cd ${SPOOL}/../stock
      chown -R recorder-agent: . ${SPOOL}/gaps.jsonl; chmod -R go= .
      for dir in *; do find $dir -type f -exec mv -t ${SPOOL}/$dir {} +; done
      rm -r ${SPOOL}/../stock; find /share/stock -type f -delete`,
    );
  }

  /** Verifies and unpacks the release as the page says. Returns the folder of the program. */
  async #verify(): Promise<string> {
    const { guest } = this.#rig.running;
    const [verify = ""] = new Document("docs/how-to/verify-a-release.md").blocks("sh");
    await guest.run(`cp -r /share/release ${CHECKOUT}`);
    const said = await guest.run(`cd ${CHECKOUT}; (${verify}) 2>&1`);
    const isGood = said.includes('Good "recorder-agent-release" signature');
    const files = said.split("\n").filter((line) => line.endsWith(": OK"));
    this.#report.holds("the release is verified", isGood && files.length === 3, files.length);
    const machine = this.#rig.arch === "amd64" ? "x86_64" : "aarch64";
    const name = `recorder-agent-${NEW}-${machine}`;
    for (const file of ["SHA256SUMS", `${name}.tar.gz`]) {
      const spoiled = await guest.run(
        `cd ${CHECKOUT}; cp dist/${file} kept; echo >> dist/${file}
        (${verify}) 2>&1 && echo accepted; mv kept dist/${file}`,
      );
      const isRefused = !spoiled.includes("accepted") && !spoiled.includes(`${file}: OK`);
      this.#report.holds(`with another ${file} it is refused`, isRefused, lastLine(spoiled));
    }
    await guest.run(`cd ${CHECKOUT}/dist; tar -xzf ${name}.tar.gz`);
    return `${CHECKOUT}/dist/${name}`;
  }

  async #upgrade(folder: string): Promise<void> {
    const { guest } = this.#rig.running;
    const [uploaded, gaps] = [await this.#keysIn("uploaded"), await this.#gaps()];
    await this.#takesOver("upgrade");
    const startedS = await guest.uptimeS();
    const said = await guest.run(`cd ${folder}; ${SUDO}${installCommand()}`);
    this.#report.atMost("upgrade: install takes", await guest.uptimeS() - startedS, 120);
    this.#report.holds(
      "the release is accepted and records",
      said.includes("Running: ") && said.includes(", recording"),
      /^Running: .*$/m.exec(said)?.[0] ?? lastLine(said),
    );
    const { problems, queue_size } = await this.#records(NEW);
    const codes = problems.map(({ code }) => code);
    this.#report.holds(
      "problems: only those of the server that is off, and of what it refused",
      codes.every((code) => code.startsWith("upload_") || code === "chunks_rejected"),
      codes.join(", "),
    );
    this.#report.measured("upgrade: chunks that wait", String(queue_size));
    await this.#keeps(uploaded, gaps);
    await this.#recordsAnother();
  }

  async #deliverSome(): Promise<void> {
    const { ingest, running: { guest } } = this.#rig;
    await guest.run(`echo '${NEW_KEY}: 14' >> ${CONFIG}; systemctl reload ${UNIT}`);
    const goal = ingest.chunks.length + DELIVERED;
    const startedS = await guest.uptimeS();
    await ingest.goOnline();
    await ingest.waitUntil(({ chunks }) => chunks.length >= goal, LIMIT_MS, "a part of the chunks");
    ingest.goOffline();
    const seconds = await guest.uptimeS() - startedS;
    this.#report.measured(`${NEW} delivers ${DELIVERED} chunks in`, `${seconds.toFixed(0)} s`);
  }

  /** The old release takes over again, as the page says, and delivers everything that is not refused. */
  async #goBack(): Promise<void> {
    const { ingest, running: { guest } } = this.#rig;
    const [uploaded, gaps] = [await this.#keysIn("uploaded"), await this.#gaps()];
    const waiting = await this.#keysIn("outbox");
    const requests = ingest.requests.length;
    const [, , back = ""] = new Document("docs/how-to/update.md").blocks("sh");
    await this.#takesOver("back by hand");
    await guest.run(`sed -i '/^${NEW_KEY}:/d' ${CONFIG}; ${SUDO}${back}`);
    this.#rig.expectedRestarts = 0;
    await this.#records(OLD);
    await this.#recordsAnother();
    await ingest.goOnline();
    const refused = await this.#keysIn("rejected");
    const recorded = this.#recorded().map(keyIn).filter((key) => !refused.has(key));
    await this.#accepted([...waiting, ...recorded], `${OLD} delivers what ${NEW} has left`);
    this.#report.measured(`back: chunks that ${OLD} delivers`, String(waiting.size));
    const { problems } = await this.#records(OLD, ({ queue_size }) => queue_size === 0);
    const codes = problems.map(({ code }) => code).filter((code) => code !== "chunks_rejected");
    this.#report.holds(
      "back: problems, without that of what the server refused",
      codes.length === 0,
      codes.join(", ") || "none",
    );
    await this.#keeps(uploaded, gaps, requests);
  }

  async #upgradeAgain(folder: string): Promise<void> {
    const { ingest, running: { guest } } = this.#rig;
    const [uploaded, gaps] = [await this.#keysIn("uploaded"), await this.#gaps()];
    const requests = ingest.requests.length;
    await this.#takesOver("upgrade again");
    await guest.run(`cd ${folder}; ${SUDO}${installCommand()}`);
    this.#rig.expectedRestarts = 0;
    await this.#records(NEW);
    await this.#keeps(uploaded, gaps, requests);
    const refused = [...await this.#keysIn("rejected")];
    ingest.byKey.clear();
    const said = await guest.run(`${SUDO}sudo recorder-agent requeue --all`);
    const moved = `${refused.length} chunks moved to outbox/.`;
    this.#report.holds("refused chunks are requeued", said.includes(moved), lastLine(said));
    await this.#accepted(refused, "what was refused");
  }

  async #judge(): Promise<void> {
    const { ingest, running: { guest } } = this.#rig;
    const recorded = this.#recorded();
    await this.#accepted(recorded.map(keyIn), "what was recorded");
    const chunks = ingest.chunks.slice(this.#seenChunks);
    await this.#rig.settled(); // no problem, and nothing waits
    const check = await this.#rig.whileChecked(() => guest.try("recorder-agent check"));
    this.#report.holds("check finds everything in order", !check.includes("✘"), lastLine(check));
    const version = await guest.run("recorder-agent --version");
    this.#report.holds(`the program is ${NEW}`, version.includes(` ${NEW} `), lastLine(version));

    const later = this.#recorded();
    this.#deliveries.judge({ chunks, recorded, later }, this.#report);
    const again = ingest.duplicates - this.#seenDuplicates;
    // Requests were cut twice, when the server went away, and may have been when a program was replaced.
    const most = 5 * CONCURRENCY;
    this.#report.holds("chunks sent again after an interruption", again <= most, again);
  }

  async #takesOver(what: string, limitS: number | null = MISSING_LIMIT_S): Promise<void> {
    const unixS = Number(await this.#rig.running.guest.run("date +%s.%N"));
    this.#deliveries.takeovers.push({ what, unixS, limitS });
    this.#rig.note(what);
  }

  /** The report of this program once it records. */
  async #records(
    version: string,
    fits: (health: HealthReport) => boolean = () => true,
  ): Promise<HealthReport> {
    return await this.#rig.healthy(
      `${version} records`,
      (health) => health.recording && health.version === version && fits(health),
      300,
    );
  }

  /** Waits for a chunk that is recorded from now on. */
  async #recordsAnother(): Promise<void> {
    const { guest, journal } = this.#rig.running;
    await journal.next("Recorded.", { sinceS: await guest.uptimeS(), limitS: 60 });
  }

  /** The names under which the programs have sealed their chunks so far. */
  #recorded(): string[] {
    return this.#rig.running.journal.entries.filter(({ message }) => message === "Recorded.")
      .map(({ fields }) => String(fields.chunk));
  }

  async #accepted(keys: readonly string[], what: string): Promise<void> {
    await this.#rig.ingest.waitUntil(
      ({ chunks }) => {
        const arrived = new Set(chunks.map(({ key }) => key));
        return keys.every((key) => arrived.has(key));
      },
      LIMIT_MS,
      what,
    );
  }

  /** The name of the first such file in a folder of the spool, once there is one. */
  async #untilListed(folder: string, pattern: string): Promise<string> {
    const listing = `cd ${SPOOL}/${folder} && ls ${pattern} 2>/dev/null`;
    const text = await this.#rig.running.guest.run(
      `timeout 120 sh -c 'until ${listing} | grep -q .; do sleep 1; done'; ${listing} | head -n 1`,
    );
    return text.trim();
  }

  async #keysIn(folder: "outbox" | "uploaded" | "rejected"): Promise<Set<string>> {
    const files = await this.#rig.running.service.list(folder);
    return new Set(files.filter((file) => file.endsWith(".ogg")).map(keyIn));
  }

  async #gaps(): Promise<string> {
    return await this.#rig.running.guest.run(`cat ${SPOOL}/gaps.jsonl`);
  }

  /** What a takeover leaves as it was; `requests` is how many there were before it. */
  async #keeps(
    uploaded: ReadonlySet<string>,
    gaps: string,
    requests = this.#rig.ingest.requests.length,
  ): Promise<void> {
    const { what } = this.#deliveries.takeovers.at(-1) ?? { what: "" };
    const [kept, gapsNow] = [await this.#keysIn("uploaded"), await this.#gaps()];
    const sent = this.#rig.ingest.requests.slice(requests);
    const faults = [
      ...[...uploaded].filter((key) => !kept.has(key)).map((key) => `${key} is not kept`),
      ...sent.filter(({ key }) => uploaded.has(key ?? "")).map(({ key }) => `${key} is sent again`),
      ...gapsNow.startsWith(gaps) ? [] : ["a declared gap is lost"],
    ];
    this.#report.holds(
      `${what}: what was delivered and declared stays`,
      faults.length === 0,
      faults[0] ?? `${uploaded.size} chunks`,
    );
    const lines = gapsNow.slice(gaps.length).split("\n").filter((line) => line !== "");
    const declared = lines.map((line) => {
      const { cause, ms } = JSON.parse(line);
      return `${cause} ${(ms / 1000).toFixed(1)} s`;
    });
    this.#report.measured(`${what}: declared`, declared.join(", "));
  }
}

/** The command of an update. */
function installCommand(): string {
  const [, update = ""] = new Document("docs/how-to/update.md").blocks("sh");
  const [install = ""] = update.split("\n");
  if (!install.endsWith("recorder-agent install")) {
    throw new Error(`Cannot follow the page: its update begins with ${install}`);
  }
  return install;
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for (const { name } of [...Deno.readDirSync(from)].filter(({ isFile }) => isFile)) {
    await Deno.copyFile(join(from, name), join(to, name));
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

export const releaseScenarios: readonly Scenario[] = [
  {
    name: "release",
    what: `a signed release: over ${OLD} with a full spool, back by hand, and forward`,
    run: release,
  },
];
