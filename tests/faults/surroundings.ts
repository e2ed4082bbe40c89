// The servers and the folder that schedules share. They keep no state after a schedule ends.

import { temporaryCertificates } from "../fixtures/certificates.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { TOKEN } from "../fixtures/upload_rig.ts";

/** Everything outside the folder of a schedule, created once for all schedules of a process. */
export interface Surroundings {
  readonly server: IngestServer;
  /** An Ingest API with an untrusted certificate. */
  readonly untrusted: IngestServer;
  /** The parent of the folders of the schedules. */
  readonly dir: string;
}

/** Starts both servers. Concurrent runs do not interfere. */
export async function surroundings(): Promise<Surroundings & AsyncDisposable> {
  await using release = new AsyncDisposableStack();
  const certificates = release.use(await temporaryCertificates());
  const server = release.use(await IngestServer.start({ token: TOKEN }));
  const untrusted = release.use(await IngestServer.start({ token: TOKEN, tls: certificates }));
  const dir = await Deno.makeTempDir({ prefix: "recorder-agent-faults-" });
  release.defer(() => Deno.remove(dir, { recursive: true }));
  const kept = release.move();
  return { server, untrusted, dir, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
