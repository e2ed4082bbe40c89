// The certificate of the receiver and its key, as files that are renewed while it runs. Whether the two fit is
// seen where they are used. No key is ever shown.

import { readOptionFile } from "../config/file_failure.ts";
import type { ServerTls } from "../system/tls_listener.ts";
import { FileWatch } from "./file_watch.ts";

export class CertificateFiles {
  readonly #paths: ServerTls;
  readonly #watch: FileWatch;

  /** @param paths of PEM files. */
  constructor(paths: ServerTls) {
    this.#paths = paths;
    this.#watch = new FileWatch(paths.cert, paths.key);
  }

  /** Whether a file has changed since the last call. */
  hasChanged(): boolean {
    return this.#watch.hasChanged();
  }

  /** @throws Error that names the option and the file. */
  read(): ServerTls {
    const { cert, key } = this.#paths;
    return { cert: readOptionFile("--tls-cert", cert), key: readOptionFile("--tls-key", key) };
  }
}
