// HAProxy in front of an endpoint: TLS, and whatever a test adds to its frontend and its backend.

import { join } from "@std/path/join";
import { type Front, startFront } from "./server_process.ts";

export interface HaproxyOptions {
  /** Where requests are passed on, as URL of plain HTTP; without it, the backend has no server. */
  readonly upstream?: string;
  readonly frontend?: string;
  readonly backend?: string;
  readonly tls?: { readonly certPem: string; readonly keyPem: string } | undefined;
}

export function startHaproxy(options: HaproxyOptions): Promise<Front> {
  const { upstream, frontend = "", backend = "", tls } = options;
  const configure = async (dir: string, port: number) => {
    if (tls !== undefined) {
      await Deno.writeTextFile(join(dir, "server.pem"), tls.certPem + tls.keyPem);
    }
    const server = upstream === undefined ? "" : `server api ${new URL(upstream).host}`;
    return `
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
`;
  };
  return startFront({
    program: "/usr/sbin/haproxy",
    args: (path) => ["-db", "-f", path],
    configure,
    isTls: tls !== undefined,
  });
}
