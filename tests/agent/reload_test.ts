// Which settings are kept for a start with a wrong configuration, and in which order.

import { assertEquals } from "@std/assert";
import { Reload } from "../../src/agent/reload.ts";
import { Settings } from "../../src/agent/settings.ts";
import { type Config, ConfigError, loadConfig } from "../../src/config/config.ts";
import { Status } from "../../src/status/status.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { ids } from "../fixtures/chunks.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

function rig(keep: (config: Config) => Promise<void>) {
  const clock = new SimulatedClock(0);
  const status = new Status({ ...ids, version: "1" }, clock);
  const { log, lines } = capturedLog();
  const ofFile = { ...IDS, ingest_base_url: "https://ingest.example.com", ingest_token: "token" };
  const base = loadConfig({
    path: "config.yaml",
    env: {},
    readTextFile: () => Object.entries(ofFile).map(([k, v]) => `${k}: ${v}\n`).join(""),
  });
  let written: Config | null = base;
  const load = () => {
    if (written === null) throw new ConfigError(["it is wrong"]);
    return written;
  };
  const settings = new Settings(base);
  const reload = new Reload({ load, keep }, { settings, clock, status, log });
  return {
    reload,
    lines,
    /** As a person who edits the file and reloads. */
    apply: (gainDb: number | null) => {
      written = gainDb === null ? null : { ...base, gainDb };
      if (reload.reload()) void reload.keep();
    },
  };
}

Deno.test("settings that are reloaded before the service is ready are kept when it is", async () => {
  const kept: number[] = [];
  const { reload, apply } = rig(({ gainDb }) => Promise.resolve(void kept.push(gainDb)));
  apply(3);
  await reload.keep();
  assertEquals(kept, []);
  await reload.ready();
  await reload.ready();
  assertEquals(kept, [3], "once");
  apply(null);
  await reload.keep();
  assertEquals(kept, [3]);
});

Deno.test("a hundred reloads keep settings one after the other, the last ones last", async () => {
  const kept: number[] = [];
  let running = 0;
  const { reload, apply } = rig(async ({ gainDb }) => {
    assertEquals(++running, 1);
    await Promise.resolve();
    kept.push(gainDb);
    running--;
  });
  const ready = reload.ready();
  for (let at = 1; at <= 100; at++) apply(at % 20);
  apply(7);
  await ready;
  await reload.keep();
  assertEquals(kept.at(-1), 7);
});

Deno.test("a full disk costs a line, and the next reload tries again", async () => {
  let tries = 0;
  const { reload, lines, apply } = rig(() => {
    tries++;
    return Promise.reject(new Error("No space left on device"));
  });
  await reload.ready();
  await reload.keep();
  assertEquals(tries, 1);
  apply(1);
  await reload.keep();
  assertEquals(tries, 2);
  assertEquals(lines.filter(({ message }) => String(message).includes("cannot")).length, 2);
});
