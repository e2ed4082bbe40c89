// A till that records, with a simulated microphone that hears noise, and the settings of a till but for
// what a test sets.

import { join } from "@std/path/join";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { TOKEN } from "./till.ts";

export interface RecordingTillOptions {
  /** `ingest_base_url`. */
  readonly url: string;
  /** `tls_ca_file`. */
  readonly caFile: string;
  readonly chunkSeconds: number;
}

/** A till that records until it is released with `await using`. */
export interface RecordingTill extends AsyncDisposable {
  readonly agent: AgentProcess;
  readonly spool: string;
}

/** Resolves when it records. */
export async function startRecordingTill(
  { url, caFile, chunkSeconds }: RecordingTillOptions,
): Promise<RecordingTill> {
  await using stack = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "recorder-agent-till-" });
  stack.defer(() => Deno.remove(dir, { recursive: true }));
  const microphone = stack.use(await PulseMicrophone.start());
  stack.use(microphone.playNoise(1));
  await Deno.writeTextFile(join(dir, "token"), `${TOKEN}\n`);
  const spool = join(dir, "spool");
  const agent = stack.use(
    await AgentProcess.start({
      dir,
      env: microphone.env,
      logLevel: "INFO",
      config: {
        ingest_base_url: url,
        ingest_token_file: join(dir, "token"),
        tls_ca_file: caFile,
        audio_device: microphone.device,
        spool_dir: spool,
        schedule_start: "00:00",
        schedule_end: "00:00",
        chunk_seconds: chunkSeconds,
        min_free_gb: 0,
      },
    }),
  );
  await agent.said("Recording.", { timeoutMs: 60_000 });
  const owned = stack.move();
  return { agent, spool, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
