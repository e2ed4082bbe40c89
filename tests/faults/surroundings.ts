// The servers and the folder that schedules share. They hold nothing of a schedule but for its time.

import { temporaryCertificates } from "../fixtures/certificates.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { TOKEN } from "../fixtures/upload_rig.ts";

/** What is outside of the schedule's folder, made once for all schedules of a process. */
export interface Surroundings {
  readonly server: IngestServer;
  /** An Ingest API whose certificate nobody trusts. */
  readonly untrusted: IngestServer;
  /** For the schedules' folders. */
  readonly dir: string;
}

/** Starts both servers. Two runs at the same time do not meet. */
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
