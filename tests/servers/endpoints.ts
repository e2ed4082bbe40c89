// Small Ingest APIs, each as the documentation of its framework would write it (`endpoints/`). They know
// nothing of this program and check nothing but the token.

import { join } from "@std/path/join";
import { run } from "../fixtures/command.ts";
import { onFreePorts, serverDir, ServerProcess } from "./server_process.ts";

/** A framework with a program in `endpoints/`. */
export type Framework = "flask" | "fastapi" | "express" | "go" | "php";

export const FRAMEWORKS: readonly Framework[] = ["flask", "fastapi", "express", "go", "php"];

/** A chunk as an endpoint has received it. */
export interface Arrival {
  readonly startTs: string;
  readonly sizeBytes: number;
  /** SHA-256, hexadecimal. */
  readonly sha256: string;
}

/** A running endpoint. */
export interface Endpoint extends AsyncDisposable {
  readonly process: ServerProcess;
  readonly url: string;
  /** What arrived, in this order. */
  arrivals(): Arrival[];
}

const HERE = new URL("endpoints/", import.meta.url).pathname;

interface Start {
  readonly program: string;
  readonly args: readonly string[];
}

/** Copies or builds the program in `dir`, which only its user needs to read. */
const PREPARE: Record<Framework, (dir: string, port: number) => Promise<Start>> = {
  flask: (dir) => python(dir, "flask_app.py"),
  fastapi: (dir) => python(dir, "fastapi_app.py"),
  express: async (dir) => {
    await Deno.copyFile(join(HERE, "express_app.js"), join(dir, "express_app.js"));
    const packages = ["express@4.21.2", "multer@1.4.5-lts.2"];
    const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
    await run("npm", ["install", "--prefix", dir, ...quiet, ...packages]);
    return { program: "node", args: [join(dir, "express_app.js")] };
  },
  go: async (dir) => {
    const program = join(dir, "endpoint");
    const env = { GOCACHE: join(dir, "cache"), GOFLAGS: "-p=1", GO111MODULE: "off" };
    await run("go", ["build", "-o", program, join(HERE, "main.go")], { env });
    return { program, args: [] };
  },
  php: async (dir, port) => {
    await Deno.copyFile(join(HERE, "index.php"), join(dir, "index.php"));
    return { program: "php", args: ["-S", `127.0.0.1:${port}`, join(dir, "index.php")] };
  },
};

async function python(dir: string, name: string): Promise<Start> {
  await Deno.copyFile(join(HERE, name), join(dir, name));
  return { program: "/usr/bin/python3", args: [join(dir, name)] };
}

export function startEndpoint(framework: Framework, token: string): Promise<Endpoint> {
  return onFreePorts(1, async ([port = 0]) => {
    const dir = await serverDir(framework);
    const process = await ServerProcess.start({
      ...await PREPARE[framework](dir, port),
      dir,
      ports: [port],
      env: { PORT: String(port), TOKEN: token, UPLOADS: dir },
    });
    return {
      process,
      url: `http://127.0.0.1:${port}`,
      arrivals: () => readArrivals(join(dir, "received.txt")),
      [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
    };
  });
}

function readArrivals(path: string): Arrival[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const [startTs = "", size = "", sha256 = ""] = line.split(" ");
    return { startTs, sizeBytes: Number(size), sha256 };
  });
}
