// deno-lint-ignore-file no-console -- a person runs this
// A thousand tills at one real Prometheus with the rules of packaging/monitoring: six kinds of dead tills must raise
// their alerts, and no healthy one any; and every panel of the dashboards must have data. Each till is a target of its
// own that answers with the metrics of the program, from one process. The times of the rules, of the dashboards and of
// the chunks are divided by `--speed`, the values are not: the longest time of a rule, an hour, must be shorter than
// nine tenths of the run.
//
// `deno task test:fleet [--tills N] [--minutes N] [--speed N] [--interval S]`; needs `prometheus`. If
// RECORDER_AGENT_SCREENSHOTS names a folder, pictures of the alerts and of the dashboards are saved there, which needs
// `chromium`.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { parseArgs } from "node:util";
import { formatMetrics, METRICS_TYPE } from "../../src/system/prometheus.ts";
import { collectMetrics } from "../../src/web/metrics.ts";
import { Browser } from "../fixtures/browser.ts";
import { type Fault, FleetTill } from "../fixtures/fleet_till.ts";
import { drawDashboard, type Source } from "./draw_dashboard.ts";

const MONITORING = new URL("../../packaging/monitoring/", import.meta.url);
const RULES = new URL("rules.yml", MONITORING);
/** The tills of each dead kind. */
const OF_EACH = 5;

interface Kind {
  readonly fault: Fault;
  /** The alert for which it is planted, and those that follow from the same fault. */
  readonly alerts: readonly [string, ...string[]];
}

const KINDS: readonly Kind[] = [
  { fault: "gone", alerts: ["TillGone"] },
  { fault: "no_microphone", alerts: ["TillDoesNotRecord", "TillNeedsAttention"] },
  { fault: "offline", alerts: ["TillDoesNotDeliver"] },
  {
    fault: "spool_full",
    alerts: ["TillLostSound", "TillWillLoseSound", "TillDoesNotDeliver"],
  },
  { fault: "refused", alerts: ["ServerRefusesChunks"] },
  { fault: "bad_cable", alerts: ["TillMissesSound"] },
];
/** The first tills are dead ones. */
const kindOf = (at: number) => KINDS[Math.floor(at / OF_EACH)];

/** The dashboards, the till that one shows, and the panels for which this fleet has nothing to show. */
const DASHBOARDS: readonly { name: string; instance?: string; empty: readonly string[] }[] = [
  { name: "fleet", empty: ["Clock not synchronized"] },
  { name: "till", instance: `till-${OF_EACH}`, empty: [] },
];

const { values } = parseArgs({
  args: Deno.args,
  options: {
    tills: { type: "string", default: "1000" },
    minutes: { type: "string", default: "10" },
    speed: { type: "string", default: "8" },
    interval: { type: "string", default: "15" },
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
const fleet = Array.from({ length: tills }, (_, at) => {
  const options = { faultS: minutes * 6, chunkS: 60 / speed };
  return new FleetTill(at, { fault: kindOf(at)?.fault, ...options });
});

let scrapes = 0;
const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
  const view = fleet[Number(new URL(request.url).pathname.split("/")[2])]?.view(runS()) ?? null;
  if (view === null) return new Response(null, { status: 503 });
  scrapes++;
  return new Response(formatMetrics(collectMetrics(view)), {
    headers: { "content-type": METRICS_TYPE },
  });
});
const target = `127.0.0.1:${server.addr.port}`;
await Deno.writeTextFile(
  join(dir, "targets.json"),
  JSON.stringify(fleet.map((_, at) => ({
    targets: [target],
    labels: { __metrics_path__: `/till/${at}/metrics`, instance: `till-${at}` },
  }))),
);
const SECONDS = { m: 60, h: 3600, d: 86_400 } as const;
/** Divides the times in rules and queries. */
const hasten = (text: string) =>
  text.replace(
    /(\[|for: )(\d+)([mhd])/g,
    (_, before, count, unit: keyof typeof SECONDS) =>
      `${before}${Math.max(1, Math.round(Number(count) * SECONDS[unit] / speed))}s`,
  );
await Deno.writeTextFile(join(dir, "rules.yml"), hasten(await Deno.readTextFile(RULES)));
await Deno.writeTextFile(
  join(dir, "prometheus.yml"),
  `global: { scrape_interval: ${values.interval}s, evaluation_interval: ${values.interval}s }
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

async function ask(path: string, parameters: Record<string, string> = {}) {
  const search = new URLSearchParams(parameters);
  const response = await fetch(`http://127.0.0.1:${prometheusPort}/api/v1/${path}?${search}`);
  const { data, error } = await response.json();
  if (data === undefined) throw new Error(`Prometheus refuses ${parameters.query}: ${error}`);
  return data;
}

type Sample = [number, string];
interface Answer {
  readonly metric: Record<string, string>;
  readonly value?: Sample;
  readonly values?: readonly Sample[];
}

const seriesOf = ({ result }: { result: readonly Answer[] }) =>
  result.map(({ metric, value, values = value ? [value] : [] }) => ({
    metric,
    points: values.map(([atS, text]) => [atS, Number(text)] as const),
  }));
const query = async (text: string) =>
  seriesOf(await ask("query", { query: text }))[0]?.points[0]?.[1] ?? NaN;

/** Draws the dashboards, and returns their faults and their pages. */
async function drawDashboards() {
  const toS = Date.now() / 1000;
  const range = { start: String(toS - runS()), end: String(toS), step: values.interval };
  const source: Source = {
    fromS: toS - runS(),
    toS,
    stepS: Number(values.interval),
    instant: async (query) => seriesOf(await ask("query", { query: hasten(query) })),
    range: async (query) => seriesOf(await ask("query_range", { query: hasten(query), ...range })),
  };
  return await Promise.all(DASHBOARDS.map(async ({ name, instance, empty }) => {
    const file = await Deno.readTextFile(new URL(`dashboards/${name}.json`, MONITORING));
    const drawing = await drawDashboard(file, source, instance === undefined ? {} : { instance });
    const path = join(dir, `${name}.html`);
    await Deno.writeTextFile(path, drawing.html);
    const faults = drawing.faults.filter(({ panel }) => !empty.includes(panel))
      .map(({ panel, reason }) => `${name}: ${panel}: ${reason}`);
    return { name, url: `file://${path}`, size: drawing, faults };
  }));
}

/** Pictures of the page of all alerts and of the dashboards. */
async function takePictures(drawings: Awaited<ReturnType<typeof drawDashboards>>): Promise<void> {
  await using browser = await Browser.start();
  // The Prometheus of Debian has only the classic pages.
  const url = `http://127.0.0.1:${prometheusPort}/classic/alerts`;
  await using page = await browser.open(url, { width: 1100, height: 700 });
  await page.until("document.body.innerText.includes('TillGone')");
  await page.screenshot("alerts");
  for (const { name, url, size } of drawings) {
    await using page = await browser.open(url, { width: size.widthPx, height: size.heightPx });
    await page.screenshot(`dashboard-${name}`);
  }
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
  const wanted = KINDS.flatMap(({ alerts }, kind) =>
    alerts.flatMap((alert) =>
      Array.from({ length: OF_EACH }, (_, at) => `till-${kind * OF_EACH + at} ${alert}`)
    )
  );
  const missing = wanted.filter((line) => !firing.includes(line));
  const wrong = firing.filter((line) => !wanted.includes(line));
  const drawings = await drawDashboards();
  const faults = drawings.flatMap((drawing) => drawing.faults);
  isRight = missing.length === 0 && wrong.length === 0 && faults.length === 0;
  console.log(`${tills} tills, ${minutes} min, every ${values.interval} s: ${scrapes} scrapes`);
  for (const [kind, { fault, alerts }] of KINDS.entries()) {
    const own = Array.from({ length: OF_EACH }, (_, at) => `till-${kind * OF_EACH + at}`);
    const counts = alerts.map((alert) =>
      `${alert} ${own.filter((till) => firing.includes(`${till} ${alert}`)).length}`
    );
    console.log(`  ${fault}: of ${OF_EACH} tills, ${counts.join(", ")}`);
  }
  console.log(`  missing alerts: ${missing.join(", ") || "none"}`);
  console.log(`  alerts that nothing explains: ${wrong.join(", ") || "none"}`);
  console.log(`  panels without data: ${faults.join("\n    ") || "none"}`);
  if (Deno.env.get("RECORDER_AGENT_SCREENSHOTS")) await takePictures(drawings);
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
