// Encodes metrics as OTLP/HTTP in JSON, for receivers that tills push to. Pure.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp and the ProtoJSON mapping of
// opentelemetry/proto/metrics/v1/metrics.proto: 64-bit numbers are strings, enums are numbers.

import type { Labels, MetricFamily, Sample } from "../system/prometheus.ts";

/** AGGREGATION_TEMPORALITY_CUMULATIVE: values count from the start of the process. */
const CUMULATIVE = 2;
const NS_PER_MS = 1_000_000n;

/** What all metrics of a request have in common. */
export interface OtlpContext {
  /** Attributes of the resource, for instance `service.name`. */
  readonly resource: Labels;
  /** When the process started; Unix ms. */
  readonly startUnixMs: number;
}

/** All metrics at one moment. */
export interface Snapshot {
  readonly families: readonly MetricFamily[];
  /** When they were collected; Unix ms. */
  readonly unixMs: number;
}

/** The body of one request: all snapshots, in their order. */
export function encodeOtlp(snapshots: readonly Snapshot[], context: OtlpContext): string {
  const startTimeUnixNano = nanoseconds(context.startUnixMs);
  const metrics = snapshots.flatMap(({ families, unixMs }) => {
    const timeUnixNano = nanoseconds(unixMs);
    return families.filter(({ samples, histogram }) => samples.length > 0 || histogram)
      .map((family) => metricOf(family, { startTimeUnixNano, timeUnixNano }));
  });
  return JSON.stringify({
    resourceMetrics: [{
      resource: { attributes: attributesOf(context.resource) },
      scopeMetrics: [{ scope: { name: "recorder-agent" }, metrics }],
    }],
  });
}

interface Times {
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
}

function metricOf({ type, name, help, samples, histogram }: MetricFamily, times: Times) {
  const metric = { name, description: help };
  if (histogram !== undefined) {
    const count = histogram.counts.reduce((sum, part) => sum + part, 0);
    return {
      ...metric,
      histogram: {
        aggregationTemporality: CUMULATIVE,
        dataPoints: [{
          ...times,
          count: String(count),
          sum: histogram.sum,
          bucketCounts: histogram.counts.map(String),
          explicitBounds: histogram.bounds,
        }],
      },
    };
  }
  const { timeUnixNano } = times;
  if (type === "gauge") {
    return { ...metric, gauge: { dataPoints: pointsOf(samples, { timeUnixNano }) } };
  }
  const sum = { aggregationTemporality: CUMULATIVE, isMonotonic: true };
  return { ...metric, sum: { ...sum, dataPoints: pointsOf(samples, times) } };
}

function pointsOf(samples: readonly Sample[], times: Partial<Times>) {
  return samples.map(([value, labels = {}]) => ({
    ...times,
    asDouble: value,
    attributes: attributesOf(labels),
  }));
}

function attributesOf(labels: Labels) {
  return Object.entries(labels).map(([key, text]) => ({ key, value: { stringValue: text } }));
}

function nanoseconds(unixMs: number): string {
  return String(BigInt(Math.round(unixMs)) * NS_PER_MS);
}
