// deno-lint-ignore-file no-console -- a person runs this
// A thousand tills at one real Prometheus with the rules of packaging/monitoring: five kinds of dead tills must raise
// their alert, and no healthy one any; and every query of the dashboards must be answered. Each till is a target of its own that answers with the metrics of the
// program, from one process. The times of the rules are divided by `--speed`, the values are not: the longest, an
// hour, must be shorter than the run.
//
// `deno task test:fleet [--tills N] [--minutes N] [--speed N] [--interval S] [--picture NAME]`; needs `prometheus`.
// `--picture` saves the page of the alerts as NAME.png in the folder of RECORDER_AGENT_SCREENSHOTS; needs `chromium`.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/system/clock.ts";
import { Status } from "../../src/status/status.ts";
import { formatMetrics, type MetricFamily, METRICS_TYPE } from "../../src/system/prometheus.ts";
import { collectMetrics } from "../../src/web/metrics.ts";
import { Browser } from "../fixtures/browser.ts";
import { deliverChunk, fillView } from "../fixtures/fleet_till.ts";

const MONITORING = new URL("../../packaging/monitoring/", import.meta.url);
const RULES = new URL("rules.yml", MONITORING);
const DASHBOARDS = ["fleet", "till"];
/** The tills of each dead kind. */
const OF_EACH = 5;

interface Kind {
  /** The alert that it must raise. */
  readonly alert: string;
  /** Changes the metrics of a healthy till; null: it does not answer. */
  readonly change: (families: MetricFamily[], runS: number) => MetricFamily[] | null;
}

/** Replaces the value of the samples of a name that have these labels. */
function set(
  families: MetricFamily[],
  name: string,
  value: number,
  labels: Readonly<Record<string, string>> = {},
): MetricFamily[] {
  const wanted = `recorder_agent_${name}`;
  if (!families.some((family) => family.name === wanted)) throw new Error(`no metric ${wanted}`);
  return families.map((family) =>
    family.name !== wanted ? family : {
      ...family,
      samples: family.samples.length === 0 ? [[value, labels]] : family.samples.map(
        ([old, own = {}]) => [
          Object.entries(labels).every(([key, text]) => own[key] === text) ? value : old,
          own,
        ],
      ),
    }
  );
}

const KINDS: readonly Kind[] = [
  { alert: "TillGone", change: (families, runS) => runS > 60 ? null : families },
  {
    alert: "TillDoesNotRecord",
    change: (families) =>
      set(set(families, "status", 1, { status: "error" }), "status", 0, { status: "ok" }),
  },
  {
    alert: "TillDoesNotDeliver",
    change: (families) => set(families, "oldest_waiting_age_seconds", 3 * 3600),
  },
  {
    alert: "TillLostSound",
    change: (families, runS) => set(families, "chunks_lost_seconds_total", Math.floor(runS)),
  },
  {
    alert: "ServerRefusesChunks",
    change: (families) => set(families, "spool_chunks", 12, { state: "refused" }),
  },
];

const { values } = parseArgs({
  args: Deno.args,
  options: {
    tills: { type: "string", default: "1000" },
    minutes: { type: "string", default: "10" },
    speed: { type: "string", default: "8" },
    interval: { type: "string", default: "15" },
    picture: { type: "string" },
  },
});
const [tills, minutes, speed] = [values.tills, values.minutes, values.speed].map(Number) as [
  number,
  number,
  number,
];

const dir = await Deno.makeTempDir({ prefix: "fleet-" });
const startedMs = performance.now();
const runS = () => (performance.now() - startedMs) / 1000;
const status = Array.from({ length: tills }, (_, at) => {
  const id = String(at).padStart(12, "0");
  return new Status(
    {
      pointId: `11111111-1111-4111-8111-${id}`,
      registerId: `22222222-2222-4222-8222-${id}`,
      deviceId: `33333333-3333-4333-8333-${id}`,
      version: "0.3.0",
    },
    systemClock,
    "UTC",
  );
});
/** The first tills are dead ones. */
const kindOf = (at: number) => KINDS[Math.floor(at / OF_EACH)];

let scrapes = 0;
const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
  const at = Number(new URL(request.url).pathname.split("/")[2]);
  const own = status[at];
  if (own === undefined) return new Response(null, { status: 404 });
  deliverChunk(own, 100 + at % 400);
  const families = collectMetrics(fillView(own));
  const changed = kindOf(at)?.change(families, runS());
  if (changed === null) return new Response(null, { status: 503 });
  scrapes++;
  return new Response(formatMetrics(changed ?? families), {
    headers: { "content-type": METRICS_TYPE },
  });
});
const target = `127.0.0.1:${server.addr.port}`;
await Deno.writeTextFile(
  join(dir, "targets.json"),
  JSON.stringify(status.map((_, at) => ({
    targets: [target],
    labels: { __metrics_path__: `/till/${at}/metrics`, instance: `till-${at}` },
  }))),
);
const SECONDS = { m: 60, h: 3600, d: 86_400 } as const;
const rules = (await Deno.readTextFile(RULES)).replace(
  /(\[|for: )(\d+)([mhd])/g,
  (_, before, count, unit: keyof typeof SECONDS) =>
    `${before}${Math.max(1, Math.round(Number(count) * SECONDS[unit] / speed))}s`,
);
await Deno.writeTextFile(join(dir, "rules.yml"), rules);
await Deno.writeTextFile(
  join(dir, "prometheus.yml"),
  `global: { scrape_interval: ${values.interval}s, evaluation_interval: 15s }
rule_files: [rules.yml]
scrape_configs:
  - job_name: recorder-agent
    file_sd_configs: [{ files: [targets.json] }]
`,
);
const [prometheusPort] = [Deno.listen({ hostname: "127.0.0.1", port: 0 })].map((listener) => {
  listener.close();
  return listener.addr.port;
});
const log = await Deno.create(join(dir, "prometheus.log"));
const prometheus = new Deno.Command("prometheus", {
  args: [
    `--config.file=${join(dir, "prometheus.yml")}`,
    `--storage.tsdb.path=${join(dir, "data")}`,
    `--web.listen-address=127.0.0.1:${prometheusPort}`,
  ],
  stdout: "null",
  stderr: "piped",
}).spawn();
const logged = prometheus.stderr.pipeTo(log.writable);

async function ask(path: string) {
  const response = await fetch(`http://127.0.0.1:${prometheusPort}/api/v1/${path}`);
  return (await response.json()).data;
}
const query = async (text: string) =>
  Number((await ask(`query?query=${encodeURIComponent(text)}`)).result[0]?.value[1] ?? NaN);

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

/** The panels of both dashboards, that of a till for a healthy one: those with an error, and those without data. */
async function askPanels() {
  const [failed, empty]: [string[], string[]] = [[], []];
  for (const name of DASHBOARDS) {
    const text = await Deno.readTextFile(new URL(`dashboards/${name}.json`, MONITORING));
    const { panels }: { panels: readonly Panel[] } = JSON.parse(text);
    for (const { title, targets } of panels) {
      const results = await Promise.all(targets.map(({ expr }) => {
        const query = expr.replaceAll("$instance", `till-${tills - 1}`);
        return ask(`query?query=${encodeURIComponent(query)}`);
      }));
      const found: unknown[] = results.flatMap((data) => data?.result ?? []);
      if (results.includes(undefined)) failed.push(`${name}: ${title}`);
      else if (found.length === 0) empty.push(`${name}: ${title}`);
    }
  }
  return { failed, empty };
}

/** A picture of the page of all alerts. */
async function takePicture(name: string): Promise<void> {
  await using browser = await Browser.start();
  // The Prometheus of Debian has only the classic pages.
  const url = `http://127.0.0.1:${prometheusPort}/classic/alerts`;
  await using page = await browser.open(url, { width: 1100, height: 700 });
  await page.until("document.body.innerText.includes('TillGone')");
  await page.screenshot(name);
}

interface Alert {
  readonly labels: { readonly alertname: string; readonly instance: string };
  readonly state: string;
}

let isRight = false;
try {
  await delay(minutes * 60_000);
  const alerts: Alert[] = (await ask("alerts")).alerts;
  const firing = alerts.filter(({ state }) => state === "firing")
    .map(({ labels }) => `${labels.instance} ${labels.alertname}`).sort();
  const wanted = KINDS.flatMap(({ alert }, kind) =>
    Array.from({ length: OF_EACH }, (_, at) => `till-${kind * OF_EACH + at} ${alert}`)
  ).sort();
  const missing = wanted.filter((line) => !firing.includes(line));
  const wrong = firing.filter((line) => !wanted.includes(line));
  const panels = await askPanels();
  isRight = missing.length === 0 && wrong.length === 0 && panels.failed.length === 0;
  console.log(`${tills} tills, ${minutes} min, every ${values.interval} s: ${scrapes} scrapes`);
  for (const { alert } of KINDS) {
    const count = firing.filter((line) => line.endsWith(` ${alert}`)).length;
    console.log(`  ${alert}: ${count} of ${OF_EACH}`);
  }
  console.log(`  missing alerts: ${missing.join(", ") || "none"}`);
  console.log(`  alerts of healthy tills: ${wrong.join(", ") || "none"}`);
  console.log(`  panels that Prometheus refuses: ${panels.failed.join(", ") || "none"}`);
  console.log(`  panels without data: ${panels.empty.join(", ") || "none"}`);
  if (values.picture !== undefined) await takePicture(values.picture);
  const worst = await query("max(scrape_duration_seconds)");
  const samples = await query("sum(scrape_samples_scraped)");
  console.log(`  ${samples} samples at once, slowest scrape ${(worst * 1000).toFixed(0)} ms`);
  const memory = /VmRSS:\s+(\d+)/.exec(await Deno.readTextFile(`/proc/${prometheus.pid}/status`));
  console.log(`  memory of Prometheus: ${Math.round(Number(memory?.[1]) / 1000)} MB`);
} finally {
  prometheus.kill("SIGTERM");
  await prometheus.status;
  await logged;
  await server.shutdown();
  await Deno.remove(dir, { recursive: true });
}
Deno.exit(isRight ? 0 : 1);
