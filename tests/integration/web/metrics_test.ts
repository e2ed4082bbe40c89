// /metrics of the agent and of the receiver, checked with the tool of Prometheus.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { makeName } from "../../fixtures/chunks.ts";
import { startReceiver, TOKEN } from "../../fixtures/receive_rig.ts";
import { SimulatedClock } from "../../fixtures/simulated_clock.ts";
import { fillDay, startStatusRig } from "../../fixtures/status_rig.ts";

/** The output of `promtool check metrics` for a text; it is empty if the text is valid. */
async function promtool(text: string): Promise<string> {
  const child = new Deno.Command("promtool", {
    args: ["check", "metrics"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return code === 0 ? said : `${said}(exit code ${code})`;
}

Deno.test("promtool finds no fault in the metrics of a till that has just started, nor of a busy one", async () => {
  const complaint = await promtool("# TYPE a_total gauge\na_total 1\n");
  assertStringIncludes(complaint, "_total");
  await using rig = startStatusRig();
  const look = async () => {
    const answer = await fetch(`${rig.url}metrics`);
    assertEquals(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    return await answer.text();
  };
  assertEquals(await promtool(await look()), "");
  fillDay(rig, "microphone");
  rig.status.setProblem("upload_failing", "m");
  rig.status.counters.attempted("delivered", 120);
  rig.status.counters.captureEnded("microphone_lost");
  rig.status.counters.captureEnded('a"b\\c\nd');
  assertEquals(await promtool(await look()), "");
});

Deno.test("promtool finds no fault in the metrics of a receiver", async () => {
  await using rig = await startReceiver({ clock: new SimulatedClock(Date.UTC(2026, 10, 23, 9)) });
  for (const minute of [0, 1, 3]) {
    const name = { ...makeName(minute), durationUs: 60e6 };
    assertEquals((await rig.upload({ name })).status, 200);
  }
  await rig.upload({ token: "wrong" });
  const answer = await fetch(`http://127.0.0.1:${rig.port}/metrics`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const text = await answer.text();
  assertStringIncludes(text, "recorder_receiver_last_chunk_end_seconds{");
  assertEquals(await promtool(text), "");
});
