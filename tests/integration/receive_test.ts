// The command `receive` as a process: killed while the agent delivers, over TLS, and what it does to the
// disk before it answers. `deno task test:receive` kills for longer.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { type ChunkName, formatChunkName } from "../../src/chunk/chunk_name.ts";
import { S3Client } from "../../src/receive/s3_client.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { systemClock } from "../../src/system/clock.ts";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { temporaryCertificates } from "../fixtures/certificates.ts";
import { makeChunk, makeName } from "../fixtures/chunks.ts";
import { fieldsOf, filesBelow } from "../fixtures/receive_rig.ts";
import { ReceiverProcess } from "../fixtures/receiver_process.ts";
import { BUCKET, S3Double } from "../fixtures/s3_double.ts";
import { SmallDisk } from "../fixtures/small_disk.ts";
import { runReceiverKills } from "../receiving/kills.ts";
import { bucketShelf } from "../receiving/shelf.ts";

const TOKEN = "the-token";

Deno.test("agent and receiver, both killed at random moments, lose no chunk, double none and tear none", async () => {
  const report = await runReceiverKills({ seed: 2026, kills: 3, chunks: 40 });
  assertEquals(report.faults, []);
  assertEquals(report.chunks, 160);
});

Deno.test("two receivers with one bucket, killed at random moments like the agent, lose and double no chunk", async () => {
  await using double = new S3Double();
  const credentials = await Deno.makeTempFile({ prefix: "s3-" });
  await Deno.writeTextFile(credentials, double.credentials);
  const access = parseS3Access(double.credentials);
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => access, caCerts: [], clock: systemClock },
  });
  const shelf = bucketShelf({ client, prefix: "shop/", credentials });
  const report = await runReceiverKills({ seed: 7, kills: 2, chunks: 40, receivers: 2, shelf });
  assertEquals(report.faults, []);
  assertEquals(report.chunks, 120);
  await Deno.remove(credentials);
});

/** Delivers a chunk by hand. */
async function deliver(
  url: string,
  name: ChunkName,
  bytes: Uint8Array<ArrayBuffer> = makeChunk(),
): Promise<Response> {
  const form = new FormData();
  for (const [field, value] of Object.entries(fieldsOf(name))) form.append(field, value);
  form.append("chunk_file", new Blob([bytes]), "x.ogg");
  return await fetch(`${url}/api/v1/chunks`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, "idempotency-key": name.key },
    body: form,
  });
}

Deno.test("when the answer is sent, the file, its name and its folders are on the disk", async () => {
  const root = await Deno.makeTempDir({ prefix: "receive-" });
  const trace = join(root, "trace");
  const calls = "trace=fsync,fdatasync,rename,renameat,renameat2,write,sendto,sendmsg,writev";
  await using receiver = await ReceiverProcess.start({ dir: join(root, "store"), token: TOKEN });
  const strace = new Deno.Command("strace", {
    args: ["-f", "-y", "-s", "200", "-o", trace, "-e", calls, "-p", String(receiver.pid)],
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  }).spawn();
  const said = strace.stderr.getReader();
  await said.read(); // it is attached
  const name = makeName();
  const answer = await deliver(await receiver.url, name);
  assertEquals(await answer.json(), { status: "ok", chunk_id: name.key });
  await receiver.end("SIGKILL");
  await strace.status;
  await said.cancel();
  const lines = (await Deno.readTextFile(trace)).split("\n");
  const file = formatChunkName(name);
  const at = (what: RegExp, from = 0) => {
    const index = lines.findIndex((line, index) => index >= from && what.test(line));
    assert(
      index >= 0,
      `${what} is not in the trace from line ${from}:\n${lines.slice(-30).join("\n")}`,
    );
    return index;
  };
  const day = `store/[0-9a-f-]+/[0-9a-f-]+/[0-9a-f-]+/\\d{4}-\\d\\d-\\d\\d`;
  const synced = at(/f(data)?sync\(\d+<[^>]*\.incoming\/[^>]*\.part>/);
  const parents = ["store", "store/[0-9a-f-]+", "store/[0-9a-f-]+/[0-9a-f-]+"]
    .map((parent) => at(new RegExp(`fsync\\(\\d+<[^>]*/${parent}>`)));
  const renamed = at(new RegExp(`rename.*\\.part.*${file}`), synced);
  const listed = at(new RegExp(`fsync\\(\\d+<[^>]*/${day}>`), renamed);
  const answered = at(/HTTP\/1\.1 200 OK/);
  assert(Math.max(renamed, listed, ...parents) < answered);
  await Deno.remove(root, { recursive: true });
});

Deno.test("over TLS, with a private CA, the agent delivers; SIGTERM ends the receiver with exit code 0", async () => {
  await using certificates = await temporaryCertificates();
  const root = await Deno.makeTempDir({ prefix: "receive-" });
  const [cert, key] = [join(root, "cert.pem"), join(root, "key.pem")];
  await Deno.writeTextFile(cert, certificates.certPem);
  await Deno.writeTextFile(key, certificates.keyPem);
  const [store, spool] = [join(root, "store"), join(root, "spool")];
  await using receiver = await ReceiverProcess.start({
    ...{ dir: store, token: TOKEN, args: ["--tls-cert", cert, "--tls-key", key] },
  });
  const url = await receiver.url;
  assertMatch(url, /^https:/);
  await Deno.mkdir(join(spool, "outbox"), { recursive: true });
  const [name, bytes] = [makeName(), makeChunk()];
  await Deno.writeFile(join(spool, "outbox", formatChunkName(name)), bytes);
  const hour = String((new Date().getUTCHours() + 12) % 24).padStart(2, "0");
  await using agent = await AgentProcess.start({
    dir: root,
    env: { TZ: "UTC" },
    config: {
      ...{ ingest_base_url: url, ingest_token: TOKEN, tls_ca_file: certificates.caFile },
      ...{ spool_dir: spool, schedule_start: `${hour}:00`, schedule_end: `${hour}:01` },
    },
  });
  await agent.said("Delivered.");
  const files = filesBelow(store).filter((path) => path.endsWith(".ogg"));
  assertEquals(files.map((path) => path.slice(path.lastIndexOf("/") + 1)), [formatChunkName(name)]);
  assertEquals(await Deno.readFile(join(store, files[0] ?? "")), bytes);
  assertEquals(await receiver.end("SIGTERM"), 0);
  assertEquals(receiver.lines.at(-1)?.message, "Stopped receiving.");
  await Deno.remove(root, { recursive: true });
});

Deno.test("more connections than the process has descriptors do not keep a till from delivering", async () => {
  const root = await Deno.makeTempDir({ prefix: "receive-" });
  const source = new URL("../../main.ts", import.meta.url).pathname;
  const deno = [Deno.execPath(), "run", "-A", "--no-check", source];
  await using receiver = await ReceiverProcess.start({
    ...{ dir: join(root, "store"), token: TOKEN },
    program: ["bash", "-c", 'ulimit -n 64; exec "$@"', "-", ...deno],
  });
  const url = await receiver.url;
  const { port } = new URL(url);
  const address = { hostname: "127.0.0.1", port: Number(port) };
  const flood = await Promise.all(Array.from({ length: 200 }, () => Deno.connect(address)));
  assertEquals(await status(deliver(url, makeName())), 200);
  for (const one of flood) one.close();
  const said = receiver.lines.map(({ message }) => message);
  assert(said.includes("The receiver cannot accept a connection."), "the limit was not reached");
  await receiver.end("SIGTERM");
  await Deno.remove(root, { recursive: true });
});

Deno.test("a full disk is answered with 507, leaves nothing torn, and chunks are taken again when there is space", async () => {
  await using disk = await SmallDisk.open(4);
  const store = join(disk.dir, "store");
  await using receiver = await ReceiverProcess.start({ dir: store, token: TOKEN });
  const url = await receiver.url;
  const [small, large] = [makeName(1), makeName(2)];
  const bytes = new Uint8Array(2_000_000);
  bytes.set(makeChunk());
  assertEquals(await status(deliver(url, small)), 200);
  await disk.fill(500_000);
  assertEquals(await status(deliver(url, large, bytes)), 507);
  const names = () => filesBelow(store).map((path) => path.slice(path.lastIndexOf("/") + 1));
  assertEquals(names().sort(), ["lock", formatChunkName(small)].sort());
  await disk.free();
  assertEquals(await status(deliver(url, large, bytes)), 200);
  assertEquals(names().sort(), ["lock", formatChunkName(small), formatChunkName(large)].sort());
  await receiver.end("SIGTERM");
});

async function status(answering: Promise<Response>): Promise<number> {
  const answer = await answering;
  await answer.body?.cancel();
  return answer.status;
}
