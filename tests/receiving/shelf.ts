// Where receivers keep chunks, as those look at it who know what must be there: a folder, or a bucket.

import { join } from "@std/path/join";
import type { S3Client } from "../../src/receive/s3_client.ts";
import { filesBelow } from "../fixtures/receive_rig.ts";

export interface Shelf {
  /** Options of `receive`. */
  readonly args: readonly string[];
  /** Paths of all chunks, without what comes before the ids. */
  paths(): Promise<string[]>;
  read(path: string): Promise<Uint8Array>;
  /** Whether what was read once must be read again: a disk may lose what it held. */
  readonly isReadAgain: boolean;
  /** What is there beside chunks and should not be. */
  leftovers(): Promise<string[]>;
}

export function folderShelf(dir: string): Shelf {
  const files = () => Promise.resolve(filesBelow(dir));
  return {
    args: ["--dir", dir],
    paths: async () => (await files()).filter((path) => path.endsWith(".ogg")),
    read: (path) => Deno.readFile(join(dir, path)),
    isReadAgain: true,
    leftovers: async () =>
      (await files()).filter((path) => path.startsWith(".incoming/") && !path.endsWith("/lock")),
  };
}

export interface BucketShelfOptions {
  readonly client: S3Client;
  /** "" or a text that ends with a slash. */
  readonly prefix: string;
  /** The file for `--s3-credentials`. */
  readonly credentials: string;
}

export function bucketShelf({ client, prefix, credentials }: BucketShelfOptions): Shelf {
  const names = async () => {
    const found: string[] = [];
    for await (const page of client.list(prefix, "")) found.push(...page.names);
    return found.map((name) => name.slice(prefix.length));
  };
  return {
    args: ["--store", `s3://${client.bucket}/${prefix}`, "--s3-credentials", credentials],
    paths: async () => (await names()).filter((name) => name.endsWith(".ogg")),
    read: async (path) => await client.read(`${prefix}${path}`, 1e8) ?? new Uint8Array(0),
    isReadAgain: false,
    leftovers: async () =>
      (await names()).filter((name) => !name.endsWith(".ogg") && name !== ".receiver"),
  };
}
