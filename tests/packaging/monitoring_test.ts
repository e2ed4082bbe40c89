// The files for the operator's monitoring: they use only metrics that the program has, and only its labels.

import { assert, assertEquals } from "@std/assert";
import { problemCodes } from "../../src/status/problems.ts";
import { collectMetrics } from "../../src/web/metrics.ts";
import { parse } from "@std/yaml/parse";
import { startStatusRig } from "../fixtures/status_rig.ts";

const DIR = new URL("../../packaging/monitoring/", import.meta.url);

interface Dashboard {
  readonly title: string;
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
  const names = ["dashboards/fleet.json", "dashboards/till.json"];
  return await Promise.all(names.map(async (name) => JSON.parse(await read(name))));
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
