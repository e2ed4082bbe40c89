// The metrics for fleets that are not scraped. It hands them to Deno's OpenTelemetry exporter, which pushes
// them together with Deno's own metrics. The exporter is off unless OTEL_DENO is set, and then costs nothing.
// https://docs.deno.com/runtime/fundamentals/open_telemetry/

import type { Labels, MetricFamily } from "./metrics.ts";

/** The part of OpenTelemetry's Meter that is used here. Deno's own types do not define it. */
interface Meter {
  createObservableGauge(name: string, options: { description: string }): object;
  createObservableCounter(name: string, options: { description: string }): object;
  addBatchObservableCallback(
    callback: (result: {
      observe(instrument: object, value: number, attributes: Labels): void;
    }) => void,
    instruments: readonly object[],
  ): void;
}

/**
 * Registers the metrics with the exporter, which then calls `collect` for each export. Histograms are left
 * out: Deno's spans of the uploads contain their durations.
 */
export function exportMetrics(collect: () => readonly MetricFamily[]): void {
  let meter: Meter;
  try {
    meter = Deno.telemetry.meterProvider.getMeter("recorder-agent");
  } catch {
    return; // the exporter is off
  }
  const instruments = new Map<string, object>();
  for (const { type, name, help: description } of collect()) {
    if (type === "gauge") instruments.set(name, meter.createObservableGauge(name, { description }));
    if (type === "counter") {
      instruments.set(name, meter.createObservableCounter(name, { description }));
    }
  }
  meter.addBatchObservableCallback((result) => {
    for (const { name, samples } of collect()) {
      const instrument = instruments.get(name);
      if (instrument === undefined) continue;
      for (const [value, labels = {}] of samples) result.observe(instrument, value, labels);
    }
  }, [...instruments.values()]);
}
