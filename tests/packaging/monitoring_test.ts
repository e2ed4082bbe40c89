// The files for the operator's monitoring: they use only metrics that the program has, and only its labels.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { problemCodes } from "../../src/status/problems.ts";
import { collectMetrics } from "../../src/web/metrics.ts";
import { parse } from "@std/yaml/parse";
import { drawDashboard } from "../fleet/draw_dashboard.ts";
import { startStatusRig } from "../fixtures/status_rig.ts";

const DIR = new URL("../../packaging/monitoring/", import.meta.url);

const DASHBOARDS = ["dashboards/fleet.json", "dashboards/till.json"];

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly templating: { readonly list: readonly { readonly name: string }[] };
  readonly panels: readonly {
    readonly id: number;
    readonly targets: readonly { expr: string }[];
  }[];
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly labels: { readonly severity: string };
      readonly annotations: { readonly summary: string; readonly fix: string };
    }[];
  }[];
}

async function read(name: string): Promise<string> {
  return await Deno.readTextFile(new URL(name, DIR));
}

async function rules() {
  return (parse(await read("rules.yml")) as Rules).groups.flatMap(({ rules }) => rules);
}

async function dashboards(): Promise<Dashboard[]> {
  return await Promise.all(DASHBOARDS.map(async (name) => JSON.parse(await read(name))));
}

/** Every expression in the rules and the dashboards. */
async function expressions(): Promise<string[]> {
  const panels = (await dashboards()).flatMap(({ panels }) => panels);
  const shown = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  return [...(await rules()).map(({ expr }) => expr), ...shown];
}

/** The names that /metrics has; a histogram has three. */
async function metricNames(): Promise<Set<string>> {
  await using rig = startStatusRig();
  return new Set(
    collectMetrics(rig.view()).flatMap(({ name, type }) =>
      type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    ),
  );
}

Deno.test("rules and dashboards use only metrics that the program has", async () => {
  const known = await metricNames();
  const used = (await expressions()).flatMap((expr) =>
    [...expr.matchAll(/\b(recorder_agent_\w+|process_\w+)/g)].map(([name]) => name)
  );
  assert(used.length > 40, `${used.length}`);
  assertEquals([...new Set(used)].filter((name) => !known.has(name)), []);
});

Deno.test("an alert about problems matches codes that exist", async () => {
  const patterns = (await expressions()).flatMap((expr) =>
    [...expr.matchAll(/code=~"([^"]+)"/g)].flatMap(([, codes = ""]) => codes.split("|"))
  );
  assert(patterns.length > 0);
  const unknown = patterns.filter((pattern) =>
    !problemCodes().some((code) => new RegExp(`^(${pattern})$`).test(code))
  );
  assertEquals(unknown, []);
});

Deno.test("every alert has a severity, names the till and says how to fix it", async () => {
  const all = await rules();
  assert(all.length >= 10);
  for (const { alert, labels, annotations } of all) {
    assert(["warning", "critical"].includes(labels.severity), alert);
    assert(annotations.summary.includes("{{ $labels.instance }}"), alert);
    assert(annotations.fix.length > 10, alert);
  }
});

Deno.test("the ids of panels are unique, and every panel asks for something", async () => {
  for (const { title, panels } of await dashboards()) {
    const ids = panels.map(({ id }) => id);
    assertEquals(new Set(ids).size, ids.length, title);
    for (const { targets } of panels) assert(targets.every(({ expr }) => expr !== ""), title);
  }
});

Deno.test("a link in a dashboard leads to the other one, for the till of its line", async () => {
  const all = await dashboards();
  const links = (await Promise.all(DASHBOARDS.map(read))).flatMap((
    text,
  ) => [...text.matchAll(/"url": "\/d\/([^"?]+)\?var-(\w+)=\$\{__data\.fields\.instance\}"/g)]);
  assert(links.length > 3, `${links.length}`);
  for (const [, uid, variable] of links) {
    const names = all.find((one) => one.uid === uid)?.templating.list.map(({ name }) => name);
    assert(names?.includes(variable ?? ""), `${uid}: ${variable}`);
  }
});

/** A Prometheus that gives this answer to every query. */
function answering(...metrics: Record<string, string>[]) {
  const series = metrics.map((metric) => ({ metric, points: [[990, 0.5], [1000, 1]] as const }));
  const answer = () => Promise.resolve(series);
  return { fromS: 400, toS: 1000, stepS: 10, instant: answer, range: answer };
}

Deno.test("the test of a fleet can draw every panel of the dashboards", async () => {
  const source = answering({ instance: "<till>", code: "disk_low", version: "1" });
  for (const name of DASHBOARDS) {
    const { html, faults } = await drawDashboard(await read(name), source, { instance: "<till>" });
    assertEquals(faults, []);
    assertEquals(html.includes("<till>"), false);
    const { panels } = JSON.parse(await read(name));
    for (const { title } of panels) assertStringIncludes(html, `<h2>${title}<`);
  }
});

Deno.test("a panel without data is a fault of the drawing, which names it", async () => {
  const { faults } = await drawDashboard(await read("dashboards/fleet.json"), answering(), {});
  const { panels } = JSON.parse(await read("dashboards/fleet.json"));
  const named = new Set(faults.map(({ panel }) => panel));
  assertEquals(named.size, new Set(panels.map(({ title }: { title: string }) => title)).size);
});

Deno.test("the drawing names a type of panel, a unit or a setting that it does not know", async () => {
  const file = await read("dashboards/till.json");
  const source = answering({});
  for (
    const [known, unknown] of [['"stat"', '"gauge"'], ['"dB"', '"furlong"'], ['"min"', '"zero"']]
  ) {
    const changed = file.replace(known ?? "", unknown ?? "");
    const error = await assertRejects(() => drawDashboard(changed, source, {}), Error);
    assertStringIncludes(error.message, `unknown`);
    assertStringIncludes(error.message, JSON.parse(unknown ?? ""));
  }
});
