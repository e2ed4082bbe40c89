// Clients of a running program: a browser with the page open, a monitoring system, a person. They judge
// nothing, and repeat a request that is not answered.

import { delay } from "@std/async/delay";
import type { AgentProcess } from "../../tests/fixtures/agent_process.ts";

const ASK_MS = 1000;

/** Keeps `/events` open like a browser: reads the stream, and requests it again when it ends. */
export async function watchEvents(agent: AgentProcess, signal: AbortSignal): Promise<void> {
  const url = await pageOf(agent);
  do {
    const answer = await fetch(`${url}/events`, { signal }).catch(() => null);
    try {
      for await (const _ of answer?.body ?? []) { /* reads everything */ }
    } catch { /* the stream was cut off, or the signal aborted */ }
  } while (await passed(ASK_MS, signal));
}

/** Requests everything that a monitoring system or a person requests, once a second. */
export async function askEverything(agent: AgentProcess, signal: AbortSignal): Promise<void> {
  const url = await pageOf(agent);
  do {
    for (const path of ["/health", "/", "/metrics"]) {
      const answer = await fetch(url + path, { signal }).catch(() => null);
      await answer?.bytes().catch(() => {});
    }
  } while (await passed(ASK_MS, signal));
}

async function pageOf(agent: AgentProcess): Promise<string> {
  const { port } = await agent.said("Health is at");
  return `http://127.0.0.1:${port}`;
}

/** Resolves to false if the signal aborts first. */
export function passed(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, { signal }).then(() => true, () => false);
}
