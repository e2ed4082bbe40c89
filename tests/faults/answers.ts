// Random answers of servers and networks: every kind that the delivery has to survive.

import type { Behaviour } from "../fixtures/ingest_server.ts";

type Draw = () => Behaviour;

const status = (
  status: number,
  headers: Record<string, string> = {},
  body?: string,
): Behaviour => ({
  kind: "status",
  status,
  headers,
  ...(body === undefined ? {} : { body }),
});

/** By the name that the count uses. */
const ANSWERS: Readonly<Record<string, Draw>> = {
  "400": () => status(400),
  "415": () => status(415),
  "429": () => status(429),
  "500": () => status(500),
  "503": () => status(503),
  "502": () => status(502, {}, "<html>Bad Gateway</html>"),
  "503, Retry-After in seconds": () => status(503, { "retry-after": "120" }),
  "429, Retry-After in seconds": () => status(429, { "retry-after": "2" }),
  "429, Retry-After as a date": () =>
    status(429, {
      "date": new Date(1.7e12).toUTCString(),
      "retry-after": new Date(1.7e12 + 30_000).toUTCString(),
    }),
  "401": () => status(401),
  "403": () => status(403),
  "404": () => status(404),
  "409 without chunk_id": () => status(409),
  "409 with chunk_id": () => ({ kind: "conflict" }),
  "413": () => status(413),
  "422": () => status(422),
  "redirect": () => ({ kind: "redirect", location: "http://127.0.0.1:9/elsewhere" }),
  "captive portal": () => ({ kind: "html200" }),
  "broken JSON": () => ({ kind: "broken-json" }),
  "reset before the body": () => ({ kind: "reset-before-body" }),
  "reset after the body": () => ({ kind: "reset-after-body" }),
  "accepted, answer lost": () => ({ kind: "accept-then-reset" }),
};

/** Each of these takes the time of a whole attempt. */
const SLOW_ANSWERS: Readonly<Record<string, Draw>> = {
  "silence": () => ({ kind: "silence" }),
  "a byte per second": () => ({ kind: "drip", bytesPerSecond: 1 }),
};

/** A chunk that gets one of these, while others are accepted, is refused finally. */
const REFUSALS = ["400", "413", "415", "422"];

export interface Answer {
  readonly name: string;
  readonly behaviour: Behaviour;
}

/** @param refusals the probability that the answer is a refusal. */
export function drawAnswer(
  random: () => number,
  options: { slow?: boolean; refusals?: number } = {},
): Answer {
  const { slow = false, refusals = 0.2 } = options;
  const answers = slow ? SLOW_ANSWERS : ANSWERS;
  const names = !slow && random() < refusals ? REFUSALS : Object.keys(answers);
  const name = names[Math.floor(random() * names.length)] ?? "500";
  return { name, behaviour: answers[name]?.() ?? status(500) };
}
