// Starts the compiled program for the benchmarks: it records a simulated microphone all day and delivers over
// TLS. The module measures nothing.

import { join } from "@std/path/join";
import { AgentProcess, type AgentProcessOptions } from "../tests/fixtures/agent_process.ts";
import type { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";

export interface RecordingAgentOptions {
  /** The directory for its configuration file and, unless `config` has another one, its spool. */
  readonly dir: string;
  readonly program: string;
  readonly microphone: PulseMicrophone;
  readonly server: { readonly url: string; readonly token: string; readonly caFile: string };
  /** Further keys of the configuration. */
  readonly config?: AgentProcessOptions["config"];
}

/** The started program. To dispose it kills the program if it is still running. */
export function startRecordingAgent(options: RecordingAgentOptions): Promise<AgentProcess> {
  const { dir, program, microphone, server, config = {} } = options;
  return AgentProcess.start({
    dir,
    program: [program],
    env: microphone.env,
    logLevel: "INFO",
    config: {
      spool_dir: join(dir, "spool"),
      ingest_base_url: server.url,
      ingest_token: server.token,
      tls_ca_file: server.caFile,
      audio_device: microphone.device,
      schedule_start: "00:00",
      schedule_end: "00:00",
      min_free_gb: 0,
      max_clock_wait_s: 0,
      ...config,
    },
  });
}
