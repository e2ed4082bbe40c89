// Metrics, and their text format of Prometheus, version 0.0.4. It does not know what they mean. Pure.
// https://prometheus.io/docs/instrumenting/exposition_formats/

/** Media type of the text format. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Label names with their values. */
export type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [value: number, labels?: Labels];

/** All samples of one name. */
export interface MetricFamily {
  readonly type: "gauge" | "counter" | "histogram";
  readonly name: string;
  readonly help: string;
  readonly samples: readonly Sample[];
  /** Of a histogram: the upper bounds, the count within each bound and beyond, and the sum of all values. */
  readonly histogram?: {
    readonly bounds: readonly number[];
    readonly counts: readonly number[];
    readonly sum: number;
  };
}

/** A list of metrics, which grows. */
export class Metrics {
  readonly families: MetricFamily[] = [];
  readonly #prefix: string;

  /** @param prefix of all names, such as `recorder_agent_`. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** @param samples a number: one without labels. */
  gauge(name: string, help: string, samples: number | readonly Sample[]): void {
    this.#add("gauge", name, help, samples);
  }

  counter(name: string, help: string, samples: number | readonly Sample[]): void {
    this.#add("counter", name, help, samples);
  }

  histogram(
    name: string,
    help: string,
    histogram: Exclude<MetricFamily["histogram"], undefined>,
  ): void {
    const type = "histogram";
    this.families.push({ type, name: `${this.#prefix}${name}`, help, samples: [], histogram });
  }

  #add(
    type: "gauge" | "counter",
    name: string,
    help: string,
    given: number | readonly Sample[],
  ): void {
    const samples: readonly Sample[] = typeof given === "number" ? [[given]] : given;
    this.families.push({ type, name: `${this.#prefix}${name}`, help, samples });
  }
}

/** The text that a scrape gets. */
export function formatMetrics(families: readonly MetricFamily[]): string {
  let text = "";
  for (const { type, name, help, samples, histogram } of families) {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    text += samples.map((sample) => formatSample(name, sample)).join("");
    if (histogram === undefined) continue;
    let total = 0;
    for (const [index, count] of histogram.counts.entries()) {
      total += count;
      const le = String(histogram.bounds[index] ?? "+Inf");
      text += formatSample(`${name}_bucket`, [total, { le }]);
    }
    text += formatSample(`${name}_sum`, [histogram.sum]);
    text += formatSample(`${name}_count`, [total]);
  }
  return text;
}

function formatSample(name: string, [value, labels = {}]: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
