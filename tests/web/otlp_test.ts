import { assertEquals } from "@std/assert";
import { readOtlp } from "../fixtures/otlp_message.ts";
import { encodeOtlp } from "../../src/web/otlp.ts";
import type { MetricFamily } from "../../src/system/prometheus.ts";

const START = 1_785_000_000_000;
const CONTEXT = { resource: { "service.name": "recorder-agent" }, startUnixMs: START };
const FAMILIES: MetricFamily[] = [
  { type: "gauge", name: "level", help: "Loudness.", samples: [[-12.5, { measure: "peak" }]] },
  { type: "counter", name: "chunks_total", help: "Chunks.", samples: [[3]] },
  { type: "gauge", name: "nothing", help: "Without a value.", samples: [] },
  {
    type: "histogram",
    name: "seconds",
    help: "Durations.",
    samples: [],
    histogram: { bounds: [1, 5], counts: [2, 1, 1], sum: 11.5 },
  },
];

function encode(unixMs: number, families = FAMILIES) {
  return readOtlp(encodeOtlp([{ families, unixMs }], CONTEXT)).resourceMetrics[0];
}

Deno.test("a request has each metric in the fields that OTLP gives it", () => {
  const { resource, scopeMetrics: [{ scope, metrics }] } = encode(START + 1500);
  const times = {
    startTimeUnixNano: "1785000000000000000",
    timeUnixNano: "1785000001500000000",
  };
  assertEquals(resource, {
    attributes: [{ key: "service.name", value: { stringValue: "recorder-agent" } }],
  });
  assertEquals(scope, { name: "recorder-agent" });
  assertEquals(metrics, [
    {
      name: "level",
      description: "Loudness.",
      gauge: {
        dataPoints: [{
          timeUnixNano: times.timeUnixNano,
          asDouble: -12.5,
          attributes: [{ key: "measure", value: { stringValue: "peak" } }],
        }],
      },
    },
    {
      name: "chunks_total",
      description: "Chunks.",
      sum: {
        aggregationTemporality: 2,
        isMonotonic: true,
        dataPoints: [{ ...times, asDouble: 3 }],
      },
    },
    {
      name: "seconds",
      description: "Durations.",
      histogram: {
        aggregationTemporality: 2,
        dataPoints: [{
          ...times,
          count: "4",
          sum: 11.5,
          bucketCounts: ["2", "1", "1"],
          explicitBounds: [1, 5],
        }],
      },
    },
  ]);
});

Deno.test("several snapshots keep their order and their own times", () => {
  const [gauge] = FAMILIES;
  const snapshots = [1000, 2000].map((ms) => ({
    families: gauge === undefined ? [] : [gauge],
    unixMs: START + ms,
  }));
  const { scopeMetrics: [{ metrics }] } = readOtlp(encodeOtlp(snapshots, CONTEXT))
    .resourceMetrics[0];
  const times = metrics.map(({ gauge }: { gauge: { dataPoints: { timeUnixNano: string }[] } }) =>
    gauge.dataPoints[0]?.timeUnixNano
  );
  assertEquals(times, ["1785000001000000000", "1785000002000000000"]);
});

Deno.test("a fraction of a millisecond is rounded, and no time loses digits", () => {
  const { scopeMetrics: [{ metrics: [gauge] }] } = encode(1_785_000_000_123.7);
  assertEquals(gauge.gauge.dataPoints[0].timeUnixNano, "1785000000124000000");
});

Deno.test("values keep every bit: small, large, negative, fractions, and texts beyond ASCII", () => {
  const values = [0, -0.5, 1e-300, 2 ** 53, -120.25];
  const families: MetricFamily[] = values.map((value, at) => ({
    type: "gauge",
    name: `n${at}`,
    help: "Größe".repeat(40), // a length of two bytes
    samples: [[value, { what: "микрофон" }]],
  }));
  const { scopeMetrics: [{ metrics }] } = encode(START, families);
  assertEquals(
    metrics.map(({ description, gauge: { dataPoints: [point] } }: {
      description: string;
      gauge: { dataPoints: { asDouble: number; attributes: unknown }[] };
    }) => [description, point?.asDouble, point?.attributes]),
    values.map((value) => [
      "Größe".repeat(40),
      value,
      [{ key: "what", value: { stringValue: "микрофон" } }],
    ]),
  );
});
