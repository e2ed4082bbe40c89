// nginx in front of an endpoint: TLS, and whatever directives a test adds. It has no opinion on what is
// right.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { onFreePorts, serverDir, ServerProcess } from "./server_process.ts";

/** What the configuration of a test has beside the defaults of nginx. */
export interface NginxOptions {
  /** Where requests are passed on, as URL; without it, `server` must answer. */
  readonly upstream?: string;
  /** Directives of the `http` block. */
  readonly http?: string;
  /** Directives of the `server` block. */
  readonly server?: string;
  /** Names of the server; requests for others reach `others`. Default: every name. */
  readonly names?: string;
  /** Directives of the server for all other names. */
  readonly others?: string;
  /** Demands a client certificate of this authority (PEM). */
  readonly clientCaPem?: string;
  /** The certificate and key of the server (PEM); without it, it speaks plain HTTP. */
  readonly tls?: { readonly certPem: string; readonly keyPem: string } | undefined;
}

/** A running nginx. */
export class Nginx implements AsyncDisposable {
  #generation = 1;

  private constructor(
    readonly process: ServerProcess,
    readonly port: number,
    readonly statusPort: number,
    readonly scheme: "http" | "https",
  ) {}

  static start(options: NginxOptions): Promise<Nginx> {
    return onFreePorts(2, async ([port = 0, statusPort = 0]) => {
      const dir = await serverDir("nginx");
      await writeConfig(dir, options, { port, statusPort, generation: 1 });
      const process = await ServerProcess.start({
        program: "/usr/sbin/nginx",
        args: ["-p", dir, "-c", join(dir, "nginx.conf"), "-e", join(dir, "error.log")],
        dir,
        ports: [port, statusPort],
      });
      return new Nginx(process, port, statusPort, options.tls ? "https" : "http");
    });
  }

  /** Its base URL, under an address or a name of this machine. */
  url(host = "127.0.0.1"): string {
    return `${this.scheme}://${host}:${this.port}`;
  }

  /** Like `nginx -s reload`: resolves when all new connections get the new configuration. */
  async reload(options: NginxOptions): Promise<void> {
    const { port, statusPort } = this;
    const generation = ++this.#generation;
    await writeConfig(this.process.dir, options, { port, statusPort, generation });
    this.process.signal("SIGHUP");
    for (let tries = 0; tries < 500; tries++) {
      const answer = await fetch(`http://127.0.0.1:${statusPort}/`, {
        headers: { connection: "close" },
      }).then((answer) => answer.text(), () => "");
      // Until its last request is answered, an old worker may take one more connection.
      if (answer === String(generation) && this.#workers() === 1) return;
      await delay(20);
    }
    throw new Error(`nginx does not reload:\n${this.process.logs()}`);
  }

  #workers(): number {
    const { pid } = this.process;
    return Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ").length;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]();
  }
}

async function writeConfig(
  dir: string,
  options: NginxOptions,
  { port, statusPort, generation }: { port: number; statusPort: number; generation: number },
): Promise<void> {
  const { upstream, http = "", server = "", names, others, clientCaPem, tls } = options;
  const clients = `ssl_client_certificate ${dir}/clients.pem; ssl_verify_client on;`;
  if (clientCaPem !== undefined) await Deno.writeTextFile(join(dir, "clients.pem"), clientCaPem);
  if (tls !== undefined) {
    await Deno.writeTextFile(join(dir, "cert.pem"), tls.certPem);
    await Deno.writeTextFile(join(dir, "key.pem"), tls.keyPem);
  }
  const listen = (more = "") => `listen 127.0.0.1:${port}${tls ? " ssl" : ""}${more};`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  await Deno.writeTextFile(
    join(dir, "nginx.conf"),
    `
daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log info;
events { worker_connections 256; }
http {
  ${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join("\n  ")}
  access_log ${dir}/access.log;
  ${tls ? `ssl_certificate ${dir}/cert.pem; ssl_certificate_key ${dir}/key.pem;` : ""}
  ${http}
  server {
    listen 127.0.0.1:${statusPort};
    location / { return 200 "${generation}"; }
  }
  ${others === undefined ? "" : `server { ${listen(" default_server")} ${others} }`}
  server {
    ${listen()}
    ${names === undefined ? "" : `server_name ${names};`}
    ${clientCaPem === undefined ? "" : clients}
    ${server}
    ${upstream === undefined ? "" : `location / { proxy_pass ${upstream}; }`}
  }
}
`,
  );
}
