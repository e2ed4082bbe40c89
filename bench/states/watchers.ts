// Those who look at a running program: a browser with the page open, a monitoring system, a person. They
// judge nothing, and a program that does not answer is asked again.

import { delay } from "@std/async/delay";
import type { AgentProcess } from "../../tests/fixtures/agent_process.ts";

const ASK_MS = 1000;

/** Keeps `/events` open, as a browser does: it reads all of it and asks again when it ends. */
export async function watchEvents(agent: AgentProcess, signal: AbortSignal): Promise<void> {
  const url = await pageOf(agent);
  do {
    const answer = await fetch(`${url}/events`, { signal }).catch(() => null);
    try {
      for await (const _ of answer?.body ?? []) { /* all of it is read */ }
    } catch { /* it was cut, or it is over */ }
  } while (await passed(ASK_MS, signal));
}

/** Asks for everything that a monitoring system or a person asks for, once a second. */
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

/** False if it was over before. */
export function passed(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, { signal }).then(() => true, () => false);
}
