// HAProxy in front of an endpoint: TLS, and whatever a test adds to its frontend and its backend.

import { join } from "@std/path/join";
import { onFreePorts, serverDir, ServerProcess } from "./server_process.ts";

export interface HaproxyOptions {
  /** Where requests are passed on, as URL of plain HTTP; without it, the backend has no server. */
  readonly upstream?: string;
  readonly frontend?: string;
  readonly backend?: string;
  readonly tls?: { readonly certPem: string; readonly keyPem: string } | undefined;
}

/** A running HAProxy. */
export interface Haproxy extends AsyncDisposable {
  readonly process: ServerProcess;
  readonly port: number;
  url(host?: string): string;
}

export function startHaproxy(options: HaproxyOptions): Promise<Haproxy> {
  const { upstream, frontend = "", backend = "", tls } = options;
  return onFreePorts(1, async ([port = 0]) => {
    const dir = await serverDir("haproxy");
    if (tls !== undefined) {
      await Deno.writeTextFile(join(dir, "server.pem"), tls.certPem + tls.keyPem);
    }
    const server = upstream === undefined ? "" : `server api ${new URL(upstream).host}`;
    await Deno.writeTextFile(
      join(dir, "haproxy.cfg"),
      `
global
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:${port}${tls === undefined ? "" : ` ssl crt ${dir}/server.pem`}
  ${frontend}
  default_backend api
backend api
  ${backend}
  ${server}
`,
    );
    const process = await ServerProcess.start({
      program: "/usr/sbin/haproxy",
      args: ["-db", "-f", join(dir, "haproxy.cfg")],
      dir,
      ports: [port],
    });
    return {
      process,
      port,
      url: (host = "127.0.0.1") => `${tls === undefined ? "http" : "https"}://${host}:${port}`,
      [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
    };
  });
}
