// squid as the only way out of a shop: CONNECT, with a user and a password if a test names them.

import { join } from "@std/path/join";
import { run } from "../fixtures/command.ts";
import { type Front, startFront } from "./server_process.ts";

export interface SquidOptions {
  /** Every request must name them. */
  readonly login?: { readonly user: string; readonly password: string };
  /** Denies everything. */
  readonly denies?: boolean;
  /** Names that only this proxy knows, each with its address. */
  readonly hosts?: Readonly<Record<string, string>>;
}

export function startSquid({ login, denies = false, hosts = {} }: SquidOptions): Promise<Front> {
  const configure = async (dir: string, port: number) => {
    const hostLines = Object.entries(hosts).map(([name, address]) => `${address} ${name}\n`);
    await Deno.writeTextFile(join(dir, "hosts"), `127.0.0.1 localhost\n${hostLines.join("")}`);
    if (login !== undefined) {
      const { stdout } = await run("openssl", ["passwd", "-apr1", login.password]);
      const hash = new TextDecoder().decode(stdout).trim();
      await Deno.writeTextFile(join(dir, "users"), `${login.user}:${hash}\n`);
    }
    const auth = login === undefined ? "" : `
auth_param basic program /usr/lib/squid/basic_ncsa_auth ${dir}/users
auth_param basic realm shop
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access deny !known`;
    return `
http_port 127.0.0.1:${port}
${auth}
http_access ${denies ? "deny" : "allow"} all
pid_filename none
cache_log ${dir}/cache.log
access_log stdio:${dir}/access.log
coredump_dir ${dir}
hosts_file ${dir}/hosts
dns_nameservers 127.0.0.1
visible_hostname squid.test
cache deny all
cache_mem 1 MB
memory_cache_shared off
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 1024
`;
  };
  return startFront({
    program: "/usr/sbin/squid",
    args: (path) => ["-N", "-f", path],
    configure,
    endSignal: "SIGKILL", // on SIGTERM it takes two seconds
  });
}
