// The earlier releases, from the git history.

import { join } from "@std/path/join";
import { run } from "../fixtures/command.ts";
import type { Names } from "./stock.ts";

const SOURCE = new URL("../..", import.meta.url).pathname;

/** The commit of each release: the last one of 0.1.0, and that which made 0.2.0. */
export const RELEASES: Readonly<Record<string, string>> = {
  "0.1.0": "f5381e0^",
  "0.2.0": "f5381e0",
};

/** Puts the source of a release into a new folder. */
export async function unpackRelease(name: string, folder: string): Promise<void> {
  await Deno.mkdir(folder);
  await run("sh", ["-c", `git -C ${SOURCE} archive ${RELEASES[name]} | tar -x -C ${folder}`]);
}

/** What makes and reads names in the source in a folder. */
export async function namesOf(folder: string): Promise<Names> {
  return await import(`file://${join(folder, "src/chunk/chunk_name.ts")}`);
}
