// How long a process was at work or asleep. The time in which it waits for a processor, because others load
// the machine, does not count: so a limit means the same on every machine. It reads /proc (man 5 proc).

const SAMPLE_MS = 1000;
/** One of the kernel's ticks, ms. */
const TICK_MS = 10;

interface Sample {
  /** Processor time since the start, ms. */
  readonly cpuMs: number;
  /** Whether a thread runs, or waits for a processor or a disk. */
  readonly isReady: boolean;
}

/** The fields of a stat file from the state on: the name before it may hold anything. */
function statOf(path: string): string[] {
  const text = Deno.readTextFileSync(path);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function sampleOf(pid: number): Sample {
  const threads = [...Deno.readDirSync(`/proc/${pid}/task`)];
  const isReady = threads.some(({ name }) =>
    /^[RD]/.test(statOf(`/proc/${pid}/task/${name}/stat`)[0] ?? "")
  );
  const [user, system] = statOf(`/proc/${pid}/stat`).slice(11, 13);
  return { cpuMs: (Number(user) + Number(system)) * TICK_MS, isReady };
}

/** The active time between two samples, ms. */
export function activeMs(before: Sample, now: Sample, elapsedMs: number): number {
  return now.isReady ? now.cpuMs - before.cpuMs : elapsedMs;
}

/** Calls `onLimit` once when the process has been active for this long, ms, until it is disposed. */
export function limitActiveTime(pid: number, limitMs: number, onLimit: () => void): Disposable {
  let before: Sample = { cpuMs: 0, isReady: true };
  let usedMs = 0;
  const timer = setInterval(() => {
    let now: Sample;
    try {
      now = sampleOf(pid);
    } catch {
      return; // a thread or the process has ended meanwhile
    }
    usedMs += activeMs(before, now, SAMPLE_MS);
    before = now;
    if (usedMs < limitMs) return;
    clearInterval(timer);
    onLimit();
  }, SAMPLE_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
