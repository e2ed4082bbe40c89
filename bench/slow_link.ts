// deno-lint-ignore-file no-console -- the process writes its port to stdout
// A link with latency in front of a server on this machine, for kernels without netem. It is a TCP proxy in a
// separate process that forwards each byte half a round trip after its arrival, in both directions. The
// kernel answers a connect at once, so the proxy delays the first bytes of a connection by one more round
// trip, as on a real link. It has no slow start, no loss and no limit of bandwidth.

import { JsonLines } from "./json_lines.ts";

/** The running link. It ends with its scope, or with the process that started it. */
export class SlowLink implements AsyncDisposable {
  readonly port: number;
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** @param roundTripMs more than 0. */
  static async start(toPort: number, roundTripMs: number): Promise<SlowLink> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", new URL(import.meta.url).pathname],
        ...[String(toPort), String(roundTripMs)],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const { port } = await new JsonLines(child.stdout).next() as { port: number };
    return new SlowLink(child, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.status;
  }
}

/** Bytes in transit; null marks the end of the stream. */
interface Flight {
  readonly bytes: Uint8Array | null;
  readonly dueMs: number;
}

async function carry(client: Deno.TcpConn, toPort: number, roundTripMs: number): Promise<void> {
  const connectedMs = performance.now() + roundTripMs;
  const server = await Deno.connect({ hostname: "127.0.0.1", port: toPort });
  client.setNoDelay(true);
  server.setNoDelay(true);
  await Promise.allSettled([
    pump(client, server, roundTripMs / 2, connectedMs),
    pump(server, client, roundTripMs / 2, connectedMs),
  ]);
  for (const connection of [client, server]) close(connection);
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch { /* already closed */ }
}

/** Runs until either end is gone. Reading never waits for writing, which would limit the bandwidth. */
async function pump(from: Deno.TcpConn, to: Deno.TcpConn, delayMs: number, notBeforeMs: number) {
  const flights: Flight[] = [];
  let wake = () => {};
  const landed = (async () => {
    while (true) {
      const flight = flights.shift();
      if (flight === undefined) {
        await new Promise<void>((resolve) => wake = resolve);
        continue;
      }
      for (let leftMs; (leftMs = flight.dueMs - performance.now()) > 0;) {
        await new Promise((resolve) => setTimeout(resolve, leftMs));
      }
      if (flight.bytes === null) return await to.closeWrite();
      for (let sent = 0; sent < flight.bytes.length;) {
        sent += await to.write(flight.bytes.subarray(sent));
      }
    }
  })();
  landed.catch(() => close(from));
  const depart = (bytes: Uint8Array | null) => {
    flights.push({ bytes, dueMs: Math.max(performance.now(), notBeforeMs) + delayMs });
    wake();
  };
  try {
    while (true) {
      const buffer = new Uint8Array(65_536);
      const size = await from.read(buffer);
      depart(size === null ? null : buffer.subarray(0, size));
      if (size === null) break;
    }
  } catch {
    depart(null);
  }
  await landed;
}

if (import.meta.main) {
  const [toPort, roundTripMs] = Deno.args.map(Number) as [number, number];
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  console.log(JSON.stringify({ port: listener.addr.port }));
  new JsonLines(Deno.stdin.readable).ended().then(() => Deno.exit());
  for await (const client of listener) {
    carry(client, toPort, roundTripMs).catch(() => close(client));
  }
}
