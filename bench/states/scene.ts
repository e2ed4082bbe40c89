// Describes a state of the program: its configuration and its surroundings. This module defines the types and
// helpers; table.ts lists all states.

import { join } from "@std/path/join";
import type { AgentProcess, AgentProcessOptions } from "../../tests/fixtures/agent_process.ts";
import type { Certificates } from "../../tests/fixtures/certificates.ts";
import { type Behaviour, IngestServer } from "../../tests/fixtures/ingest_server.ts";
import type { PulseMicrophone } from "../../tests/fixtures/pulse_microphone.ts";

export const TOKEN = "states";
/** No server listens there. */
export const NOWHERE = "http://127.0.0.1:9";

type Keys = AgentProcessOptions["config"];

/** One process in one kind of surroundings. */
export interface State {
  /** For `--only`. */
  readonly name: string;
  /** For the table. */
  readonly words: string;
  /** Whether there is a microphone. It may need another ffmpeg after it was lost. */
  readonly records: boolean;
  /** Programs are started because the microphone appears, disappears or cannot be opened. */
  readonly startsPrograms?: boolean;
  readonly set: (scene: Scene) => Promise<Setting> | Setting;
}

/** How the program is started, and what happens to it then. */
export interface Setting {
  readonly config: Keys;
  readonly env?: Readonly<Record<string, string>>;
  readonly logLevel?: "DEBUG" | "INFO";
  /** False: stderr is a full pipe that nobody reads. */
  readonly readsLog?: boolean;
  /** What happens around the program until the signal aborts. */
  readonly live?: (agent: AgentProcess, signal: AbortSignal) => Promise<void>;
}

export interface SceneOptions {
  /** A directory for this state only. */
  readonly dir: string;
  /** Receives the resources that end with the state. */
  readonly resources: AsyncDisposableStack;
  readonly certificates: Certificates;
  /** Several states may record it at the same time. */
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

  /** Starts a real server over TLS with this behaviour; returns the keys that point to it. */
  async server(behaviour: Behaviour = { kind: "ok" }): Promise<Keys> {
    const { certPem, keyPem, caFile } = this.#options.certificates;
    const tls = { certPem, keyPem };
    const server = await IngestServer.start({ tls, token: TOKEN, behaviour });
    this.resources.use(server);
    return { ingest_base_url: server.url, tls_ca_file: caFile };
  }

  /** The setting in which a simulated microphone is recorded under the default keys. */
  recording(config: Keys, microphone = this.#options.microphone): Setting {
    return { config: { audio_device: microphone.device, ...config }, env: microphone.env };
  }
}

/** The default keys of every state: short waits, all day. */
export const USUAL: Keys = {
  ingest_base_url: NOWHERE,
  ingest_token: TOKEN,
  schedule_start: "00:00",
  schedule_end: "00:00",
  upload_timeout_s: 10,
  retry_max_s: 10,
  min_free_gb: 0,
  max_clock_wait_s: 0,
};
