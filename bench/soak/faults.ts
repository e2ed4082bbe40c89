// The faults of a soak: the server and the microphone fail for seconds and for minutes, and clients open the
// page or stop reading the log. Each fault begins and ends. The module does not judge how the program
// reacts.

import { delay } from "@std/async/delay";
import type { AgentProcess } from "../../tests/fixtures/agent_process.ts";
import type { Behaviour, IngestServer } from "../../tests/fixtures/ingest_server.ts";
import type { PulseMicrophone } from "../../tests/fixtures/pulse_microphone.ts";
import { childrenOf } from "../process.ts";
import { askEverything, watchEvents } from "../states/watchers.ts";

/** Shortest and longest, seconds. */
type Span = readonly [number, number];

const SECONDS: Span = [2, 40];
const MINUTES: Span = [60, 240];

export interface Fault {
  readonly name: string;
  /** Begins the fault. The returned function ends it, `seconds` later. */
  readonly strike: () => Promise<Undo> | Undo;
  readonly seconds: Span;
}

type Undo = () => Promise<void> | void;

/** Faults of one kind, one after the other. */
export interface Lane {
  readonly faults: readonly Fault[];
  /** Pause between two faults. */
  readonly pauseS: Span;
}

/** The parts that faults act on. */
export interface FaultRig {
  readonly agent: AgentProcess;
  readonly server: IngestServer;
  readonly microphone: PulseMicrophone;
  readonly sound: Sound;
}

/** The faults of a lane happen one after the other; the lanes run in parallel. */
export function lanesOf(rig: FaultRig): Lane[] {
  return [
    { faults: serverFaults(rig), pauseS: [5, 40] },
    // A microphone that returns is found within 64 s.
    { faults: microphoneFaults(rig), pauseS: [15, 120] },
    { faults: watchers(rig), pauseS: [10, 60] },
  ];
}

export interface AfflictOptions {
  readonly random: () => number;
  /** Ends the current fault, and starts no further one. */
  readonly calm: AbortSignal;
  readonly onFault: (name: string) => void;
}

/** Makes one fault after the other, with pauses, until `calm` aborts. */
export async function afflict({ faults, pauseS }: Lane, options: AfflictOptions): Promise<void> {
  const { random, calm, onFault } = options;
  const between = ([least, most]: Span) => 1000 * (least + (most - least) * random());
  const pause = (ms: number) => delay(ms, { signal: calm }).catch(() => {});
  while (true) {
    await pause(between(pauseS));
    const fault = faults[Math.floor(random() * faults.length)];
    if (calm.aborted || fault === undefined) return;
    onFault(fault.name);
    const undo = await fault.strike();
    await pause(between(fault.seconds));
    await undo();
  }
}

function serverFaults({ server }: FaultRig): Fault[] {
  const well = () => void (server.behaviour = { kind: "ok" });
  const behaving = (name: string, behaviour: Behaviour, seconds = SECONDS): Fault => ({
    name,
    seconds,
    strike: () => {
      server.behaviour = behaviour;
      return well;
    },
  });
  const away = (name: string, seconds: Span): Fault => ({
    name,
    seconds,
    strike: () => {
      server.goOffline();
      return () => goOnline(server);
    },
  });
  return [
    behaving("503", { kind: "status", status: 503 }),
    behaving("503 for minutes", { kind: "status", status: 503 }, MINUTES),
    behaving("401", { kind: "status", status: 401 }),
    behaving("429", { kind: "status", status: 429, headers: { "retry-after": "3" } }),
    behaving("redirect", { kind: "redirect", location: "https://127.0.0.1:9/" }),
    behaving("reset before the body", { kind: "reset-before-body" }),
    behaving("reset after the body", { kind: "reset-after-body" }),
    behaving("accepted, then reset", { kind: "accept-then-reset" }),
    behaving("silence", { kind: "silence" }),
    behaving("half an answer", { kind: "broken-json" }),
    {
      name: "frozen connections",
      seconds: [0, 1],
      strike: () => {
        server.freezeConnections();
        return () => {};
      },
    },
    away("refused connections", SECONDS),
    away("refused connections for minutes", MINUTES),
  ];
}

function microphoneFaults({ microphone, sound, agent }: FaultRig): Fault[] {
  const signal = (signal: Deno.Signal) => {
    const pids = childrenOf(agent.pid, "ffmpeg");
    for (const pid of pids) send(pid, signal);
    return pids;
  };
  const unplugged = (name: string, seconds: Span): Fault => ({
    name,
    seconds,
    strike: async () => {
      await microphone.unplug();
      await sound[Symbol.asyncDispose]();
      return async () => {
        await microphone.replug();
        sound.begin();
      };
    },
  });
  return [
    unplugged("unplugged", [1, 40]),
    unplugged("unplugged for minutes", MINUTES),
    {
      name: "suspended",
      seconds: [1, 25],
      strike: async () => {
        await microphone.suspend();
        return () => microphone.resume();
      },
    },
    {
      name: "ffmpeg killed",
      seconds: [0, 1],
      strike: () => {
        signal("SIGKILL");
        return () => {};
      },
    },
    {
      name: "ffmpeg stopped for 15 s",
      seconds: [15, 15],
      strike: () => {
        const pids = signal("SIGSTOP");
        return () => pids.forEach((pid) => send(pid, "SIGCONT"));
      },
    },
  ];
}

/** Clients that open the page, ask for everything, or stop reading the log. */
function watchers({ agent }: FaultRig): Fault[] {
  const watched = (name: string, watch: typeof watchEvents): Fault => ({
    name,
    seconds: [20, 180],
    strike: () => {
      const over = new AbortController();
      const watching = watch(agent, over.signal);
      return async () => {
        over.abort();
        await watching;
      };
    },
  });
  return [
    watched("page open", watchEvents),
    watched("everything requested once a second", askEverything),
    {
      name: "log not read",
      seconds: [20, 180],
      strike: async () => {
        await agent.stopReading();
        return () => agent.readOn();
      },
    },
  ];
}

/** The sound that the microphone records. The player ends with the microphone. */
export class Sound implements AsyncDisposable {
  #playing: AsyncDisposable | null = null;
  constructor(readonly microphone: PulseMicrophone, readonly wavFile: string) {}

  begin(): void {
    this.#playing = this.microphone.playLooped(this.wavFile);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#playing?.[Symbol.asyncDispose]();
    this.#playing = null;
  }
}

/** Retries, because another connection may use the port in the meantime. */
async function goOnline(server: IngestServer): Promise<void> {
  while (true) {
    try {
      return server.goOnline();
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      await delay(50);
    }
  }
}

function send(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch { /* the process has ended */ }
}
