// Draws a dashboard from its file for Grafana and the answers of a Prometheus, as a page of HTML with SVG. It is a
// drawing, not a Grafana: it knows what the dashboards of packaging/monitoring use, and throws at everything else.

import { Html, markup } from "../../src/system/html.ts";

type Texts = Readonly<Record<string, string>>;
/** Unix time in seconds, and a value. */
type Point = readonly [number, number];

/** A time series, or one value of it. */
export interface Series {
  readonly metric: Texts;
  readonly points: readonly Point[];
}

/** Answers queries. Both functions throw if Prometheus refuses one. */
export interface Source {
  readonly fromS: number;
  readonly toS: number;
  /** The distance between points of a range, seconds. */
  readonly stepS: number;
  instant(query: string): Promise<Series[]>;
  range(query: string): Promise<Series[]>;
}

interface Field {
  readonly unit?: string;
  readonly min?: number;
  readonly noValue?: string;
  readonly links?: unknown;
  readonly color?: { readonly mode: string; readonly fixedColor?: string };
  readonly thresholds?: { readonly steps: readonly { color: string; value: number | null }[] };
  readonly mappings?: readonly { options: Record<string, { text: string; color?: string }> }[];
  readonly custom?: { readonly cellOptions?: { readonly type: "color-text" } };
}

interface Panel {
  readonly title: string;
  readonly description?: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; h: number };
  readonly targets: readonly { expr: string; legendFormat: string; instant?: boolean }[];
  readonly fieldConfig: { readonly defaults: Field; readonly overrides: readonly unknown[] };
  readonly options?: { readonly sortBy?: readonly [{ displayName: string; desc: boolean }] };
  readonly transformations?: readonly [{
    readonly id: string;
    readonly options: { excludeByName?: Record<string, boolean>; renameByName?: Texts };
  }];
}

/** What a panel shows: its series with their names, its settings, and the space for it. */
interface Shown extends Field {
  readonly lines: readonly (Series & { readonly name: string })[];
  readonly panel: Panel;
  readonly source: Source;
  readonly widthPx: number;
  readonly heightPx: number;
}

export interface Drawing {
  readonly html: string;
  readonly widthPx: number;
  readonly heightPx: number;
  /** The panels for which Prometheus has no data, or refuses a query. */
  readonly faults: readonly { readonly panel: string; readonly reason: string }[];
}

const [COLUMN_PX, ROW_PX, TITLE_PX, TABLE_ROW_PX] = [46, 32, 40, 20];
const AXIS_PX = { left: 62, top: 8, bottom: 18 };
const COLORS: Texts = { green: "#2f8f4e", red: "#d0283c", orange: "#d9730d", text: "#24292e" };
const PALETTE = ["#2f8f4e", "#c9971c", "#2a6fdb", "#d9730d", "#c4314b", "#3aa6b9", "#8e5bbf"];
/** What Grafana assumes if a panel has no thresholds. */
const DEFAULT_STEPS = [{ color: "green", value: null }, { color: "red", value: 80 }];
const STYLE = new Html(`body{margin:0;background:#eceef1;font:12px/1.35 sans-serif;color:#24292e}
h1{font-size:16px;margin:0;padding:9px}small{font-weight:normal;color:#6a737d;margin-left:6px}
section{position:absolute;box-sizing:border-box;background:#fff;border:1px solid #d5d9de;overflow:hidden;padding:4px 8px}
h2{font-size:12px;margin:0;white-space:nowrap;height:20px;overflow:hidden;text-overflow:ellipsis}div{display:flex;flex-wrap:wrap;gap:0 12px}
.stat{height:80%;align-items:center;justify-content:center;font-weight:bold}
i{width:14px;height:4px;display:inline-block;margin:0 4px 3px 0}svg{display:block}text{font-size:11px}
table{border-collapse:collapse;width:100%}th{color:#2a6fdb}
th,td{text-align:left;padding:0;height:${
  TABLE_ROW_PX - 1
}px;white-space:nowrap;border-bottom:1px solid #eceef1}`);

/** @param variables of the dashboard, `$name` in its queries. */
export async function drawDashboard(
  file: string,
  source: Source,
  variables: Texts,
): Promise<Drawing> {
  const { title, panels }: { title: string; panels: readonly Panel[] } = JSON.parse(file);
  const faults: { panel: string; reason: string }[] = [];
  const sections: Html[] = [];
  for (const panel of panels) {
    const draw = PANELS[panel.type];
    if (draw === undefined) throw new Error(`${panel.title}: unknown panel type ${panel.type}`);
    checkKnown(panel);
    const lines = [];
    for (const { expr, legendFormat, instant } of panel.targets) {
      const query = expr.replace(/\$(\w+)/g, (text, name) => variables[name] ?? text);
      try {
        const found = await (instant ? source.instant(query) : source.range(query));
        const lastS = Math.max(...found.map(({ points }) => points.at(-1)?.[0] ?? 0));
        if (lastS < source.toS - 2 * source.stepS) throw new Error(`no data: ${query}`);
        const nameOf = ({ metric }: Series) =>
          legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? "");
        lines.push(...found.map((one) => ({ ...one, name: nameOf(one) })));
      } catch (error) {
        faults.push({ panel: panel.title, reason: String(error) });
      }
    }
    const { gridPos: { x, y, w, h }, fieldConfig: { defaults } } = panel;
    const [widthPx, heightPx] = [w * COLUMN_PX - 6, h * ROW_PX - 6];
    const shown = {
      ...defaults,
      ...{ lines, panel, source, widthPx: widthPx - 18, heightPx: heightPx - 30 },
    };
    const [leftPx, topPx] = [x * COLUMN_PX + 3, TITLE_PX + y * ROW_PX];
    sections.push(
      markup`<section style="left:${leftPx}px;top:${topPx}px;width:${widthPx}px;height:${heightPx}px">
<h2>${panel.title}<small>${panel.description ?? ""}</small></h2>${
        lines.length > 0
          ? draw(shown)
          : markup`<div class="stat"><small>${defaults.noValue ?? "No data"}</small></div>`
      }</section>`,
    );
  }
  const chosen = Object.entries(variables).map(([name, value]) => `${name} = ${value}`).join(", ");
  return {
    html: markup`<!doctype html><meta charset="utf-8"><title>${title}</title><style>${STYLE}</style>
<h1>${title}<small>${chosen}</small></h1>${sections}`.text,
    widthPx: 24 * COLUMN_PX,
    heightPx: TITLE_PX + Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) * ROW_PX,
    faults,
  };
}

/** Throws at a setting of a panel that would be drawn wrongly. */
function checkKnown({ title, fieldConfig, options = {}, transformations }: Panel): void {
  const { custom = {}, ...field } = fieldConfig.defaults;
  const [{ id, options: organize } = { id: "organize", options: {} }] = transformations ?? [];
  const known: [object, string][] = [
    [field, "unit min noValue links color thresholds mappings"],
    [custom, "cellOptions"],
    [options, "sortBy"],
    [organize, "excludeByName renameByName"],
    [{ [id]: true }, "organize"],
    [fieldConfig.overrides, "no override"],
  ];
  for (const [settings, names] of known) {
    const unknown = Object.keys(settings).filter((name) => !names.split(" ").includes(name));
    if (unknown.length > 0) throw new Error(`${title}: unknown settings: ${unknown.join(", ")}`);
  }
}

const PANELS: Readonly<Record<string, (shown: Shown) => Html>> = {
  stat(shown) {
    const [value, ...more] = shown.lines.map(lastOf);
    if (value === undefined || more.length > 0) throw new Error("a stat shows one value");
    const text = format(value, shown);
    const sizePx = Math.min(shown.heightPx * 0.6, shown.widthPx / text.length * 1.4);
    return markup`<div class="stat" style="white-space:nowrap;font-size:${sizePx}px;color:${
      colorOf(value, shown)
    }">${text}</div>`;
  },

  table(shown) {
    const { lines, custom, heightPx, panel: { options, transformations } } = shown;
    const { excludeByName = {}, renameByName = {} } = transformations?.[0].options ?? {};
    const labels = new Set(lines.flatMap(({ metric }) => Object.keys(metric)));
    const columns = [...[...labels].sort(), "Value"].filter((name) => !excludeByName[name]);
    const headings = columns.map((name) => renameByName[name] ?? name);
    const rows = lines.map((line) => ({
      value: lastOf(line),
      texts: columns.map((name) =>
        name === "Value" ? format(lastOf(line), shown) : line.metric[name] ?? ""
      ),
    }));
    for (const { displayName, desc } of options?.sortBy ?? []) {
      const at = headings.indexOf(displayName);
      if (at < 0) throw new Error(`no column ${displayName}`);
      const compare = (one: string = "", other: string = "") =>
        one.localeCompare(other, "en", { numeric: true });
      rows.sort((one, other) =>
        (desc ? -1 : 1) *
        (columns[at] === "Value"
          ? one.value - other.value
          : compare(one.texts[at], other.texts[at]))
      );
    }
    const fitting = Math.floor(heightPx / TABLE_ROW_PX) - 1;
    const count = rows.length <= fitting ? rows.length : fitting - 1;
    const more = rows.length - count;
    return markup`<table><tr>${headings.map((name) => markup`<th>${name}</th>`)}</tr>${
      rows.slice(0, count).map(({ value, texts }) =>
        markup`<tr>${
          texts.map((text, at) => {
            const isColored = columns[at] === "Value" && custom?.cellOptions !== undefined;
            return markup`<td style="color:${isColored ? colorOf(value, shown) : ""}">${text}</td>`;
          })
        }</tr>`
      )
    }</table><small>${more > 0 ? `and ${more} more` : ""}</small>`;
  },

  timeseries(shown) {
    const { lines, min, widthPx, source: { stepS } } = shown;
    const values = lines.flatMap(({ points }) => points.map(([, value]) => value))
      .filter(Number.isFinite);
    const low = min ?? Math.min(...values);
    const high = Math.max(...values, low);
    const tick = tickStep((high - low || Math.abs(high) || 4) / 4, shown.unit);
    const [bottom, top] = [Math.floor(low / tick), Math.floor(high / tick) + 1];
    const namesPx = lines.reduce((sum, { name }) => sum + 34 + name.length * 6.2, 0);
    const plotPx = shown.heightPx - AXIS_PX.bottom - 17 * Math.ceil(namesPx / widthPx);
    const yOf = (value: number) =>
      AXIS_PX.top + (top - value / tick) / (top - bottom) * (plotPx - AXIS_PX.top);
    const ticks = Array.from({ length: top - bottom + 1 }, (_, at) => (bottom + at) * tick);
    const color = (at: number) => PALETTE[at % PALETTE.length] ?? "";
    return markup`${
      plot(shown, plotPx, (xOf) => [
        ...ticks.map((value) =>
          markup`<path d="M${AXIS_PX.left} ${yOf(value)}H${widthPx}" stroke="#e3e6ea"/>
<text text-anchor="end" x="${AXIS_PX.left - 6}" y="${yOf(value) + 4}">${
            format(value, shown)
          }</text>`
        ),
        ...lines.flatMap(({ points }, at) =>
          stretches(points, stepS).map((stretch) => {
            const corners = stretch.map(([atS, value]) =>
              `${xOf(atS).toFixed(1)} ${yOf(value).toFixed(1)}`
            );
            return markup`<path fill="none" stroke="${color(at)}" stroke-width="1.6" d="M${
              corners.join("L")
            }h1"/>`;
          })
        ),
      ])
    }<div>${
      lines.map(({ name }, at) =>
        markup`<span><i style="background:${color(at)}"></i>${name}</span>`
      )
    }</div>`;
  },

  "state-timeline"(shown) {
    const { lines, heightPx, source: { stepS } } = shown;
    const plotPx = heightPx - AXIS_PX.bottom;
    const rowPx = Math.min(30, (plotPx - AXIS_PX.top) / lines.length);
    return plot(
      shown,
      plotPx,
      (xOf) =>
        lines.flatMap(({ name, points }, row) =>
          stretches(points, stepS).map((stretch) => {
            const [[fromS, value], [toS]] = [stretch[0] ?? [0, NaN], stretch.at(-1) ?? [0]];
            const [x, y] = [xOf(fromS), AXIS_PX.top + row * rowPx];
            return markup`<rect x="${x}" y="${y + 2}" width="${xOf(toS) - x + 2}" height="${
              rowPx - 4
            }" fill="${colorOf(value, shown)}"/><text fill="#fff" x="${x + 5}" y="${
              y + rowPx / 2 + 4
            }">${name}: ${format(value, shown)}</text>`;
          })
        ),
    );
  },
};

/** The picture of a plot of this height above the axis of the time. */
function plot(
  { source: { fromS, toS }, widthPx }: Shown,
  plotPx: number,
  draw: (xOf: (atS: number) => number) => Html[],
): Html {
  const xOf = (atS: number) =>
    AXIS_PX.left + (atS - fromS) / (toS - fromS) * (widthPx - AXIS_PX.left);
  const most = widthPx / 75;
  const everyS = [10, 30, 60, 120, 300].find((step) => (toS - fromS) / step <= most) ?? 600;
  const first = Math.ceil(fromS / everyS);
  const times = Array.from({ length: Math.floor(toS / everyS) - first + 1 }, (_, at) => first + at);
  return markup`<svg width="${widthPx}" height="${plotPx + AXIS_PX.bottom}">${
    times.map((time) => {
      const x = xOf(time * everyS);
      const text = new Date(time * everyS * 1000).toISOString().slice(11, 19);
      return markup`<path d="M${x} ${AXIS_PX.top}V${plotPx}" stroke="#e3e6ea"/>
<text text-anchor="middle" x="${Math.min(x, widthPx - 26)}" y="${plotPx + 14}">${text}</text>`;
    })
  }${draw(xOf)}</svg>`;
}

/** The points that are numbers, in stretches without a hole. */
function stretches(points: readonly Point[], stepS: number): Point[][] {
  const found: Point[][] = [];
  for (const point of points.filter(([, value]) => Number.isFinite(value))) {
    const last = found.at(-1);
    if (point[0] - (last?.at(-1)?.[0] ?? -Infinity) < 1.5 * stepS) last?.push(point);
    else found.push([point]);
  }
  return found;
}

const lastOf = ({ points }: Series) => points.at(-1)?.[1] ?? NaN;
const mappingOf = (value: number, { mappings = [] }: Field) => mappings[0]?.options[String(value)];

/** As Grafana chooses it: by the mapping, one color for all, or by the thresholds. */
function colorOf(value: number, field: Field): string {
  const { steps } = field.thresholds ?? { steps: DEFAULT_STEPS };
  const reached = steps.findLast((step) => step.value === null || value >= step.value)?.color;
  const name = mappingOf(value, field)?.color ?? field.color?.fixedColor ?? reached ?? "text";
  const color = COLORS[name];
  if (color === undefined) throw new Error(`unknown color ${name}`);
  return color;
}

/** As Grafana writes it: by the mapping, or in the unit. */
function format(value: number, field: Field): string {
  const unit = UNITS[field.unit ?? "none"];
  if (unit === undefined) throw new Error(`unknown unit ${field.unit}`);
  return mappingOf(value, field)?.text ?? (Number.isFinite(value) ? unit(value) : String(value));
}

const short = (value: number) => String(Number(value.toPrecision(value >= 1000 ? 6 : 3)));

/** In the largest of these units of which it is 1 or more. */
function scaled(value: number, units: readonly (readonly [number, string])[]): string {
  const [size, name] = units.find(([size]) => Math.abs(value) >= size) ?? units.at(-1) ?? [1, ""];
  return `${short(value / size)} ${name}`;
}

const TIMES = [[86_400, "days"], [3600, "hours"], [60, "min"], [1, "s"]] as const;
const SIZES = [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]] as const;
const UNITS: Readonly<Record<string, (value: number) => string>> = {
  none: short,
  s: (value) => value > 0 && value < 1 ? `${short(value * 1000)} ms` : scaled(value, TIMES),
  percentunit: (value) => `${short(value * 100)}%`,
  reqps: (value) => `${short(value)} req/s`,
  dB: (value) => `${short(value)} dB`,
  bytes: (value) => scaled(value, SIZES),
  dateTimeAsIso: (value) => new Date(value).toISOString().slice(0, 19).replace("T", " "),
};

/** A distance between ticks that is round in the unit, at least `least`. */
function tickStep(least: number, unit = "none"): number {
  if (unit === "bytes") return 2 ** Math.ceil(Math.log2(least));
  const round = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400];
  const time = unit === "s" && least > 0.5 ? round.find((step) => step >= least) : undefined;
  const power = 10 ** Math.floor(Math.log10(least));
  return time ?? power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}
