// Reads the state of the sound system: which cards and device nodes there are, and which process holds a
// device. It reads everything below /proc, /sys and /dev with `find` and `grep`, because Deno lets a
// program read those folders itself only with all permissions. It never opens a sound device.
// sound_listing.ts parses the text.

import type { Holder } from "../status/holders.ts";
import { outputOf } from "../system/child.ts";
import { printable } from "../system/printable.ts";
import {
  type CaptureDevice,
  parseSoundSystem,
  parseUsbSockets,
  serialPath,
  type SoundFiles,
  type SoundSystem,
} from "./sound_listing.ts";
import { PROGRAMS } from "../system/programs.ts";

/** Runs a program to its end. @returns the lines that it wrote. */
export type SoundPrograms = (program: string, args: readonly string[]) => Promise<string[]>;

export interface SoundOptions {
  /** Folder that stands for `/`, without a slash at its end; default "", the real one. */
  readonly root?: string;
  /** Runs `find` and `grep`. @default outputLines */
  readonly run?: SoundPrograms;
}

/** The unit of this program. */
const OWN_UNIT = "recorder-agent.service";

/** A process may give itself any name of 15 bytes; units have longer ones. */
const MAX_PROGRAM = 100;
/** Names of other characters could not be pasted into a command. */
const UNIT_NAME = /^[\w@.:\\-]+\.service$/;

/** Who may open a device node. */
export interface NodeAccess {
  /** For instance `/dev/snd/pcmC1D0c`. */
  readonly path: string;
  readonly group: string;
  /** Permission bits in octal, for instance `660`. */
  readonly mode: string;
}

/**
 * Reads the sound system once. A card that is added or removed meanwhile may be missing.
 * @throws {HangingError}
 */
export async function readSoundSystem(options: SoundOptions): Promise<SoundSystem> {
  const cards = ["-maxdepth", "1", "-name", "card*", "-printf", "%f %l\\n"];
  const links = await find(options, ["/sys/class/sound"], cards);
  const sockets = parseUsbSockets(links);
  const names = ["cards", "pcm", "usbid", "usbbus", "stream*"];
  const files = await readFiles(options, "", ["/proc/asound"], names);
  // The kernel blocks a reader of the serial number while the device is being reset: a faulty device must
  // not hide the others.
  const serials = await Promise.all(
    [...sockets.keys()].map((card) => readFiles(options, "", [serialPath(card)]).catch(() => null)),
  );
  const read = [files, ...serials.filter((some) => some !== null)];
  const system = parseSoundSystem(new Map(read.flatMap((some) => [...some])), sockets);
  return serials.includes(null) ? { ...system, isIncomplete: true } : system;
}

/**
 * One line per card and per node of a capture device, with its group and mode. A new line means that
 * something was plugged in, perhaps again, or became accessible. This takes one child process, 1.4 ms of
 * CPU on a PC.
 */
export async function readSoundNodes(options: SoundOptions): Promise<ReadonlySet<string>> {
  const lines = await find(options, ["/dev/snd", "/sys/class/sound"], [
    ...["-maxdepth", "1", "(", "-name", "pcmC*c", "-o", "-name", "card*", ")"],
    ...["-printf", "%f %i %g %m %l\\n"], // a new node has another inode
  ]);
  return new Set(lines);
}

/** Null if the node does not exist, or its group is hidden (PrivateUsers= of systemd). */
export async function readNodeAccess(
  { card, device }: CaptureDevice,
  options: SoundOptions,
): Promise<NodeAccess | null> {
  const path = nodePath(card, device);
  const [line] = await find(options, [path], ["-printf", "%g %m\\n"]);
  const [group, mode] = line?.split(" ") ?? [];
  if (group === undefined || mode === undefined || group === "nogroup") return null;
  return { path, group, mode };
}

/**
 * The programs that hold this device, or any capture device if it is null. ALSA tells every user which
 * thread opened a device; if it does not, the open files that this user may see are searched.
 */
export async function readHolders(
  device: CaptureDevice | null,
  options: SoundOptions,
): Promise<Holder[]> {
  const folder = device === null
    ? "/proc/asound"
    : `/proc/asound/card${device.card}/pcm${device.device}c`;
  const states = await readFiles(options, "^owner_pid", [folder], ["status"]);
  const threads = [...states].filter(([path]) => /\/pcm\d+c\/sub\d+\/status$/.test(path))
    .flatMap(([, lines]) => lines.map((line) => line.replace(/\D/g, "")));
  const opened = threads.length > 0 ? threads : await openersOf(device, options);
  return await nameProcesses(options, opened);
}

/** Process ids from the links in /proc/PID/fd; only root sees those of other users. */
async function openersOf(device: CaptureDevice | null, options: SoundOptions): Promise<string[]> {
  const node = device === null ? "/dev/snd/pcmC*c" : nodePath(device.card, device.device);
  const links = await find(options, ["/proc"], [
    ...["-maxdepth", "3", "-path", `${options.root ?? ""}/proc/[0-9]*/fd/*`],
    ...["-lname", node, "-printf", "%P\\n"],
  ]);
  return links.map((link) => link.slice(0, link.indexOf("/")));
}

/** The process of each thread, with its name; the thread itself if the process is hidden. */
async function nameProcesses(
  options: SoundOptions,
  threads: readonly string[],
): Promise<Holder[]> {
  if (threads.length === 0) return [];
  const statuses = await readFiles(options, "^Tgid:", threads.map((id) => `/proc/${id}/status`));
  const processOf = (id: string) =>
    statuses.get(`/proc/${id}/status`)?.[0]?.replace(/\D/g, "") ?? id;
  const pids = [...new Set(threads.map(processOf))];
  const files = pids.flatMap((pid) => [`/proc/${pid}/comm`, `/proc/${pid}/cgroup`]);
  const texts = await readFiles(options, "", files);
  return await Promise.all(pids.map(async (pid) => {
    const comm = texts.get(`/proc/${pid}/comm`)?.[0];
    const groups = texts.get(`/proc/${pid}/cgroup`) ?? await groupsOf(pid, options);
    const told = comm ?? groups[0]?.split("/").at(-1) ?? null;
    const program = told === null ? null : printable(told, MAX_PROGRAM);
    const isOwn = groups.some((group) => group.split("/").includes(OWN_UNIT));
    const service = isOwn ? null : serviceOf(groups);
    return {
      pid: Number(pid),
      program,
      ...(isOwn ? { isOwn } : {}),
      ...(service === null ? {} : { service }),
    };
  }));
}

/**
 * The control group of a thread, for instance `…/system.slice/pulseaudio.service`, in place of what a hidden
 * process does not say.
 */
async function groupsOf(thread: string, options: SoundOptions): Promise<string[]> {
  const { root = "", run = outputLines } = options;
  const [path] = await run(PROGRAMS.grep, [
    ...["-rslx", "--include=cgroup.threads", "--include=tasks"],
    ...["-e", thread, `${root}/sys/fs/cgroup`],
  ]);
  return path === undefined ? [] : [path.slice(0, path.lastIndexOf("/"))];
}

/** The innermost service in the path of a control group; `user@1000.service` runs those of a user. */
function serviceOf(groups: readonly string[]): NonNullable<Holder["service"]> | null {
  for (const group of groups) {
    const names = group.split("/").filter((name) => UNIT_NAME.test(name));
    const name = names.at(-1);
    if (name === undefined || name.startsWith("user@")) continue;
    return { name, isUsers: names.some((name) => name.startsWith("user@")) };
  }
  return null;
}

function nodePath(card: number, device: number): string {
  return `/dev/snd/pcmC${card}D${device}c`;
}

/** The lines that `find` writes about what passes these tests. */
function find(
  { root = "", run = outputLines }: SoundOptions,
  paths: readonly string[],
  tests: readonly string[],
): Promise<string[]> {
  return run(PROGRAMS.find, [...paths.map((path) => `${root}${path}`), ...tests]);
}

/**
 * The lines that match, by file. In a folder only files with these names are read, or all files if there
 * are no names.
 */
async function readFiles(
  { root = "", run = outputLines }: SoundOptions,
  pattern: string,
  paths: readonly string[],
  names: readonly string[] = [],
): Promise<SoundFiles> {
  const lines = await run(PROGRAMS.grep, [
    // Recursive, silent about missing files, all files as text, each line as path NUL line. -r does not
    // follow links below the given paths, so /proc/asound/<id> does not repeat /proc/asound/cardN.
    "-rsaHZ",
    ...names.map((name) => `--include=${name}`),
    ...["-e", pattern],
    ...paths.map((path) => `${root}${path}`),
  ]);
  const files = new Map<string, string[]>();
  for (const line of lines) {
    const [path, text] = line.split("\0", 2);
    if (path === undefined || text === undefined) continue;
    const key = path.slice(root.length);
    const texts = files.get(key);
    if (texts === undefined) files.set(key, [text]);
    else texts.push(text);
  }
  return files;
}

/** The lines that a program writes, whatever its exit code is: that a folder does not exist is an answer, too. */
export async function outputLines(command: string, args: readonly string[]): Promise<string[]> {
  const { stdout } = await outputOf(command, args, { env: { LC_ALL: "C" } });
  return stdout.split("\n").filter((line) => line !== "");
}
