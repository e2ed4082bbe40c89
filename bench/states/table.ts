// All states of the program, one entry each. A new state is a new entry.

import type { AgentProcess } from "../../tests/fixtures/agent_process.ts";
import { PulseMicrophone } from "../../tests/fixtures/pulse_microphone.ts";
import { rawServer } from "../../tests/fixtures/tcp_server.ts";
import { makeBacklog } from "../backlog.ts";
import type { Scene, State } from "./scene.ts";
import { askEverything, passed, watchEvents } from "./watchers.ts";

/** The number of chunks of 5 s in `max_spool_days`. */
const BACKLOG = 110_000;
/** A week of chunks of 60 s. */
const WEEK = 10_080;
const REPLUG_MS = 20_000;
const HOUR_MS = 3_600_000;

export const STATES: readonly State[] = [
  {
    name: "recording",
    words: "recording and delivering",
    records: true,
    set: async (scene) => scene.recording(await scene.server()),
  },
  {
    name: "week",
    words: `recording and delivering, ${WEEK.toLocaleString("en")} delivered chunks are kept`,
    records: true,
    set: async (scene) => {
      makeBacklog(scene.spoolDir, WEEK, { dir: "uploaded", apartMs: 60_000 });
      return scene.recording(await scene.server());
    },
  },
  {
    name: "heartbeat",
    words: "recording and delivering, with a heartbeat every minute",
    records: true,
    set: async (scene) =>
      scene.recording({ ...await scene.server(), ...reporting("heartbeat_url", scene) }),
  },
  {
    name: "otlp",
    words: "recording and delivering, the metrics are pushed every minute",
    records: true,
    set: async (scene) =>
      scene.recording({ ...await scene.server(), ...reporting("otlp_endpoint", scene) }),
  },
  {
    name: "no-microphone",
    words: "no microphone, the server works",
    records: false,
    set: async (scene) => ({ config: await scene.server() }),
  },
  {
    name: "no-server",
    words: "recording, no server (connection refused)",
    records: true,
    set: (scene) => scene.recording({}),
  },
  {
    name: "neither",
    words: "neither microphone nor server",
    records: false,
    set: () => ({ config: {} }),
  },
  {
    name: "silent-server",
    words: "recording, the server accepts connections and never answers",
    records: true,
    set: (scene) => {
      const server = rawServer(() => Promise.resolve());
      scene.resources.use(server);
      return scene.recording({ ingest_base_url: server.url });
    },
  },
  {
    name: "off-schedule",
    words: "outside the schedule",
    records: false,
    set: async (scene) => ({ config: { ...await scene.server(), ...offSchedule() } }),
  },
  {
    name: "backlog",
    words: `${BACKLOG.toLocaleString("en")} chunks wait, no server, outside the schedule`,
    records: false,
    set: (scene) => {
      makeBacklog(scene.spoolDir, BACKLOG);
      return { config: offSchedule() };
    },
  },
  {
    name: "503",
    words: "recording, the server answers 503",
    records: true,
    set: async (scene) => scene.recording(await scene.server({ kind: "status", status: 503 })),
  },
  {
    name: "401",
    words: "recording, the server answers 401",
    records: true,
    set: async (scene) => scene.recording(await scene.server({ kind: "status", status: 401 })),
  },
  {
    name: "redirect",
    words: "recording, the server redirects",
    records: true,
    set: async (scene) =>
      scene.recording(await scene.server({ kind: "redirect", location: "https://127.0.0.1:9/" })),
  },
  {
    name: "log-not-read",
    words: "recording and delivering, nobody reads the log (DEBUG)",
    records: true,
    set: async (scene) => ({
      ...scene.recording(await scene.server()),
      logLevel: "DEBUG",
      readsLog: false,
    }),
  },
  {
    name: "page-open",
    words: "recording and delivering, the page is open and everything requested once a second",
    records: true,
    set: async (scene) => ({
      ...scene.recording(await scene.server()),
      live: async (agent, signal) => {
        await Promise.all([watchEvents(agent, signal), askEverything(agent, signal)]);
      },
    }),
  },
  {
    name: "replugged",
    words: "the microphone is unplugged or replugged every 20 s, delivering",
    records: true,
    startsPrograms: true,
    set: async (scene) => await replugged(scene),
  },
  {
    name: "cannot-open",
    words: "the named PCM cannot be opened, the server works",
    records: false,
    startsPrograms: true,
    set: async (scene) => ({ config: { ...await scene.server(), audio_device: "no_such_pcm" } }),
  },
];

/** @throws if a name is not that of a state. */
export function findStates(names: readonly string[]): State[] {
  return names.map((name) => {
    const state = STATES.find((state) => state.name === name);
    if (state !== undefined) return state;
    const known = STATES.map(({ name }) => name).join(", ");
    throw new Error(`Cannot run state "${name}" as there is none: ${known}`);
  });
}

/** The keys that report to a monitor, which accepts everything. */
function reporting(key: "heartbeat_url" | "otlp_endpoint", { resources }: Scene) {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      await request.bytes();
      return new Response();
    },
  );
  resources.use(server);
  return { [key]: `http://127.0.0.1:${server.addr.port}/monitor` };
}

/** A schedule that begins in twelve hours. */
function offSchedule(): Record<string, string> {
  const later = (hours: number) =>
    new Date(Date.now() + hours * HOUR_MS).toTimeString().slice(0, 5);
  return { schedule_start: later(12), schedule_end: later(13) };
}

async function replugged(scene: Scene) {
  const microphone = scene.resources.use(await PulseMicrophone.start());
  return {
    ...scene.recording(await scene.server(), microphone),
    live: async (_: AgentProcess, signal: AbortSignal) => {
      for (let isIn = true; await passed(REPLUG_MS, signal); isIn = !isIn) {
        await (isIn ? microphone.unplug() : microphone.replug());
      }
    },
  };
}
