// Says in words what went wrong. Pure.

/** The message of an error; whatever else was thrown, as text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
