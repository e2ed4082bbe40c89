// What a folder is to `install` and `uninstall`: a spool, a folder that may become one, or somebody else's.
// A spool is recognized by its contents, never by its name. It only looks; it changes nothing.

import { join } from "@std/path/join";
import { quote } from "../config/config_values.ts";
import { exists } from "../system/disk.ts";

/** The folders of a spool. */
const SPOOL_FOLDERS = ["recording", "outbox", "uploaded", "rejected"];
/** Files of this program in spool_dir that are replaced: a power cut leaves NAME.tmp. */
const REPLACED =
  "gaps.jsonl microphone.json channels.json mixer.json pause.json last_deleted boot_time.json"
    .split(" ");
/** The entries of this program in spool_dir. Other files there are never removed. */
export const SPOOL_ENTRIES: readonly string[] = [
  ...SPOOL_FOLDERS,
  ...["lock", "alsa.conf", "control.sock"],
  ...["channels.sock", "levels.sock", "raw.sock", "sound.sock"],
  ...REPLACED.flatMap((name) => [name, `${name}.tmp`]),
];
/** What `check` leaves there if it is killed. */
const TRIAL = /^\.check-\d+$/;
/** What the file system itself puts into the root of an empty disk. */
const OF_THE_DISK = ["lost+found"];

/** Folders of the system that are never a spool, nor anything in them. */
const SYSTEM_FOLDERS = [
  ...["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run"],
  ...["/sbin", "/sys", "/usr", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd"],
  "/var/spool/cron",
];
/** Folders that the sandbox of the unit hides or replaces: ProtectHome=, PrivateTmp=. */
const HIDDEN_FOLDERS = ["/home", "/root", "/tmp", "/var/tmp"];
/** Folders that have other folders in them, for many purposes. */
const SHARED_FOLDERS = [
  ...["/", "/home", "/media", "/mnt", "/opt", "/srv", "/var", "/var/backups", "/var/cache"],
  ...["/var/lib", "/var/local", "/var/log", "/var/mail", "/var/opt", "/var/spool"],
];

const ACCEPTED =
  "choose a new or empty folder of its own, such as /srv/recorder-agent, or a spool " +
  "of this program";

/** Whether this is the name of a file that `check` writes for a moment. */
export function isTrial(name: string): boolean {
  return TRIAL.test(name);
}

/**
 * Why the service must not use this folder as its spool, or null. Only a folder that is new, empty or a spool
 * already is taken over: it then belongs to the service alone.
 * @param path in the system, free of links and "..".
 * @param target the same on this machine.
 * @param user number of the service's user; null: there is none yet.
 */
export async function refuseSpool(
  path: string,
  target: string,
  user: number | null,
): Promise<string | null> {
  const isIn = (dir: string) => path === dir || path.startsWith(`${dir}/`);
  if (path === "/" || SYSTEM_FOLDERS.some(isIn)) {
    return `it must not be a folder of the system: ${ACCEPTED}`;
  }
  if (HIDDEN_FOLDERS.some(isIn)) {
    return `it must be a folder that the service can see, and it sees none there: ${ACCEPTED}`;
  }
  const found = await lookAt(target);
  if (found.kind === "spool") return null;
  if (SHARED_FOLDERS.includes(path)) {
    return `it must not be a folder of many programs: ${ACCEPTED}`;
  }
  if (found.kind === "not a folder") return `it must be a folder, and is not: ${ACCEPTED}`;
  // Many programs have one for what they do not have at the moment: jobs, tables, crashes.
  const isEmpty = found.kind === "folder" && found.foreign.length === 0;
  if (isEmpty && isIn("/var") && !await isOwn(target, user)) {
    return `it must not be an empty folder below /var, which may be that of another program: ${ACCEPTED}`;
  }
  if (found.foreign.every((name) => OF_THE_DISK.includes(name))) return null;
  return `it must not have files of others, and has ${named(found.foreign)}: ${ACCEPTED}`;
}

/** Whether an empty folder belongs to this user, or a file system of its own begins there. */
async function isOwn(target: string, user: number | null): Promise<boolean> {
  const [{ uid, dev }, above] = await Promise.all([
    Deno.stat(target),
    Deno.stat(join(target, "..")),
  ]);
  return uid === user || dev !== above.dev;
}

/** What is at a path of this machine. */
export interface Found {
  readonly kind: "nothing" | "not a folder" | "spool" | "folder";
  /** Names of the entries that are not of this program; in a folder that is not a spool, of all. */
  readonly foreign: readonly string[];
}

/** A spool has all folders of one, or some of them and nothing else; a link is not a folder. */
export async function lookAt(target: string): Promise<Found> {
  if (!await exists(target)) return { kind: "nothing", foreign: [] };
  if (!(await Deno.lstat(target)).isDirectory) return { kind: "not a folder", foreign: [] };
  const entries = await Array.fromAsync(Deno.readDir(target));
  const names = entries.map(({ name }) => name).sort();
  const foreign = names.filter((name) => !SPOOL_ENTRIES.includes(name) && !isTrial(name));
  const folders = entries.filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
  const own = SPOOL_FOLDERS.filter((name) => folders.includes(name));
  const isAlone = foreign.every((name) => OF_THE_DISK.includes(name));
  const isSpool = own.length === SPOOL_FOLDERS.length || (own.length > 0 && isAlone);
  if (isSpool) return { kind: "spool", foreign };
  // A file named "lock" alone may be anybody's.
  return { kind: "folder", foreign: names };
}

/** A few of many names. */
function named(names: readonly string[]): string {
  const more = names.length - 3;
  return names.slice(0, 3).map(quote).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
