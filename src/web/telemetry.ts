// The metrics for fleets that are not scraped: to Deno's own OpenTelemetry exporter, which pushes them
// together with what Deno measures itself. Off, as it is unless OTEL_DENO is set, it costs nothing.
// https://docs.deno.com/runtime/fundamentals/open_telemetry/

import type { Labels, MetricFamily } from "./metrics.ts";

/** As much of OpenTelemetry's Meter as is used; Deno's own types leave it open. */
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
 * Has the exporter ask for the metrics whenever it sends. Histograms are left out: Deno's spans of the
 * uploads have their durations.
 */
export function exportMetrics(collect: () => readonly MetricFamily[]): void {
  let meter: Meter;
  try {
    meter = Deno.telemetry.meterProvider.getMeter("recorder-agent");
  } catch {
    return; // it is off
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
