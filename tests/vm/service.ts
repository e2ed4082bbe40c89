// recorder-agent inside a guest: installs it as a user would, reads its health, and checks what must be
// true at any time. The scenarios cause the faults.

import type { HealthReport } from "../../src/status/status.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { type Guest, INGEST_ADDRESS } from "./guest.ts";

export const UNIT = "recorder-agent.service";
export const TOKEN = "token-of-the-vm-rig";
export const CHUNK_SECONDS = 10;
export const SPOOL = "/var/lib/recorder-agent/spool";
const INGEST_PORT = INGEST_ADDRESS.split(":")[1];

const CONFIG: Readonly<Record<string, string | number>> = {
  ...IDS,
  ingest_base_url: `https://ingest.test:${INGEST_PORT}`, // the name is in /etc/hosts of the guest
  ingest_token: TOKEN,
  tls_ca_file: "/etc/recorder-agent/ca.pem",
  schedule_start: "00:00",
  schedule_end: "00:00",
  chunk_seconds: CHUNK_SECONDS,
  min_free_gb: 0.1,
  retry_max_s: 10,
};

/** The output of `systemctl show`. */
export interface ServiceState {
  readonly pid: number;
  readonly restarts: number;
  /** For example active, activating or failed. */
  readonly active: string;
  /** For example success, watchdog or exit-code. */
  readonly result: string;
}

export class Service {
  readonly #guest: Guest;

  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /**
   * Installs this program of the shared folder with its own command, as a technician would. The
   * service writes every line of its log, including repeats.
   */
  async install(program: string): Promise<void> {
    const settings = Object.entries(CONFIG).filter(([key]) => key !== "ingest_token")
      .map(([key, value]) => `--set '${key}=${value}'`);
    await this.#guest.run([
      "set -e; cd /share",
      "mkdir -p /etc/recorder-agent /etc/systemd/system/recorder-agent.service.d",
      "install -m 644 ca.pem /etc/recorder-agent",
      "printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/recorder-agent --log-level DEBUG\\n' " +
      "> /etc/systemd/system/recorder-agent.service.d/rig.conf",
      `RA_INGEST_TOKEN=${TOKEN} ./${program} install ${settings.join(" ")}`,
      "sync",
    ].join("\n"));
  }

  /** Adds these keys to the usual configuration and restarts the service. */
  async configure(keys: Readonly<Record<string, string | number>>): Promise<void> {
    const text = configText(keys);
    await this.#guest.run(
      `cat > /etc/recorder-agent/config.yaml <<'END'\n${text}END\nsystemctl restart ${UNIT}`,
    );
  }

  /** The same without a restart: the service reads the file again. */
  async reload(keys: Readonly<Record<string, string | number>>): Promise<void> {
    const text = configText(keys);
    await this.#guest.run(
      `cat > /etc/recorder-agent/config.yaml <<'END'\n${text}END\nsystemctl reload ${UNIT}`,
    );
  }

  /** The answer of /health, or null without an answer. */
  async health(): Promise<HealthReport | null> {
    return (await this.healthAt(0)).health;
  }

  /** The same after so many seconds of the guest, with the time of the request in seconds since boot. */
  async healthAt(pauseS: number): Promise<{ atS: number; health: HealthReport | null }> {
    const text = await this.#guest.try(
      `sleep ${pauseS}; cut -d" " -f1 /proc/uptime; curl -s -m 5 http://127.0.0.1:8042/health`,
    );
    const [uptime = "", report = ""] = text.split(/\n(.*)/s);
    return { atS: Number(uptime), health: report === "" ? null : JSON.parse(report) };
  }

  async state(): Promise<ServiceState> {
    const text = await this.#guest.run(
      `systemctl show ${UNIT} -p MainPID -p NRestarts -p ActiveState -p Result`,
    );
    const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(text)?.[1] ?? "";
    return {
      pid: Number(value("MainPID")),
      restarts: Number(value("NRestarts")),
      active: value("ActiveState"),
      result: value("Result"),
    };
  }

  /** The sorted file names in a folder of the spool. */
  async list(folder: "recording" | "outbox" | "uploaded" | "rejected"): Promise<string[]> {
    const text = await this.#guest.run(`ls ${SPOOL}/${folder}`);
    return text.split("\n").filter((name) => name !== "");
  }

  /** The processes named ffmpeg that are not children of the main process of the service. */
  async orphans(mainPid: number): Promise<string[]> {
    const text = await this.#guest.try("ps -C ffmpeg -o pid=,ppid=,stat=");
    return text.split("\n").filter((line) => {
      const [pid, parent] = line.trim().split(/ +/);
      return pid !== undefined && pid !== "" && Number(parent) !== mainPid;
    });
  }
}

function configText(keys: Readonly<Record<string, string | number>>): string {
  return Object.entries({ ...CONFIG, ...keys })
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join("");
}

/** The faults in the two sums that the ledger promises; empty if both balance. */
export function ledgerFaults({ ledger }: HealthReport): string[] {
  const asked = ledger.scheduled_s - ledger.recorded_s - ledger.gaps_s - ledger.open_s;
  const kept = ledger.recorded_s + ledger.adjusted_s + ledger.carried_over_s - ledger.delivered_s -
    ledger.waiting_s - ledger.refused_s - ledger.lost_s - ledger.unaccounted_s;
  const faults: string[] = [];
  if (Math.abs(asked) > 1e-3) {
    faults.push(`${asked.toFixed(6)} s were scheduled and are not accounted for`);
  }
  if (Math.abs(kept) > 1e-3) {
    faults.push(`${kept.toFixed(6)} s were recorded and are not accounted for`);
  }
  if (ledger.unaccounted_s !== 0) faults.push(`unaccounted_s is ${ledger.unaccounted_s}`);
  return faults;
}
