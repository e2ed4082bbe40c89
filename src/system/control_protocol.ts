// What a command says to the running service over its control socket, and the answer: one JSON object in one
// line each way. Pure: it neither opens nor reads a socket.

import { MAX_TEXT, objectInJson, printable } from "./printable.ts";

/** The name of the socket, in the runtime folder of the service or, without one, in its spool. */
export const CONTROL_SOCKET = "control.sock";
/** A request or an answer is not longer, bytes. */
export const MAX_CONTROL_BYTES = 4096;
/** How long a request or an answer may take. */
export const CONTROL_LIMIT_MS = 5000;

/** How long a pause may be. */
export const MIN_PAUSE_S = 10;
export const MAX_PAUSE_S = 12 * 3600;

export type ControlRequest =
  | { readonly command: "pause"; readonly seconds: number }
  | { readonly command: "resume" };

export interface ControlAnswer {
  readonly ok: boolean;
  /** For a person. */
  readonly message: string;
}

/** The request in a line, or why it is not valid. */
export function parseRequest(line: string): ControlRequest | { readonly refused: string } {
  const value = objectInJson(line);
  if (value?.command === "resume") return { command: "resume" };
  if (value?.command !== "pause") return { refused: "expected the command pause or resume" };
  const seconds = value.seconds;
  const isGood = typeof seconds === "number" && seconds >= MIN_PAUSE_S && seconds <= MAX_PAUSE_S;
  if (isGood) return { command: "pause", seconds };
  return { refused: `expected seconds from ${MIN_PAUSE_S} to ${MAX_PAUSE_S}` };
}

/** The answer in a line, with foreign text made printable; null if it is not valid. */
export function parseAnswer(line: string): ControlAnswer | null {
  const value = objectInJson(line);
  if (typeof value?.ok !== "boolean" || typeof value.message !== "string") return null;
  return { ok: value.ok, message: printable(value.message, MAX_TEXT) };
}

/** A line. */
export function encodeControl(value: ControlRequest | ControlAnswer): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}
