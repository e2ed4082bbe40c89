// Counts exactly which programs a process starts: strace(1) follows it, stops it only at execve(2)
// (--seccomp-bpf) and writes a line for each program. The module does not know what the programs are for.

import { run } from "../../tests/fixtures/command.ts";

/** How often each program was started, by file name. */
export type Children = ReadonlyMap<string, number>;

/**
 * The prefix of a command line whose children are to be written to `file`. The command keeps its process
 * id, its parent and its descriptors, because strace runs as a grandchild (-D).
 */
export function traced(file: string): string[] {
  return [
    ...["strace", "-D", "-f", "--seccomp-bpf", "-e", "trace=execve", "-e", "signal=none"],
    ...["-o", file],
  ];
}

/** @throws if strace is not installed. */
export async function requireStrace(): Promise<void> {
  try {
    await run("strace", ["-V"]);
  } catch (error) {
    throw new Error(
      "Cannot count children as strace is not installed: apt-get install strace, " +
        "or pass --untraced to measure without",
      { cause: error },
    );
  }
}

/**
 * The children in the output of `strace -f -e trace=execve`, without `pid` itself. A process counts once,
 * under the last program that it executed (setpriv executes ffmpeg).
 */
export function childrenIn(trace: string, pid: number): Children {
  const ended = new Map<string, number>();
  const running = new Map<string, string>();
  const called = new Map<string, string>();
  const end = (child: string) => {
    const program = running.get(child);
    if (program !== undefined) ended.set(program, (ended.get(program) ?? 0) + 1);
    running.delete(child);
  };
  for (const line of trace.split("\n")) {
    const [, child = "", event = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (child === "" || child === String(pid)) continue;
    if (event.startsWith("+++")) end(child);
    const [, path] = /^execve\("([^"]*)"/.exec(event) ?? [];
    if (path !== undefined) called.set(child, path.slice(path.lastIndexOf("/") + 1));
    if (/^(execve\(|<\.\.\. execve resumed>).* = 0$/.test(event)) {
      running.set(child, called.get(child) ?? "?");
    }
  }
  for (const child of [...running.keys()]) end(child);
  return ended;
}

/** How often each program was started since `before`. */
export function since(before: Children, now: Children): Children {
  return new Map(
    [...now].map(([program, count]) => [program, count - (before.get(program) ?? 0)] as const)
      .filter(([, count]) => count > 0),
  );
}

export function total(children: Children): number {
  return [...children.values()].reduce((sum, count) => sum + count, 0);
}
