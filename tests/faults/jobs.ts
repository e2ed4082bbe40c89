// Runs many schedules, one after another or in several processes: a schedule spends much of its time
// waiting for timers and sockets.

import { join } from "@std/path/join";
import { Report } from "./report.ts";
import { runSchedule, ScheduleFailed } from "./schedule.ts";
import { surroundings } from "./surroundings.ts";

export interface Result {
  readonly report: Report;
  /** The trace, the violation, and the command that repeats the schedule; null if there was none. */
  readonly failure: string | null;
}

/**
 * Runs seed, seed + step, seed + 2 step … in this process, up to the first failure.
 * @param traceLines the number of trace lines of the failing schedule in the result.
 */
export async function runSeeds(
  { seed, seeds, step }: { seed: number; seeds: number; step: number },
  traceLines: number,
): Promise<Result> {
  const report = new Report();
  await using around = await surroundings();
  try {
    for (let index = 0; index < seeds; index++) {
      report.add(await runSchedule(seed + index * step, around));
    }
  } catch (error) {
    if (!(error instanceof ScheduleFailed)) throw error;
    const { cause, message, trace } = error;
    const lines = trace.slice(-Math.min(traceLines, trace.length));
    const stack = cause instanceof Error ? cause.stack ?? "" : "";
    const again = `Again: deno task test:faults --seed ${error.seed} --seeds 1`;
    return { report, failure: [...lines, stack, "", message, again].join("\n") };
  }
  return { report, failure: null };
}

/** Runs the seeds interleaved in `jobs` processes. Each process stops at its first failure. */
export async function runJobs(
  { seed, seeds, jobs }: { seed: number; seeds: number; jobs: number },
): Promise<Result> {
  const report = new Report();
  const failures: string[] = [];
  const run = async (job: number) => {
    const share = Math.ceil((seeds - job) / jobs);
    const options = { "--seed": seed + job, "--seeds": share, "--step": jobs, "--jobs": 1 };
    const script = join(import.meta.dirname ?? ".", "run.ts");
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", script, ...Object.entries(options).flat().map(String)],
    }).output();
    const [said, told] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (code !== 0) failures.push(told ?? "");
    const numbers = said?.trim().split("\n").at(-1) ?? "";
    if (numbers.startsWith("{")) report.merge(JSON.parse(numbers));
  };
  await Promise.all(Array.from({ length: jobs }, (_, job) => run(job)));
  return { report, failure: failures.length === 0 ? null : failures.join("\n\n") };
}
