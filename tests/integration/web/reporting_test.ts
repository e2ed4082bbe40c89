// What a till reports by itself, with the real program: metrics over OTLP, and heartbeats.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { AgentProcess } from "../../fixtures/agent_process.ts";
import { readOtlp } from "../../fixtures/otlp_message.ts";
import { IngestServer } from "../../fixtures/ingest_server.ts";

const TOKEN = "a-token-that-is-nowhere-else";
const DEVICE_ID = "33333333-3333-3333-3333-333333333333";

const textOf = (body: Uint8Array) => new TextDecoder().decode(body);

interface Post {
  readonly path: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** A receiver that answers what `status` says, and keeps what it was sent. */
function startReceiver(status: (path: string) => number) {
  const posts: Post[] = [];
  const arrived = new Set<() => void>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      posts.push({ path: pathname, headers: request.headers, body: await request.bytes() });
      for (const tell of arrived) tell();
      return new Response("{}", { status: status(pathname) });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    posts,
    /** Resolves with the first post that is like this. */
    async next(isWanted: (post: Post) => boolean): Promise<Post> {
      for (;;) {
        const found = posts.find(isWanted);
        if (found !== undefined) return found;
        const { promise, resolve } = Promise.withResolvers<void>();
        arrived.add(resolve);
        await promise;
        arrived.delete(resolve);
      }
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("a till pushes its metrics and its heartbeat, and neither has the token of the uploads", async () => {
  const dir = await Deno.makeTempDir({ prefix: "reporting-test-" });
  try {
    await using receiver = startReceiver((path) => path.endsWith("/fail") ? 500 : 200);
    await using ingest = await IngestServer.start({ token: TOKEN });
    await using agent = await AgentProcess.start({
      dir,
      config: {
        device_id: DEVICE_ID,
        ingest_base_url: ingest.url,
        ingest_token: TOKEN,
        audio_device: "null",
        spool_dir: join(dir, "spool"),
        schedule_start: "00:00",
        schedule_end: "00:00",
        chunk_seconds: 1,
        min_free_gb: 0,
        otlp_endpoint: `${receiver.url}/otlp`,
        otlp_headers: "authorization=Bearer%20of-the-receiver,x-scope-orgid=shop",
        otlp_interval_s: 10,
        heartbeat_url: `${receiver.url}/ping/0f1e`,
        heartbeat_interval_s: 10,
      },
    });
    await ingest.waitForChunks(1, 60_000);
    const isPush = ({ path, body }: Post) =>
      path === "/otlp/v1/metrics" &&
      textOf(body).includes("recorder_agent_chunks_delivered_total");
    const { headers, body } = await receiver.next(isPush);
    assertEquals(headers.get("authorization"), "Bearer of-the-receiver");
    assertEquals(headers.get("x-scope-orgid"), "shop");
    assertEquals(headers.get("content-type"), "application/x-protobuf");
    const [{ resource, scopeMetrics: [{ metrics }] }] = readOtlp(body).resourceMetrics;
    const attributes = Object.fromEntries(
      resource.attributes.map((
        { key, value }: { key: string; value: { stringValue: string } },
      ) => [key, value.stringValue]),
    );
    assertEquals(attributes["service.name"], "recorder-agent");
    assertEquals(attributes["service.instance.id"], DEVICE_ID);
    const names = metrics.map(({ name }: { name: string }) => name);
    for (const name of ["recorder_agent_recording", "process_resident_memory_bytes"]) {
      assert(names.includes(name), name);
    }
    const beat = await receiver.next(({ path }) => path === "/ping/0f1e");
    assert(/^(ok|degraded)\b/.test(textOf(beat.body)), textOf(beat.body));
    assertEquals(await agent.end("SIGTERM"), 0);
    for (const { headers, body } of receiver.posts) {
      const sent = JSON.stringify([...headers]) + textOf(body);
      assert(!sent.includes(TOKEN), sent);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a receiver and a monitor that are not there cost neither a chunk nor the recording", async () => {
  const dir = await Deno.makeTempDir({ prefix: "reporting-test-" });
  try {
    await using ingest = await IngestServer.start({ token: TOKEN });
    await using agent = await AgentProcess.start({
      dir,
      config: {
        ingest_base_url: ingest.url,
        ingest_token: TOKEN,
        audio_device: "null",
        spool_dir: join(dir, "spool"),
        schedule_start: "00:00",
        schedule_end: "00:00",
        chunk_seconds: 1,
        min_free_gb: 0,
        otlp_endpoint: "http://127.0.0.1:9",
        // Beyond this machine: nothing is sent unencrypted.
        heartbeat_url: "http://monitor.invalid/secret-of-the-till",
      },
    });
    await ingest.waitForChunks(2, 60_000);
    await agent.said("Metrics wait because they cannot be pushed");
    await agent.said("The monitor cannot be told that this till is well");
    const { body: { problems } } = await agent.health();
    const said = JSON.stringify(problems);
    for (const text of ["metrics_push_failing", "refused", "heartbeat_failing", "https://"]) {
      assertStringIncludes(said, text);
    }
    assert(!said.includes("secret-of-the-till"), said);
    assertEquals(await agent.end("SIGTERM"), 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
