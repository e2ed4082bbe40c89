// What a state of the program is made of: its configuration, and what is around it. The table of all
// states is table.ts; here is what its entries are written in.

import { join } from "@std/path/join";
import type { AgentProcess, AgentProcessOptions } from "../../tests/fixtures/agent_process.ts";
import type { Certificates } from "../../tests/fixtures/certificates.ts";
import { type Behaviour, IngestServer } from "../../tests/fixtures/ingest_server.ts";
import type { PulseMicrophone } from "../../tests/fixtures/pulse_microphone.ts";

export const TOKEN = "states";
/** Nobody listens there. */
export const NOWHERE = "http://127.0.0.1:9";

type Keys = AgentProcessOptions["config"];

/** One process under one kind of circumstances. */
export interface State {
  /** For `--only`. */
  readonly name: string;
  /** For the table. */
  readonly words: string;
  /** Whether there is a microphone, which may need another ffmpeg when it was lost. */
  readonly records: boolean;
  /** Programs are started because the microphone comes, goes or cannot be opened. */
  readonly startsPrograms?: boolean;
  readonly set: (scene: Scene) => Promise<Setting> | Setting;
}

/** How the program is started, and what happens to it then. */
export interface Setting {
  readonly config: Keys;
  readonly env?: Readonly<Record<string, string>>;
  readonly logLevel?: "DEBUG" | "INFO";
  /** False: its stderr is a full pipe that nobody reads. */
  readonly readsLog?: boolean;
  /** What goes on around it until the signal. */
  readonly live?: (agent: AgentProcess, signal: AbortSignal) => Promise<void>;
}

export interface SceneOptions {
  /** Of this state alone. */
  readonly dir: string;
  /** Takes what has to end with the state. */
  readonly resources: AsyncDisposableStack;
  readonly certificates: Certificates;
  /** Several may record it at the same time. */
  readonly microphone: PulseMicrophone;
}

/** The surroundings of one state. */
export class Scene {
  readonly resources: AsyncDisposableStack;
  readonly spoolDir: string;
  readonly #options: SceneOptions;

  constructor(options: SceneOptions) {
    this.#options = options;
    this.resources = options.resources;
    this.spoolDir = join(options.dir, "spool");
  }

  /** A real server over TLS, which does this with every request; the keys that lead to it. */
  async server(behaviour: Behaviour = { kind: "ok" }): Promise<Keys> {
    const { certPem, keyPem, caFile } = this.#options.certificates;
    const tls = { certPem, keyPem };
    const server = await IngestServer.start({ tls, token: TOKEN, behaviour });
    this.resources.use(server);
    return { ingest_base_url: server.url, tls_ca_file: caFile };
  }

  /** Records a simulated microphone, in short chunks. */
  recording(config: Keys, microphone = this.#options.microphone): Setting {
    return { config: { audio_device: microphone.device, ...config }, env: microphone.env };
  }
}

/** What every state has, unless it says otherwise: short chunks, short waits, all day. */
export const USUAL: Keys = {
  ingest_base_url: NOWHERE,
  ingest_token: TOKEN,
  chunk_seconds: 5,
  schedule_start: "00:00",
  schedule_end: "00:00",
  upload_timeout_s: 10,
  retry_max_s: 10,
  min_free_gb: 0,
  max_clock_wait_s: 0,
};
