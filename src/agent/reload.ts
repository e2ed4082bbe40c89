// Reads the configuration again when that is requested, and puts it in force or says why not. A wrong one
// changes nothing, and is a problem until a good one is read. It logs names of keys only, never values.

import { type Config, ConfigError } from "../config/config.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import type { Logger } from "../system/log.ts";
import type { Applied, Settings } from "./settings.ts";

/** Where configurations come from. */
export interface ConfigSource {
  /** The configuration as it is written now. @throws {ConfigError} with all problems */
  readonly load: () => Config;
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

  constructor(source: ConfigSource, deps: ReloadDeps) {
    this.#source = source;
    this.#deps = deps;
    this.#wrong = new ProblemReport(deps);
    this.#waiting = new ProblemReport(deps);
  }

  /** Reads the configuration once. Returns what was applied. @throws {ConfigError} if nothing was. */
  reload(): Applied {
    const { settings, log } = this.#deps;
    let config: Config;
    try {
      config = this.#source.load();
    } catch (error) {
      const lines = error instanceof ConfigError ? error.problems : [messageOf(error)];
      this.#wrong.set(problems.configNotApplied(lines));
      throw error instanceof ConfigError ? error : new ConfigError(lines);
    }
    const applied = settings.replace(config);
    const { changed, atRestart } = applied;
    this.#wrong.clear();
    if (atRestart.length === 0) this.#waiting.clear();
    else this.#waiting.set(problems.restartNeeded(atRestart));
    const now = changed.filter((name) => !atRestart.includes(name));
    log.info("The configuration was read again.", {
      applied: now.join(", ") || "nothing new",
      ...(atRestart.length === 0 ? {} : { at_restart: atRestart.join(", ") }),
    });
    return applied;
  }
}
