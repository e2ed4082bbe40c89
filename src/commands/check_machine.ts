// The checks of the machine: the service's user, the spool, the clock, the unit, the power supply.

import { ifThere, readNamedText } from "../system/disk.ts";
import { statfs } from "node:fs/promises";
import { join } from "@std/path/join";
import { outputOf } from "../system/child.ts";
import type { Config } from "../config/config.ts";
import { valueOf } from "../config/key.ts";
import { KEY_TABLE } from "../config/keys.ts";
import { probeSystem } from "../system/clock_sync.ts";
import { problems } from "../status/problems.ts";
import { CHUNK_DIRS } from "../chunk/chunk_name.ts";
import { findOpenFolders } from "../spool/private_folders.ts";
import { BYTES_PER_GB } from "../spool/retention.ts";
import { asUser, ownerIn, ROOT, type User } from "../system/users.ts";
import { failed, type Finding, ok, skipped, skippedAll, warning } from "./finding.ts";
import { CONFIG_DIR, TOKEN, USER } from "./install_places.ts";
import { idOf } from "./install_files.ts";
import { runProgram } from "./install_steps.ts";
import { isForeignPort, readHealth, SERVICE } from "./service.ts";
import { messageOf } from "../system/error_text.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";
import { PROGRAMS } from "../system/programs.ts";

/** The service's user must be in the group that may open sound devices. */
export async function checkUser(unit: Unit | null, root = "/"): Promise<Finding[]> {
  const name = "user";
  if (!isInstalled(unit)) return skippedAll([name], "service");
  if (await idOf(root, "passwd", USER) === null) {
    return [failed(name, `there is no user ${USER}`, "sudo recorder-agent install creates it")];
  }
  const groups = await readNamedText(join(root, "/etc/group"));
  const audio = /^audio:[^:]*:\d+:(.*)$/m.exec(groups)?.[1]?.split(",") ?? [];
  return audio.includes(USER)
    ? [ok(name, `${USER} is in the group audio`)]
    : [failed(name, `${USER} is not in the group audio`, `sudo usermod -aG audio ${USER}`)];
}

/** What ProtectHome= and PrivateTmp= of the unit hide from the service. */
const HIDDEN = /^\/(home|root|run\/user|tmp|var\/tmp)\//;
/** Keys of files that the members of the group, who may read the configuration, must not read. */
const SECRETS: readonly string[] = ["ingest_token_file", "tls_client_key_file"];

/**
 * Root reads every file: this tries those that the configuration names as the user of the service, which only root can.
 * A file that the service cannot read fails.
 */
export async function checkFiles(config: Config, root = "/"): Promise<Finding[]> {
  const name = "files";
  const [uid, gid] = await Promise.all([idOf(root, "passwd", USER), idOf(root, "group", USER)]);
  if (Deno.uid() !== 0 || uid === null || gid === null) return [];
  const user: User = { uid, gid };
  const found: Finding[] = [];
  for (const [key, { kind }] of Object.entries(KEY_TABLE)) {
    const path = valueOf(config, key);
    if (kind.refuseContent === undefined || typeof path !== "string") continue;
    if (path === TOKEN) continue; // systemd hands it to the service
    const message = `the service cannot read ${path}, which ${key} names`;
    const isSecret = SECRETS.includes(key);
    const owner = isSecret ? `-o ${USER} -g root -m 400` : `-o root -g ${USER} -m 640`;
    const fix = `sudo install ${owner} ${path} ${CONFIG_DIR}/`;
    if (HIDDEN.test(path)) {
      const place = `Files there are hidden from it: ${fix}; then name that file in ${key}`;
      found.push(failed(name, message, place));
      continue;
    }
    try {
      const dd = [PROGRAMS.dd, `if=${path}`, "of=/dev/null", "count=1", "status=none"];
      await runProgram(asUser(user, dd));
    } catch {
      const rights = isSecret
        ? `sudo chown ${USER} ${path} && sudo chmod 400 ${path}`
        : `sudo chgrp ${USER} ${path} && sudo chmod g+r ${path}`;
      found.push(failed(name, message, `${rights}; look at its folders, too`));
    }
  }
  return found;
}

/** Whether the spool can be written, whether there is enough free space, and how many chunks were refused. */
export async function checkSpool(
  { spoolDir, minFreeGb }: Config,
  unit: Unit | null,
): Promise<Finding[]> {
  const name = "spool";
  const trial = await makeTrial(join(spoolDir, `.check-${Deno.pid}`));
  try {
    await trial.write();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      return !isInstalled(unit) ? skippedAll([name], "service") : [
        warning(name, `${spoolDir} does not exist yet`, "The service creates it when it starts"),
      ];
    }
    return [
      failed(
        name,
        `${spoolDir} cannot be written: ${messageOf(error)}`,
        `Check that it is a folder that ${USER} owns, on a disk that is not full or read-only (mount)`,
      ),
    ];
  } finally {
    await trial.remove().catch(() => {});
  }
  const { bavail, bsize } = await statfs(spoolDir);
  const freeGb = bavail * bsize / BYTES_PER_GB;
  const found = [ok(name, `${spoolDir} can be written, ${freeGb.toFixed(1)} GB are free`)];
  if (freeGb < minFreeGb) {
    found.push(
      warning(name, `less than min_free_gb (${minFreeGb}) is free`, "Free some space on that disk"),
    );
  }
  found.push(...await checkAccess(spoolDir, unit));
  const refused = await countChunks(join(spoolDir, "rejected"));
  if (refused > 0) {
    const { message, fix } = problems.chunksRejected(refused, join(spoolDir, "rejected"));
    found.push(warning(name, message, fix));
  }
  return found;
}

interface Trial {
  readonly write: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

/** A small file. It is the user of the spool who must be able to write it, so root lets that user do it. */
async function makeTrial(path: string): Promise<Trial> {
  const user = Deno.uid() === 0 ? await ownerOf(join(path, "..")) : ROOT;
  if (user.uid !== 0) {
    const dd = [PROGRAMS.dd, "if=/dev/zero", `of=${path}`, "bs=4096", "count=1", "status=none"];
    return {
      write: () => runProgram(asUser(user, [...dd, "conv=excl,fsync"])),
      remove: () => runProgram(asUser(user, [PROGRAMS.rm, "-f", "--", path])),
    };
  }
  return {
    async write() {
      using file = await Deno.open(path, { createNew: true, write: true });
      await file.write(new Uint8Array(4096));
      await file.sync();
    },
    remove: () => Deno.remove(path),
  };
}

/** Root if there is nothing: writing there says so. */
async function ownerOf(dir: string): Promise<User> {
  return await Deno.stat(dir).then(ownerIn, () => ROOT);
}

/** Whether only the user of the service can reach the recordings. */
async function checkAccess(spoolDir: string, unit: Unit | null): Promise<Finding[]> {
  const name = "spool";
  const found: Finding[] = [];
  for (const sub of ["recording", ...CHUNK_DIRS]) {
    const path = join(spoolDir, sub);
    const info = await Deno.lstat(path).catch(() => null);
    if (info === null || info.isDirectory) continue;
    const fix = `Replace it by a folder, with the files in it (ls -l ${spoolDir})`;
    found.push(failed(name, `${path} is not a folder`, fix));
  }
  const [open] = await findOpenFolders(spoolDir);
  if (open !== undefined && open.path === spoolDir) {
    const mode = open.mode.toString(8).padStart(4, "0");
    const message = `other users can reach the recordings: ${open.path} has the mode ${mode}`;
    found.push(
      warning(name, message, `sudo chmod 700 ${open.path}; a start of the service does it, too`),
    );
  }
  const user = unit?.LoadState === "loaded" ? await idOf("/", "passwd", USER) : null;
  const { uid } = await Deno.stat(spoolDir);
  if (user !== null && uid !== user) {
    const message = `${spoolDir} belongs to user ${uid}, not to ${USER}`;
    found.push(failed(name, message, `sudo chown -R ${USER}: ${spoolDir}`));
  }
  return found;
}

async function countChunks(dir: string): Promise<number> {
  const entries = await ifThere(Array.fromAsync(Deno.readDir(dir))) ?? [];
  return entries.filter(({ name }) => name.endsWith(".ogg")).length;
}

/** Without a synchronized clock chunks wait for their true time. */
export async function checkClock(): Promise<Finding[]> {
  const name = "clock";
  const synchronized = await probeSystem();
  if (synchronized === null) {
    return [
      warning(
        name,
        "whether it is synchronized is unknown: timedatectl gives no answer",
        "Check that systemd-timesyncd, chrony or ntpd is installed and running",
      ),
    ];
  }
  return synchronized ? [ok(name, "is synchronized")] : [
    failed(name, "is not synchronized", problems.clockNotSynchronized("").fix),
  ];
}

/** Whether the unit is installed, starts at boot and is active, and what /health of the service reports. */
export async function checkService(unit: Unit | null, config: Config | null): Promise<Finding[]> {
  const name = "service";
  if (unit === null) {
    return [warning(
      name,
      "this system was not started by systemd, so the service cannot be checked",
      "Let the supervisor of this system run recorder-agent -c FILE, and check it there",
    )];
  }
  if (!isInstalled(unit)) {
    return [
      failed(name, `the unit ${SERVICE} is not installed`, "sudo recorder-agent install"),
      ...skippedAll(["health"], name),
    ];
  }
  const found: Finding[] = [];
  if (unit.UnitFileState !== "enabled") {
    found.push(
      failed(name, "does not start at boot", `sudo systemctl enable ${SERVICE}`),
    );
  }
  const isStarting = unit.SubState === "start" && unit.NRestarts === "0";
  const isActive = !isStarting && unit.ActiveState === "active";
  if (isStarting) {
    const fix = "Wait and repeat the check: it reads all recordings when it starts";
    found.push(warning(name, "is starting", fix));
  } else if (isActive) {
    found.push(ok(name, `running since ${unit.ActiveEnterTimestamp}: ${unit.StatusText}`));
  } else {
    const state = `is ${unit.ActiveState} (${unit.SubState}) after ${unit.NRestarts} restarts`;
    const fix =
      `sudo systemctl restart ${SERVICE}; journalctl -u ${SERVICE} -n 20 shows why it ended`;
    found.push(failed(name, state, fix));
  }
  if (config === null) return [...found, ...skippedAll(["health"], "configuration")];
  return isActive
    ? [...found, await checkHealth(config, unit)]
    : [...found, ...skippedAll(["health"], name)];
}

async function checkHealth({ healthPort }: Config, { UID }: Unit): Promise<Finding> {
  const name = "health";
  const isForeign = await isForeignPort(healthPort, UID);
  const health = await readHealth(healthPort);
  if (isForeign && health !== null) {
    const message =
      `a program of another user answers on port ${healthPort} in place of the service`;
    return failed(name, message, `sudo ss -ltnp 'sport = ${healthPort}' names it; end it`);
  }
  if (health === null) {
    const message = `/health on port ${healthPort} does not answer`;
    return failed(name, message, "Check whether another program uses health_port (ss -ltnp)");
  }
  const problems: readonly unknown[] = Array.isArray(health.problems) ? health.problems : [];
  if (health.status === "ok" && problems.length === 0) return ok(name, "ok");
  const told = health.status === "error" ? failed : warning;
  const page = `http://127.0.0.1:${healthPort}/ on this machine says how to fix each`;
  return told(name, sayProblems(problems), page);
}

/** Another program may answer on the port. */
function sayProblems(problems: readonly unknown[]): string {
  return problems.slice(0, 20).map((problem) => {
    const { code, message } = Object(problem);
    return `${code}: ${message}`;
  }).join("\n") || "not ok";
}

/** What systemd reports about the service. */
export type Unit = Readonly<Record<string, string>>;

/** Null without systemd. */
export async function readUnit(): Promise<Unit | null> {
  const names =
    "LoadState,UnitFileState,ActiveState,SubState,NRestarts,UID,ActiveEnterTimestamp,StatusText";
  try {
    const { success, stdout } = await outputOf(PROGRAMS.systemctl, [
      "show",
      SERVICE,
      `--property=${names}`,
    ]);
    if (!success) return null;
    const lines = stdout.trim().split("\n");
    return Object.fromEntries(lines.map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at), printable(line.slice(at + 1), MAX_TEXT)];
    }));
  } catch {
    return null;
  }
}

/** Without systemd this is unknown: then no other finding is attributed to the service. */
function isInstalled(unit: Unit | null): boolean {
  return unit === null || unit.LoadState === "loaded";
}

/** Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"). */
const UNDER_VOLTAGE_NOW = 0x1;
const UNDER_VOLTAGE_SINCE_BOOT = 0x10000;

/** A weak power supply is the usual cause of microphones that disappear and of broken SD cards. */
export async function checkPower(): Promise<Finding[]> {
  const name = "power";
  let flags: number;
  try {
    const { stdout } = await outputOf(PROGRAMS.vcgencmd, ["get_throttled"]);
    flags = Number(/0x[0-9a-f]+/i.exec(stdout)?.[0] ?? NaN);
  } catch {
    return [skipped(name, "can be checked only on a Raspberry Pi (vcgencmd)")];
  }
  if (Number.isNaN(flags)) return [skipped(name, "vcgencmd reports no value")];
  const fix = "Use the official power supply and a short cable; a hub for the microphone helps";
  if (flags & UNDER_VOLTAGE_NOW) return [failed(name, "the voltage is too low now", fix)];
  if (flags & UNDER_VOLTAGE_SINCE_BOOT) {
    return [warning(name, "the voltage was too low at some time since the last boot", fix)];
  }
  return [ok(name, "the voltage is sufficient, and was since the last boot")];
}
