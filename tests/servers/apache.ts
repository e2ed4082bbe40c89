// Apache httpd (mpm_event) in front of an endpoint: TLS, and whatever directives a test adds.

import { dirname } from "node:path";
import { join } from "@std/path/join";
import { type Front, startFront } from "./server_process.ts";

export interface ApacheOptions {
  /** Where requests are passed on, as URL of plain HTTP; without it, it serves a folder with one file. */
  readonly upstream?: string;
  /** A file that it serves, by its path below the root. */
  readonly file?: string;
  /** Further modules, without `mod_` and `.so`. */
  readonly modules?: readonly string[];
  /** Directives of the server. */
  readonly server?: string;
  readonly tls?: { readonly certPem: string; readonly keyPem: string } | undefined;
}

const MODULES = ["mpm_event", "authz_core", "ssl", "socache_shmcb", "proxy", "proxy_http"];

export function startApache(options: ApacheOptions): Promise<Front> {
  const { upstream, file, modules = [], server = "", tls } = options;
  const configure = async (dir: string, port: number) => {
    const path = join(dir, "htdocs", file ?? "index.html");
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(path, "It works.\n");
    if (tls !== undefined) {
      await Deno.writeTextFile(join(dir, "cert.pem"), tls.certPem);
      await Deno.writeTextFile(join(dir, "key.pem"), tls.keyPem);
    }
    const encryption = tls === undefined ? "" : `
SSLEngine on
SSLSessionCache shmcb:${dir}/cache(65536)
SSLCertificateFile ${dir}/cert.pem
SSLCertificateKeyFile ${dir}/key.pem`;
    return `
ServerRoot ${dir}
${
      [...MODULES, ...modules]
        .map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`)
        .join("\n")
    }
Listen 127.0.0.1:${port}
ServerName localhost
PidFile ${dir}/apache.pid
Mutex file:${dir} default
ErrorLog ${dir}/error.log
LogLevel info
StartServers 1
ServerLimit 2
ThreadsPerChild 16
MaxRequestWorkers 32
MinSpareThreads 1
MaxSpareThreads 32
DocumentRoot ${dir}/htdocs
${encryption}
${server}
${upstream === undefined ? "" : `ProxyPass / ${upstream}/`}
`;
  };
  return startFront({
    program: "/usr/sbin/apache2",
    args: (path) => ["-DFOREGROUND", "-f", path],
    configure,
    isTls: tls !== undefined,
  });
}
