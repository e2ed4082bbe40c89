// OpenTelemetry with the exporter of Deno, with a real receiver of OTLP over HTTP on loopback.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";

const TOKEN = "a-token-that-is-nowhere-else";

Deno.test("the metrics of the agent and the spans of uploads are exported, without secrets", async () => {
  const dir = await Deno.makeTempDir({ prefix: "telemetry-test-" });
  const pushed: { path: string; body: string }[] = [];
  await using receiver = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      pushed.push({ path: new URL(request.url).pathname, body: await request.text() });
      return Response.json({});
    },
  );
  try {
    await using ingest = await IngestServer.start({ token: TOKEN });
    await using agent = await AgentProcess.start({
      dir,
      env: {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.addr.port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_METRIC_EXPORT_INTERVAL: "500",
        OTEL_BSP_SCHEDULE_DELAY: "500",
        OTEL_SERVICE_NAME: "recorder-agent",
      },
      config: {
        ingest_base_url: ingest.url,
        ingest_token: TOKEN,
        audio_device: "null",
        spool_dir: join(dir, "spool"),
        schedule_start: "00:00",
        schedule_end: "00:00",
        chunk_seconds: 1,
        min_free_gb: 0,
      },
    });
    await ingest.waitForChunks(1, 20_000);
    const all = () => pushed.map(({ body }) => body).join("\n");
    for (let tries = 0; tries < 100 && !/"POST"/.test(all()); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await agent.said("Delivered.");
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assertEquals(await agent.end("SIGTERM"), 0);

    const paths = new Set(pushed.map(({ path }) => path));
    assert(paths.has("/v1/traces") && paths.has("/v1/metrics"), [...paths].join());
    const metrics = pushed.filter(({ path }) => path === "/v1/metrics").map(({ body }) => body);
    for (
      const name of [
        "recorder_agent_recording",
        "recorder_agent_chunks_delivered_total",
        "recorder_agent_spool_bytes",
        "process_resident_memory_bytes",
      ]
    ) assert(metrics.some((body) => body.includes(`"${name}"`)), name);
    assert(all().includes("/api/v1/chunks"), "the uploads are traced");
    assert(!all().includes(TOKEN));
    assert(!/authorization/i.test(all()));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
