// Reads from /proc what another process uses: its memory, its descriptors, its children. It starts and ends
// no process.

const TICKS_PER_S = 100; // CLK_TCK of every Linux that Deno runs on

/** What a process uses now; memory in KiB. */
export interface Footprint {
  readonly rssKb: number;
  /** Memory that is not mapped from files: other processes do not change it. */
  readonly anonymousKb: number;
  /** Private memory plus the proportional share of shared memory (proc(5), smaps_rollup). */
  readonly pssKb: number;
  /** What would be freed if the process ended: Private_Clean and Private_Dirty. */
  readonly privateKb: number;
  readonly descriptors: number;
  readonly threads: number;
}

/** @throws {Deno.errors.NotFound} if the process has ended. */
export async function footprintOf(pid: number): Promise<Footprint> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const rollup = await Deno.readTextFile(`/proc/${pid}/smaps_rollup`);
  return {
    rssKb: field(rollup, "Rss"),
    anonymousKb: field(rollup, "Anonymous"),
    pssKb: field(rollup, "Pss"),
    privateKb: field(rollup, "Private_Clean") + field(rollup, "Private_Dirty"),
    descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)].length,
    threads: field(status, "Threads"),
  };
}

/** The peak memory of a process, KiB (VmHWM). */
export function peakRssKb(pid: number): number {
  return field(Deno.readTextFileSync(`/proc/${pid}/status`), "VmHWM");
}

/** Calls of write(2) and similar since the start; their bytes, and how many reached the block layer. */
export function writtenBytes(pid: number): { calls: number; asked: number; toDisk: number } {
  const io = Deno.readTextFileSync(`/proc/${pid}/io`);
  return { calls: field(io, "syscw"), asked: field(io, "wchar"), toDisk: field(io, "write_bytes") };
}

/** Processor time of all threads since the start of the process, seconds. */
export function cpuSeconds(pid: number): number {
  // proc(5): after the name in parentheses, utime is the 12th field and stime the 13th.
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** The running children of a process that have this name. */
export function childrenOf(pid: number, name: string): number[] {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
  return children.split(" ").filter((child) => child !== "" && isRunning(child, name)).map(Number);
}

/** The processes whose command line contains the text. */
export function processesWith(text: string): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => name).filter((name) => {
    try {
      return /^\d+$/.test(name) && Deno.readTextFileSync(`/proc/${name}/cmdline`).includes(text);
    } catch {
      return false; // the process has just ended
    }
  }).map(Number);
}

function isRunning(pid: string, name: string): boolean {
  try {
    const [, found, state] =
      /^\d+ \((.*)\) (\w)/.exec(Deno.readTextFileSync(`/proc/${pid}/stat`)) ??
        [];
    return found === name && state !== "Z" && state !== "X";
  } catch {
    return false;
  }
}

function field(text: string, key: string): number {
  return Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(text)?.[1]);
}
