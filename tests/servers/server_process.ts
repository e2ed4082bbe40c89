// A real server program of the system as a child process, in the foreground, with everything that it
// writes in a folder of its own. It starts no service of the machine, reads no configuration of it, and
// leaves no process and no file behind. As root, it runs the program as the user nobody. It knows no
// program: nginx.ts, haproxy.ts, squid.ts, apache.ts and endpoints.ts do.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";

const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 5000;
const LOOK_MS = 20;
/** How many lines of each log an error quotes. */
const QUOTED_LINES = 15;
/** The user nobody of Debian. */
const NOBODY = 65_534;

/** How to start a server. */
export interface ServerOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** A folder of this server alone; disposal removes it. */
  readonly dir: string;
  /** It is ready when a connection to each of these ports of 127.0.0.1 succeeds. */
  readonly ports: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  /** What ends it; default SIGTERM. */
  readonly endSignal?: Deno.Signal;
}

/** A running server; release it with `await using`. */
export class ServerProcess implements AsyncDisposable {
  readonly dir: string;
  readonly #child: Deno.ChildProcess;
  #hasEnded = false;

  private constructor(readonly options: ServerOptions) {
    this.dir = options.dir;
    const isRoot = Deno.uid() === 0;
    const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
    this.#child = new Deno.Command("setpriv", {
      // The kernel ends the server even if the test itself is killed.
      args: [
        ...isRoot ? user : [],
        ...["--pdeathsig", "KILL", "--", "sh", "-c", 'exec "$@" >"$0" 2>&1', join(this.dir, "log")],
        ...[options.program, ...options.args],
      ],
      env: { LC_ALL: "C.UTF-8", HOME: this.dir, TMPDIR: this.dir, ...options.env },
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    this.#child.status.then(() => this.#hasEnded = true);
  }

  /** Resolves when the server answers on all its ports; rejects with its log if it does not. */
  static async start(options: ServerOptions): Promise<ServerProcess> {
    await giveToNobody(options.dir);
    const server = new ServerProcess(options);
    try {
      await server.#ready();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  signal(signal: Deno.Signal): void {
    if (!this.#hasEnded) this.#child.kill(signal);
  }

  /** The last lines of every log in its folder, for the error of a test. */
  logs(): string {
    return [...Deno.readDirSync(this.dir)]
      .filter(({ name, isFile }) => isFile && /log$/.test(name))
      .map(({ name }) => {
        const lines = Deno.readTextFileSync(join(this.dir, name)).trim().split("\n");
        return [`--- ${this.options.program}: ${name}`, ...lines.slice(-QUOTED_LINES)].join("\n");
      }).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal(this.options.endSignal ?? "SIGTERM");
    const limit = setTimeout(() => this.signal("SIGKILL"), STOP_LIMIT_MS);
    await this.#child.status;
    clearTimeout(limit);
    await Deno.remove(this.dir, { recursive: true });
  }

  async #ready(): Promise<void> {
    const endMs = performance.now() + START_LIMIT_MS;
    for (const port of this.options.ports) {
      while (!await answers(port)) {
        if (this.#hasEnded || performance.now() > endMs) {
          const how = this.#hasEnded ? "it has ended" : `port ${port} does not answer`;
          throw new Error(`Cannot start ${this.options.program}: ${how}\n${this.logs()}`);
        }
        await delay(LOOK_MS);
      }
    }
  }
}

/** A running server with one port. */
export interface Front extends AsyncDisposable {
  readonly process: ServerProcess;
  readonly port: number;
  /** Its base URL, under an address or a name of this machine. */
  url(host?: string): string;
}

/** What a server with one port and one configuration file needs. */
export interface FrontOptions extends Pick<ServerOptions, "program" | "endSignal"> {
  /** Its arguments. @param path of its configuration. */
  readonly args: (path: string) => readonly string[];
  /** Its configuration. It can write further files to the folder. */
  readonly configure: (dir: string, port: number) => Promise<string>;
  readonly isTls?: boolean;
}

/** Starts one on a free port. */
export function startFront(options: FrontOptions): Promise<Front> {
  const { program, args, configure, isTls = false, endSignal } = options;
  return onFreePorts(1, async ([port = 0]) => {
    const dir = await serverDir(program.replace(/.*\//, ""));
    const path = join(dir, "server.conf");
    await Deno.writeTextFile(path, await configure(dir, port));
    const end = endSignal === undefined ? {} : { endSignal };
    const process = await ServerProcess.start({
      program,
      args: args(path),
      dir,
      ports: [port],
      ...end,
    });
    return {
      process,
      port,
      url: (host = "127.0.0.1") => `${isTls ? "https" : "http"}://${host}:${port}`,
      [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
    };
  });
}

/** A folder for a server, in which the user nobody may write. */
export async function serverDir(name: string): Promise<string> {
  const dir = await Deno.makeTempDir({ prefix: `recorder-agent-${name}-` });
  await Deno.chmod(dir, 0o755);
  return dir;
}

/** This number of free ports of 127.0.0.1, all different. */
export function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}

/** Runs `start` with free ports, again if another process took one of them in between. */
export async function onFreePorts<T>(
  count: number,
  start: (ports: readonly number[]) => Promise<T>,
): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await start(freePorts(count));
    } catch (error) {
      if (tries === 3 || !/in use/i.test(String(error))) throw error;
    }
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

async function giveToNobody(dir: string): Promise<void> {
  if (Deno.uid() !== 0) return;
  await Deno.chown(dir, NOBODY, NOBODY);
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isDirectory) await giveToNobody(path);
    else await Deno.chown(path, NOBODY, NOBODY);
  }
}
