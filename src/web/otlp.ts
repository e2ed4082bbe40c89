// Encodes metrics as OTLP/HTTP in protobuf, for receivers that tills push to: the one encoding that all of them
// read (VictoriaMetrics refuses JSON). Pure.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp, opentelemetry/proto/metrics/v1/metrics.proto, and
// https://protobuf.dev/programming-guides/encoding/. The number of a field is its first argument.

import { concatBytes } from "../system/concat_bytes.ts";
import type { Labels, MetricFamily, Sample } from "../system/prometheus.ts";

/** The content type of a request. */
export const OTLP_TYPE = "application/x-protobuf";

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

type Bytes = Uint8Array<ArrayBuffer>;

/** The body of one request: all snapshots, in their order. */
export function encodeOtlp(
  snapshots: readonly Snapshot[],
  { resource, startUnixMs }: OtlpContext,
): Bytes {
  const start = fixed64(2, nanoseconds(startUnixMs));
  const metrics = snapshots.flatMap(({ families, unixMs }) => {
    const now = fixed64(3, nanoseconds(unixMs));
    return families.filter(({ samples, histogram }) => samples.length > 0 || histogram)
      .map((family) => message(2, metricOf(family, start, now)));
  });
  const scopeMetrics = [message(1, [text(1, "recorder-agent")]), ...metrics];
  return message(1, [message(1, attributesOf(1, resource)), message(2, scopeMetrics)]);
}

/** The fields of a Metric. */
function metricOf(family: MetricFamily, start: Bytes, now: Bytes): Bytes[] {
  const { type, name, help, samples, histogram } = family;
  const names = [text(1, name), text(2, help)];
  if (histogram !== undefined) {
    const count = histogram.counts.reduce((sum, part) => sum + part, 0);
    const point = [
      ...[start, now, fixed64(4, BigInt(count)), double(5, histogram.sum)],
      message(6, histogram.counts.map((part) => eightBytes({ whole: BigInt(part) }))),
      message(7, histogram.bounds.map((bound) => eightBytes({ number: bound }))),
    ];
    return [...names, message(9, [message(1, point), varintField(2, CUMULATIVE)])];
  }
  if (type === "gauge") return [...names, message(5, pointsOf(samples, [now]))];
  const sum = [varintField(2, CUMULATIVE), varintField(3, 1)];
  return [...names, message(7, [...pointsOf(samples, [start, now]), ...sum])];
}

function pointsOf(samples: readonly Sample[], times: readonly Bytes[]): Bytes[] {
  return samples.map(([value, labels = {}]) =>
    message(1, [...times, double(4, value), ...attributesOf(7, labels)])
  );
}

function attributesOf(field: number, labels: Labels): Bytes[] {
  return Object.entries(labels).map(([key, value]) =>
    message(field, [text(1, key), message(2, [text(1, value)])])
  );
}

function nanoseconds(unixMs: number): bigint {
  return BigInt(Math.round(unixMs)) * NS_PER_MS;
}

/** A message, a text, or numbers of a fixed size: the length and the bytes (wire type 2). */
function message(field: number, parts: readonly Bytes[]): Bytes {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return concatBytes([Uint8Array.from([...varint(field << 3 | 2), ...varint(length)]), ...parts]);
}

function text(field: number, value: string): Bytes {
  return message(field, [new TextEncoder().encode(value)]);
}

function varintField(field: number, value: number): Bytes {
  return Uint8Array.from([...varint(field << 3), ...varint(value)]);
}

function fixed64(field: number, whole: bigint): Bytes {
  return concatBytes([Uint8Array.from(varint(field << 3 | 1)), eightBytes({ whole })]);
}

function double(field: number, number: number): Bytes {
  return concatBytes([Uint8Array.from(varint(field << 3 | 1)), eightBytes({ number })]);
}

function eightBytes(value: { whole: bigint } | { number: number }): Bytes {
  const view = new DataView(new ArrayBuffer(8));
  if ("whole" in value) view.setBigUint64(0, value.whole, true);
  else view.setFloat64(0, value.number, true);
  return new Uint8Array(view.buffer);
}

/** Seven bits a byte, the lowest first. @param value below 2^31. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x7f; value >>>= 7) bytes.push(value & 0x7f | 0x80);
  return [...bytes, value];
}
