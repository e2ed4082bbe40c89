// Whether a file that a person has named is there, and why it could not be read, in the words of the messages.

import { readNamedText, readNamedTextSync, TooLargeError } from "../system/disk.ts";
import { quote } from "./config_values.ts";

/** Reads a text file; throws as `Deno.readTextFileSync` does. */
export type ReadTextFile = (path: string) => string;

const FORBIDDEN = "may not be read by this user";

/** Whether this problem of a configuration is that a file needs another user. */
export function isForbidden(problem: string): boolean {
  return problem.includes(FORBIDDEN);
}

/** Why a file could not be read, to follow its name. */
export function fileFailure(error: unknown): string {
  if (error instanceof TooLargeError) return "is too large for such a file";
  if (error instanceof Deno.errors.NotFound) return "does not exist";
  if (error instanceof Deno.errors.IsADirectory) return "is a directory";
  if (error instanceof Deno.errors.PermissionDenied) return FORBIDDEN;
  if (error instanceof Deno.errors.NotCapable) return "may not be read with Deno's permissions";
  return `cannot be read (${error instanceof Error ? error.name : "unknown error"})`;
}

/**
 * The text of a file that a key names, as it is now.
 * @param intro of the message; the path follows. @param refuse what is wrong with the text, or null.
 * @throws Error that names the file and what is wrong with it.
 */
export async function readKeyFile(
  intro: string,
  path: string,
  refuse: (content: string) => string | null,
): Promise<string> {
  const refused = (reason: string) => new Error(`${intro} ${quote(path)} ${reason}`);
  const content = await readNamedText(path).catch((error) => {
    throw refused(fileFailure(error));
  });
  const refusal = refuse(content);
  if (refusal === null) return content;
  throw refused(refusal);
}

/** The text of a file that an option of the command line names. @throws Error that names both. */
export function readOptionFile(option: string, path: string): string {
  try {
    return readNamedTextSync(path);
  } catch (error) {
    throw new Error(`${option}: the file ${path} ${fileFailure(error)}`);
  }
}

/** Whether this user can see the file. */
export function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
