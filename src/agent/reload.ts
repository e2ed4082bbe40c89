// The configuration as it is written, and the one in force: reads it again when that is requested, and puts
// it in force or says why not. A wrong one changes nothing, and is a problem until a good one is read. What
// has worked is kept for a start with a wrong one. It logs names of keys only, never values.

import { type Config, ConfigError } from "../config/config.ts";
import { LAST_GOOD_FILE } from "../config/last_good.ts";
import type { StartConfig } from "../config/start_config.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import type { Settings } from "./settings.ts";

/** Where configurations come from, and where they are kept. */
export interface ConfigSource {
  /** The configuration as it is written now. @throws {ConfigError} with all problems */
  readonly load: () => Config;
  /** What the service has started with; default: as it is written. */
  readonly started?: Pick<StartConfig, "from" | "problems">;
  /** Keeps settings that work. @throws the errors of the disk. */
  readonly keep?: (config: Config) => Promise<void>;
}

export interface ReloadDeps {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
}

export class Reload {
  readonly #deps: ReloadDeps;
  readonly #source: ConfigSource;
  /** What is wrong with the configuration as it is written. */
  readonly #wrong: ProblemReport;
  /** What waits for a restart. */
  readonly #waiting: ProblemReport;
  #isReady = false;
  #isKept = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(source: ConfigSource, deps: ReloadDeps) {
    this.#source = source;
    this.#deps = deps;
    this.#wrong = new ProblemReport(deps);
    this.#waiting = new ProblemReport(deps);
    const { from, problems: lines } = source.started ?? { from: "as_written", problems: [] };
    if (from !== "as_written") this.#wrong.set(problems.configNotApplied(lines, from));
    else if (lines.length > 0) {
      const line = "Nothing can be delivered until a file is corrected: {problem}";
      for (const problem of lines) deps.log.warning(line, { problem });
    }
  }

  /** Call this when the service is ready: its settings work. Never rejects. */
  async ready(): Promise<void> {
    this.#isReady = true;
    await this.keep();
  }

  /**
   * Keeps the settings in force, unless the service was never ready with any. Never rejects. Calls
   * write one after the other.
   */
  async keep(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { log, settings } = this.#deps;
    if (!this.#isReady || this.#wrong.isLasting || this.#isKept) return;
    this.#isKept = true;
    try {
      await this.#source.keep?.(settings.config);
    } catch (error) {
      const fields = repeating(LAST_GOOD_FILE, { file: LAST_GOOD_FILE, error: String(error) });
      log.warning("{file} cannot be written.", fields);
    }
  }

  /** Reads the configuration once. Whether other settings are in force. */
  reload(): boolean {
    const { settings, log } = this.#deps;
    let config: Config;
    try {
      config = this.#source.load();
    } catch (error) {
      const lines = error instanceof ConfigError ? error.problems : [messageOf(error)];
      this.#wrong.set(problems.configNotApplied(lines, "earlier"));
      return false;
    }
    const { changed, atRestart } = settings.replace(config);
    this.#wrong.clear();
    if (atRestart.length === 0) this.#waiting.clear();
    else this.#waiting.set(problems.restartNeeded(atRestart));
    const now = changed.filter((name) => !atRestart.includes(name));
    log.info("The configuration was read again.", {
      applied: now.join(", ") || "nothing new",
      ...(atRestart.length === 0 ? {} : { at_restart: atRestart.join(", ") }),
    });
    this.#isKept = false;
    return true;
  }
}
