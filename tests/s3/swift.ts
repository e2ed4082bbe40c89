// A real object store for tests: OpenStack Swift with its S3 API and three replicas, as Debian packages it
// (swift-proxy, swift-account, swift-container, swift-object, memcached). All its servers run on 127.0.0.1, in
// one folder, and as nobody if this runs as root.

import { join } from "@std/path/join";
import { AwsClient } from "aws4fetch";
import { run } from "../fixtures/command.ts";

const KEYS = { id: "test:tester", secret: "testing" };
const REGION = "eu-test-1";
const REPLICAS = 3;
/** How long the servers may take until they answer. */
const START_MS = 300_000;
const KINDS = ["account", "container", "object"] as const;

/** What a pipeline of Swift's proxy is made of; each filter needs its section. */
const FILTERS = [
  ...["catch_errors", "gatekeeper", "healthcheck", "cache", "listing_formats", "s3api", "tempauth"],
  ...["bulk", "slo", "copy"],
];
const SETTINGS: Record<string, string> = {
  s3api: `location = ${REGION}`,
  tempauth: `user_${KEYS.id.replace(":", "_")} = ${KEYS.secret} .admin`,
};

export class Swift implements AsyncDisposable {
  readonly port: number;
  readonly #root: string;
  readonly #servers: Deno.ChildProcess[] = [];

  private constructor(root: string, port: number) {
    this.#root = root;
    this.port = port;
  }

  /** Starts it in a new folder, which goes when it is disposed. @throws if a program is missing. */
  static async start(): Promise<Swift> {
    const root = await Deno.makeTempDir({ prefix: "swift-" });
    const [port = 0, cache = 0, ...ports] = freePorts(2 + KINDS.length);
    const swift = new Swift(root, port);
    try {
      await swift.#configure(cache, ports);
      swift.#spawn("memcached", ["-l", "127.0.0.1", "-p", String(cache), "-m", "16"]);
      for (const kind of [...KINDS, "proxy"]) {
        swift.#spawn(`swift-${kind}-server`, [join(root, "etc", `${kind}.conf`)]);
      }
      await swift.#untilReady();
      return swift;
    } catch (error) {
      await swift[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The file for `--s3-credentials`. */
  get credentials(): string {
    return `[default]\naws_access_key_id = ${KEYS.id}\naws_secret_access_key = ${KEYS.secret}\n` +
      `region = ${REGION}\nendpoint_url = http://127.0.0.1:${this.port}\n`;
  }

  async createBucket(name: string): Promise<void> {
    const keys = { accessKeyId: KEYS.id, secretAccessKey: KEYS.secret, region: REGION };
    const url = `http://127.0.0.1:${this.port}/${name}`;
    const answer = await new AwsClient({ ...keys, service: "s3" }).fetch(url, { method: "PUT" });
    if (!answer.ok) throw new Error(`no bucket: ${await answer.text()}`);
    await answer.body?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      try {
        server.kill("SIGTERM"); // it ends its workers, too
      } catch { /* it has ended */ }
    }
    for (const server of this.#servers) await server.status;
    await Deno.remove(this.#root, { recursive: true });
  }

  async #configure(cache: number, ports: readonly number[]): Promise<void> {
    const etc = join(this.#root, "etc");
    const devices = Array.from({ length: REPLICAS }, (_, index) => `d${index + 1}`);
    for (const dir of ["etc", "cache", "dev", ...devices.map((device) => `dev/${device}`)]) {
      await Deno.mkdir(join(this.#root, dir));
    }
    const write = (name: string, text: string) => Deno.writeTextFile(join(etc, name), text);
    await write(
      "swift.conf",
      "[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n" +
        "[storage-policy:0]\nname = one\ndefault = yes\n",
    );
    const common = (port: number, workers: number) =>
      `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${port}\nworkers = ${workers}\nuser = nobody\n` +
      `swift_dir = ${etc}\ndevices = ${join(this.#root, "dev")}\nmount_check = false\n` +
      `recon_cache_path = ${join(this.#root, "cache")}\nlog_level = ERROR\n`;
    const filters = FILTERS.map((name) => {
      const egg = name === "cache" ? `memcache\nmemcache_servers = 127.0.0.1:${cache}` : name;
      return `[filter:${name}]\nuse = egg:swift#${egg}\n${SETTINGS[name] ?? ""}\n`;
    });
    await write(
      "proxy.conf",
      `${common(this.port, 2)}[pipeline:main]\npipeline = ${FILTERS.join(" ")} proxy-server\n` +
        `[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n${filters.join("")}`,
    );
    for (const [index, kind] of KINDS.entries()) {
      const port = ports[index] ?? 0;
      await write(
        `${kind}.conf`,
        `${common(port, 1)}[pipeline:main]\npipeline = ${kind}-server\n` +
          `[app:${kind}-server]\nuse = egg:swift#${kind}\n`,
      );
      const builder = join(etc, `${kind}.builder`);
      const ring = (...args: string[]) => run("swift-ring-builder", [builder, ...args]);
      await ring("create", "6", String(REPLICAS), "0");
      for (const [zone, device] of devices.entries()) {
        await ring(
          ...["add", "--region", "1", "--zone", String(zone + 1), "--ip", "127.0.0.1"],
          ...["--port", String(port), "--device", device, "--weight", "1"],
        );
      }
      await ring("rebalance");
    }
    if (Deno.uid() === 0) await run("chown", ["-R", "nobody:nogroup", this.#root]);
  }

  #spawn(program: string, args: readonly string[]): void {
    const nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", program];
    const [command, all] = Deno.uid() === 0
      ? ["setpriv", [...nobody, ...args]] as const
      : [program, args] as const;
    const env = { HOME: this.#root };
    const silent = { stdin: "null", stdout: "null", stderr: "null" } as const;
    this.#servers.push(new Deno.Command(command, { args: [...all], env, ...silent }).spawn());
  }

  async #untilReady(): Promise<void> {
    for (const endMs = performance.now() + START_MS; performance.now() < endMs;) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/healthcheck`).catch(() => null);
      if (await answer?.text() === "OK") return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`Swift does not answer within ${START_MS / 1000} s`);
  }
}

/** Ports that nothing uses now. */
function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}
