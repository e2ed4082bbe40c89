// The bucket of `receive --store s3://…`: reads its credentials, builds what keeps and lists chunks there, and
// tries it. Loaded only with --store.

import { readOptionFile } from "../config/file_failure.ts";
import { refuseDamagedCertificates } from "../config/pem.ts";
import { isReadable } from "../config/transport.ts";
import type { OverviewSource } from "../receive/overview.ts";
import { S3Failure } from "../receive/s3_answers.ts";
import { S3Client } from "../receive/s3_client.ts";
import { S3Overview } from "../receive/s3_overview.ts";
import { parseS3Access, parseS3Place, type S3Access } from "../receive/s3_settings.ts";
import { S3Store } from "../receive/s3_store.ts";
import type { Store } from "../receive/store.ts";
import { WatchedFile } from "../receive/watched_file.ts";
import { systemClock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { asUsage, UsageError } from "./command_line.ts";

/** Uploads in progress may hold this much memory together, or twice the largest one. */
const MEMORY_BYTES = 256e6;

export interface BucketOptions {
  /** s3://BUCKET or s3://BUCKET/PREFIX. */
  readonly store: string;
  readonly credentials: string | undefined;
  /** Certificates to trust beside the public ones: a PEM file. */
  readonly tlsCa: string | undefined;
  readonly maxBodyBytes: number;
  /** Environment variables that may name a proxy. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Bucket extends Disposable {
  readonly store: Store;
  readonly overview: OverviewSource;
}

/**
 * A bucket that was tried. A store that does not answer now is a warning: it may be back in a moment.
 * @throws {UsageError}; Error if the store refuses what it is asked.
 */
export async function openBucket(options: BucketOptions, log: Logger): Promise<Bucket> {
  const { store: address, credentials: path, tlsCa, maxBodyBytes, env } = options;
  const { bucket, prefix } = asUsage(() => parseS3Place(address));
  if (path === undefined) throw new UsageError("--store needs --s3-credentials FILE");
  const caCerts = tlsCa === undefined ? [] : [readCertificates(tlsCa)];
  const file = asUsage(() =>
    new WatchedFile<S3Access>({
      ...{ path, what: "the S3 credentials", parse: parseS3Access, clock: systemClock },
      onRead: () => log.info("The S3 credentials were read again."),
      onFailure: (error) => {
        const fields = repeating("s3 credentials", { error });
        log.error("The S3 credentials cannot be read: those from before stay in use.", fields);
      },
    })
  );
  if (isReadable(file.value.endpoint)) {
    log.warning("Sound crosses the network readable: give an endpoint_url with https://.");
  }
  const client = new S3Client({
    bucket,
    access: () => file.value,
    caCerts,
    env,
    clock: systemClock,
  });
  const store = new S3Store({
    ...{ client, prefix, memoryBytes: Math.max(MEMORY_BYTES, 2 * maxBodyBytes) },
    onReady: (hasConditionalWrites) => {
      const fields = { store: address, conditional_writes: hasConditionalWrites };
      log.info("The object store can be used.", fields);
    },
  });
  try {
    await store.tryOut();
  } catch (error) {
    if (!(error instanceof S3Failure) || error.kind !== "later") {
      client[Symbol.dispose]();
      throw new Error(`Cannot use ${address}: ${messageOf(error)}`);
    }
    const fields = { store: address, error: error.message };
    log.warning("The object store cannot be used yet: uploads are tried.", fields);
  }
  const overview = new S3Overview({
    ...{ client, prefix, clock: systemClock },
    onFailure: (error) => {
      const fields = repeating("overview", { error: messageOf(error) });
      log.error("The store cannot be listed.", fields);
    },
  });
  return { store, overview, [Symbol.dispose]: () => client[Symbol.dispose]() };
}

/** @throws {UsageError} */
function readCertificates(path: string): string {
  const text = asUsage(() => readOptionFile("--tls-ca", path));
  const reason = refuseDamagedCertificates(text);
  if (reason !== null) throw new UsageError(`--tls-ca: the file ${path} ${reason}`);
  return text;
}
