// A microphone of PulseAudio, ffmpeg and the program as a process, when one of them stops or dies: the
// recording continues within the time limit, and no ffmpeg is left behind.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import config from "../../deno.json" with { type: "json" };
import { AgentProcess } from "../fixtures/agent_process.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";

/** From source, with the permissions of the compiled program. */
const AS_COMPILED = [
  Deno.execPath(),
  ...["run", "--no-check"],
  ...(config.tasks["compile:any"].match(/--(no-prompt|allow-[^' ]+|ignore-env)/g) ?? []),
  new URL("../../main.ts", import.meta.url).pathname,
];

/** A microphone, and an agent that records it; no server accepts the chunks. */
async function rig() {
  const dir = await Deno.makeTempDir({ prefix: "microphone-test-" });
  const microphone = await PulseMicrophone.start();
  const agent = await AgentProcess.start({
    dir,
    env: microphone.env,
    program: AS_COMPILED,
    config: {
      ingest_base_url: "http://127.0.0.1:9",
      ingest_token: "token",
      audio_device: microphone.device,
      spool_dir: join(dir, "spool"),
      schedule_start: "00:00",
      schedule_end: "00:00",
      chunk_seconds: 2,
      min_free_gb: 0,
    },
  });
  await agent.said("Recording.");
  return {
    agent,
    microphone,
    async [Symbol.asyncDispose]() {
      await agent[Symbol.asyncDispose]();
      await microphone[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** The ffmpeg of the agent; there is exactly one. */
function ffmpegOf({ pid }: AgentProcess): number {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ");
  const found = children.filter((child) => programOf(Number(child)) === "ffmpeg");
  assertEquals(found.length, 1, `children ${children}`);
  return Number(found[0]);
}

/** Null if it has ended. */
function programOf(pid: number): string | null {
  try {
    const [, name = "", state] = /^\d+ \((.*)\) (\w)/.exec(
      Deno.readTextFileSync(`/proc/${pid}/stat`),
    ) ?? [];
    return state === "Z" || state === "X" ? null : name;
  } catch {
    return null;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Milliseconds until the process has ended. */
async function endOf(pid: number, timeoutMs: number): Promise<number> {
  const startMs = performance.now();
  while (programOf(pid) !== null) {
    const waitedMs = performance.now() - startMs;
    assert(waitedMs < timeoutMs, `process ${pid} still runs after ${waitedMs} ms`);
    await sleep(20);
  }
  return performance.now() - startMs;
}

Deno.test("a stopped ffmpeg is killed, counted and replaced within 20 s", async () => {
  await using setup = await rig();
  const { agent } = setup;
  await sleep(1000);
  const stopped = ffmpegOf(agent);
  const from = agent.log.length;
  const stoppedMs = performance.now();
  Deno.kill(stopped, "SIGSTOP");
  await agent.said("Recording.", { from, timeoutMs: 25_000 });
  const tookMs = performance.now() - stoppedMs;
  assert(tookMs > 9_000 && tookMs < 20_000, `${tookMs} ms`);
  assertEquals(programOf(stopped), null);
  assert(ffmpegOf(agent) !== stopped);
  const { body } = await agent.health();
  assertEquals(body.microphone_stalls_total, 1);
  const codes = agent.log.slice(from).flatMap(({ code, resolved }) =>
    code ?? (resolved && `no ${resolved}`) ?? []
  );
  assertEquals(codes.filter((code) => /stalled/.test(String(code))), [
    "microphone_stalled",
    "no microphone_stalled",
  ]);
  assertEquals(await agent.end("SIGTERM"), 0);
});

Deno.test("an agent that was stopped for longer than the stall limit does not report a stall", async () => {
  await using setup = await rig();
  const { agent } = setup;
  await sleep(1000);
  const ffmpeg = ffmpegOf(agent);
  Deno.kill(agent.pid, "SIGSTOP");
  await sleep(12_000);
  Deno.kill(agent.pid, "SIGCONT");
  await sleep(2_000);
  assertEquals(ffmpegOf(agent), ffmpeg);
  const { body } = await agent.health();
  assertEquals([body.microphone_stalls_total, body.recording], [0, true]);
  assertEquals(await agent.end("SIGTERM"), 0);
  assertEquals(programOf(ffmpeg), null);
});

Deno.test("kill -9 of the agent leaves no ffmpeg, even if the microphone delivers no sound", async () => {
  for (const hang of ["suspended microphone", "stopped ffmpeg"]) {
    await using setup = await rig();
    const ffmpeg = ffmpegOf(setup.agent);
    if (hang === "suspended microphone") await setup.microphone.suspend();
    else Deno.kill(ffmpeg, "SIGSTOP");
    await sleep(1000); // from here on nothing is written to the pipe
    assertEquals(programOf(ffmpeg), "ffmpeg", hang);
    await setup.agent.end("SIGKILL");
    const tookMs = await endOf(ffmpeg, 3_000);
    assert(tookMs < 3_000, hang);
  }
});
