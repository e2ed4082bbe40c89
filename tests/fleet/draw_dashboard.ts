// Draws a dashboard from its file for Grafana and the answers of a Prometheus, as a page of HTML with SVG. It is a
// drawing, not a Grafana: it knows what the dashboards of packaging/monitoring use, and throws at everything else.

import { Html, markup } from "../../src/web/page_html.ts";

/** A time series: its labels, and pairs of Unix time in seconds and value. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [number, number])[];
}

/** Answers queries. It throws if Prometheus refuses one. */
export interface Source {
  readonly fromS: number;
  readonly toS: number;
  /** The distance between points of a range, seconds. */
  readonly stepS: number;
  instant(query: string): Promise<Series[]>;
  range(query: string): Promise<Series[]>;
}

interface Step {
  readonly color: string;
  readonly value: number | null;
}

interface Field {
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  readonly noValue?: string;
  readonly color?: { readonly mode: string; readonly fixedColor?: string };
  readonly thresholds?: { readonly steps: readonly Step[] };
  readonly mappings?: readonly {
    readonly type: string;
    readonly options: Readonly<Record<string, { text?: string; color?: string }>>;
  }[];
  readonly custom?: {
    readonly cellOptions?: { readonly type: string };
    readonly fillOpacity?: number;
  };
}

interface Panel {
  readonly title: string;
  readonly description?: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; h: number };
  readonly targets: readonly { expr: string; legendFormat: string; instant?: boolean }[];
  readonly fieldConfig: { readonly defaults: Field; readonly overrides: readonly unknown[] };
  readonly transformations?: readonly {
    readonly id: string;
    readonly options: {
      readonly excludeByName?: Readonly<Record<string, boolean>>;
      readonly renameByName?: Readonly<Record<string, string>>;
    };
  }[];
}

interface Line extends Series {
  readonly name: string;
}

export interface Drawing {
  readonly html: string;
  readonly width: number;
  readonly height: number;
  /** Panels that Prometheus gives no data, or refuses. */
  readonly faults: readonly { readonly panel: string; readonly reason: string }[];
}

const COLUMN_PX = 50;
const ROW_PX = 33;
const HEADER_PX = 44;
const TABLE_ROW_PX = 21;
const COLORS: Readonly<Record<string, string>> = {
  green: "#2f8f4e",
  red: "#d0283c",
  orange: "#d9730d",
  blue: "#2a6fdb",
  text: "#24292e",
};
const PALETTE = [
  ...["#4c9a5b", "#c9971c", "#3f7fc4", "#d9730d", "#c4314b", "#3aa6b9", "#8e5bbf", "#7a6a4f"],
  ...["#e377a2", "#5b6b7a", "#9bbf3b", "#1f4e79"],
];
/** What Grafana assumes of a field without thresholds. */
const DEFAULT_STEPS: readonly Step[] = [{ color: "green", value: null }, {
  color: "red",
  value: 80,
}];
const STYLE = `body{margin:0;background:#eceef1;font:13px/1.35 sans-serif;color:#24292e}
h1{font-size:17px;margin:0;padding:11px 10px}h1 small{font-weight:normal;color:#6a737d;margin-left:12px}
section{position:absolute;box-sizing:border-box;background:#fff;border:1px solid #d5d9de;border-radius:3px;overflow:hidden;
display:flex;flex-direction:column;padding:4px 8px}h2{font-size:13px;margin:0 0 3px;white-space:nowrap}
h2 small{font-weight:normal;color:#6a737d}.stat{flex:1;display:flex;align-items:center;justify-content:center;font-weight:bold}
.none{color:#6a737d;font-weight:normal;font-size:15px}table{border-collapse:collapse;width:100%}
th{text-align:left;color:#2a6fdb}th,td{padding:0 8px 0 0;height:${TABLE_ROW_PX}px;white-space:nowrap;border-bottom:1px solid #eceef1}
footer{display:flex;flex-wrap:wrap;gap:0 12px;font-size:12px}i{display:inline-block;width:14px;height:4px;margin-right:4px;vertical-align:middle}
svg{flex:1;min-height:0;display:block}text{font:11px sans-serif;fill:#57606a}`;

/** @param variables of the dashboard, `$name` in its queries. */
export async function drawDashboard(
  file: string,
  source: Source,
  variables: Readonly<Record<string, string>>,
): Promise<Drawing> {
  const { title, panels }: { title: string; panels: readonly Panel[] } = JSON.parse(file);
  const faults: { panel: string; reason: string }[] = [];
  const sections: Html[] = [];
  for (const panel of panels) {
    const draw = DRAW[panel.type];
    if (draw === undefined) throw new Error(`${panel.title}: unknown panel type ${panel.type}`);
    checkKnown(panel);
    const lines: Line[] = [];
    for (const { expr, legendFormat, instant } of panel.targets) {
      const query = expr.replace(/\$(\w+)/g, (text, name) => variables[name] ?? text);
      try {
        const series = await (instant ? source.instant(query) : source.range(query));
        const isCurrent = series.some(({ points }) =>
          (points.at(-1)?.[0] ?? 0) > source.toS - 2 * source.stepS
        );
        if (!isCurrent) faults.push({ panel: panel.title, reason: `no data: ${query}` });
        lines.push(...series.map((one) => ({ ...one, name: nameOf(legendFormat, one) })));
      } catch (error) {
        faults.push({ panel: panel.title, reason: String(error) });
      }
    }
    const { x, y, w, h } = panel.gridPos;
    const [widthPx, heightPx] = [w * COLUMN_PX - 6, h * ROW_PX - 6];
    const body = lines.length === 0
      ? markup`<div class="stat none">${panel.fieldConfig.defaults.noValue ?? "No data"}</div>`
      : draw(lines, panel, { source, widthPx: widthPx - 18, heightPx: heightPx - 34 });
    const place = `left:${x * COLUMN_PX + 3}px;top:${
      HEADER_PX + y * ROW_PX + 3
    }px;width:${widthPx}px;height:${heightPx}px`;
    const note = panel.description ?? "";
    sections.push(
      markup`<section style="${place}"><h2>${panel.title} <small>${note}</small></h2>${body}</section>`,
    );
  }
  const till = Object.entries(variables).map(([name, value]) => `${name} = ${value}`).join(", ");
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return {
    html: markup`<!doctype html><meta charset="utf-8"><title>${title}</title><style>${new Html(
      STYLE,
    )}</style><h1>${title}<small>${till}</small></h1>${sections}`.text,
    width: 24 * COLUMN_PX,
    height: HEADER_PX + bottom * ROW_PX + 3,
    faults,
  };
}

/** Throws if a panel has a setting that would be drawn wrongly. */
function checkKnown({ title, fieldConfig, transformations = [] }: Panel): void {
  const { custom = {}, ...field } = fieldConfig.defaults;
  const known = [
    [field, ["unit", "min", "max", "noValue", "color", "thresholds", "mappings"]],
    [custom, ["cellOptions", "fillOpacity"]],
    ...transformations.map(({ options }) => [options, ["excludeByName", "renameByName"]] as const),
    [Object.fromEntries(transformations.map(({ id }) => [id, true])), ["organize"]],
    [Object.fromEntries(fieldConfig.overrides.map((_, at) => [`override ${at}`, true])), []],
  ] as const;
  for (const [settings, names] of known) {
    for (const name of Object.keys(settings)) {
      if (!(names as readonly string[]).includes(name)) {
        throw new Error(`${title}: unknown setting ${name}`);
      }
    }
  }
}

interface Space {
  readonly source: Source;
  readonly widthPx: number;
  readonly heightPx: number;
}

const DRAW: Readonly<Record<string, (lines: Line[], panel: Panel, space: Space) => Html>> = {
  stat(lines, { fieldConfig: { defaults } }, { widthPx, heightPx }) {
    return markup`${
      lines.map(({ points }) => {
        const value = points.at(-1)?.[1] ?? NaN;
        const text = format(value, defaults);
        const size = Math.min(heightPx * 0.6, widthPx / text.length * 1.6);
        return markup`<div class="stat" style="font-size:${size}px;color:${
          colorOf(value, defaults)
        }">${text}</div>`;
      })
    }`;
  },

  table(lines, { fieldConfig: { defaults }, transformations = [] }, { heightPx }) {
    const [{ excludeByName = {}, renameByName = {} } = {}] = transformations.map((one) =>
      one.options
    );
    const labels = [...new Set(lines.flatMap(({ metric }) => Object.keys(metric)))].sort();
    const columns = [...labels, "Value"].filter((name) => !excludeByName[name]);
    const fits = Math.floor(heightPx / TABLE_ROW_PX) - 1;
    const shown = lines.length <= fits ? lines : lines.slice(0, fits - 1);
    const cell = (line: Line, column: string) => {
      if (column !== "Value") return markup`<td>${line.metric[column] ?? ""}</td>`;
      const value = line.points.at(-1)?.[1] ?? NaN;
      const isColored = defaults.custom?.cellOptions?.type === "color-text";
      const color = isColored ? colorOf(value, defaults) : COLORS.text;
      return markup`<td style="color:${color ?? ""}">${format(value, defaults)}</td>`;
    };
    const more = lines.length - shown.length;
    return markup`<table><tr>${
      columns.map((name) => markup`<th>${renameByName[name] ?? name}</th>`)
    }</tr>${
      shown.map((line) => markup`<tr>${columns.map((column) => cell(line, column))}</tr>`)
    }</table>${more > 0 ? markup`<div class="none">${more} more below</div>` : ""}`;
  },

  timeseries(lines, { fieldConfig: { defaults } }, { source, widthPx, heightPx }) {
    const values = lines.flatMap(({ points }) => points.map(([, value]) => value))
      .filter(Number.isFinite);
    const low = defaults.min ?? Math.min(...values);
    const high = Math.max(defaults.max ?? Math.max(...values), low);
    const stepV = niceStep((high > low ? high - low : Math.abs(high) || 1) / 4);
    const [bottomV, topV] = [
      Math.floor(low / stepV) * stepV,
      (Math.ceil(high / stepV + 1e-9)) * stepV,
    ];
    const ticks = Array.from(
      { length: Math.round((topV - bottomV) / stepV) + 1 },
      (_, at) => bottomV + at * stepV,
    );
    const legendPx = 17 * Math.ceil(
      lines.reduce((sum, { name }) => sum + 34 + name.length * 6.4, 0) / widthPx,
    );
    const plot = plotOf(source, widthPx, Math.max(40, heightPx - Math.min(legendPx, heightPx / 2)));
    const yOf = (value: number) => plot.height - (value - bottomV) / (topV - bottomV) * plot.height;
    return markup`<svg viewBox="0 0 ${widthPx} ${plot.height + 26}">${plot.axis}${
      ticks.map((tick) =>
        markup`<path d="M${plot.left} ${
          yOf(tick) + 8
        }H${widthPx}" stroke="#e3e6ea"/><text text-anchor="end" x="${plot.left - 6}" y="${
          yOf(tick) + 12
        }">${format(tick, defaults)}</text>`
      )
    }${
      lines.map(({ points }, at) =>
        markup`<path fill="none" stroke="${
          PALETTE[at % PALETTE.length] ?? ""
        }" stroke-width="1.6" stroke-linecap="round" d="${
          stretches(points, source.stepS).map((stretch) =>
            `M${
              stretch.map(([atS, value]) =>
                `${plot.xOf(atS).toFixed(1)} ${(yOf(value) + 8).toFixed(1)}`
              )
                .join("L")
            }${stretch.length === 1 ? "h2" : ""}`
          ).join("")
        }"/>`
      )
    }</svg><footer>${
      lines.map(({ name }, at) =>
        markup`<span><i style="background:${PALETTE[at % PALETTE.length] ?? ""}"></i>${name}</span>`
      )
    }</footer>`;
  },

  "state-timeline"(lines, { fieldConfig: { defaults } }, { source, widthPx, heightPx }) {
    const plot = plotOf(source, widthPx, heightPx, 150);
    const rowPx = Math.min(30, plot.height / lines.length);
    return markup`<svg viewBox="0 0 ${widthPx} ${plot.height + 26}">${plot.axis}${
      lines.map(({ name, points }, row) =>
        markup`<text text-anchor="end" x="${plot.left - 6}" y="${
          8 + row * rowPx + rowPx / 2 + 4
        }">${name}</text>${
          stretches(points, source.stepS).map((stretch) => {
            const [[startS, value] = [0, NaN], [endS] = [0]] = [stretch[0], stretch.at(-1)];
            return markup`<rect x="${plot.xOf(startS)}" y="${8 + row * rowPx + 2}" width="${
              Math.max(2, plot.xOf(endS) - plot.xOf(startS))
            }" height="${rowPx - 4}" fill="${colorOf(value, defaults)}"/><text x="${
              plot.xOf(startS) + 5
            }" y="${8 + row * rowPx + rowPx / 2 + 4}" style="fill:#fff">${
              format(value, defaults)
            }</text>`;
          })
        }`
      )
    }</svg>`;
  },
};

/** The area of a plot with the axis of the time. */
function plotOf({ fromS, toS }: Source, widthPx: number, heightPx: number, left = 62) {
  const height = heightPx - 26;
  const xOf = (atS: number) => left + (atS - fromS) / (toS - fromS) * (widthPx - left);
  const everyS = [10, 30, 60, 120, 300].find((step) => (toS - fromS) / step <= 8) ?? 600;
  const first = Math.ceil(fromS / everyS);
  const axis = Array.from({ length: Math.floor(toS / everyS) - first + 1 }, (_, at) => {
    const atS = (first + at) * everyS;
    const label = new Date(atS * 1000).toISOString().slice(11, everyS < 60 ? 19 : 16);
    return markup`<path d="M${xOf(atS)} 8V${height + 8}" stroke="#e3e6ea"/><text x="${
      Math.min(xOf(atS), widthPx - 30)
    }" y="${height + 22}" text-anchor="middle">${label}</text>`;
  });
  return { left, height, xOf, axis };
}

/** The points without NaN, in stretches without a hole. */
function stretches(points: Series["points"], stepS: number): (readonly [number, number])[][] {
  const found: (readonly [number, number])[][] = [];
  for (const point of points.filter(([, value]) => Number.isFinite(value))) {
    const last = found.at(-1);
    const isNext = point[0] - (last?.at(-1)?.[0] ?? -Infinity) < 1.5 * stepS;
    if (last !== undefined && isNext) last.push(point);
    else found.push([point]);
  }
  return found;
}

function nameOf(legendFormat: string, { metric }: Series): string {
  return legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? "");
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
}

function mapped(value: number, { mappings = [] }: Field) {
  return mappings.map(({ options }) => options[String(value)]).find((one) => one !== undefined);
}

/** As Grafana colors a value: by its mapping, by one color for all, or by the thresholds. */
function colorOf(value: number, field: Field): string {
  const { steps } = field.thresholds ?? { steps: DEFAULT_STEPS };
  const reached = steps.findLast((step) => step.value === null || value >= step.value);
  const fixed = field.color?.mode === "fixed" ? field.color.fixedColor : undefined;
  const name = mapped(value, field)?.color ?? fixed ?? reached?.color ?? "text";
  const color = COLORS[name];
  if (color === undefined) throw new Error(`unknown color ${name}`);
  return color;
}

/** As Grafana writes a value of a field, in its unit. */
function format(value: number, field: Field): string {
  const text = mapped(value, field)?.text;
  if (text !== undefined) return text;
  if (Number.isNaN(value)) return "NaN";
  const unit = UNITS[field.unit ?? "none"];
  if (unit === undefined) throw new Error(`unknown unit ${field.unit}`);
  return unit(value);
}

/** At most three digits after the point, as many as are seen. */
const short = (value: number) => String(Number(value.toPrecision(value >= 1000 ? 6 : 3)));

/** The largest of these units in which a value is 1 or more. */
function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  const [size, name] = units.find(([size]) => Math.abs(value) >= size) ?? units.at(-1) ?? [1, ""];
  return `${short(value / size)} ${name}`;
}

const UNITS: Readonly<Record<string, (value: number) => string>> = {
  none: short,
  s: (value) =>
    value === 0
      ? "0 s"
      : scaled(value, [[86_400, "days"], [3600, "hours"], [60, "min"], [1, "s"], [1e-3, "ms"]]),
  percentunit: (value) => `${short(value * 100)}%`,
  reqps: (value) => `${short(value)} req/s`,
  dB: (value) => `${short(value)} dB`,
  bytes: (value) => scaled(value, [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]]),
  dateTimeAsIso: (value) => new Date(value).toISOString().slice(0, 19).replace("T", " "),
};
