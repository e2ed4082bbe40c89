/**
 * The files that say whom the program trusts and how it identifies itself: `tls_ca_file`,
 * `tls_client_cert_file` and `tls_client_key_file`. They are read again for each connection, so that
 * renewed files are found without a restart. No key is ever shown.
 */

import type { TlsFiles } from "../system/transport.ts";
import { quote } from "./config_values.ts";
import { readKeyFile, type ReadTextFile } from "./file_failure.ts";
import type { KeyValues } from "./key_values.ts";
import { fitsCertificate, isVersion1, refuseDamagedCertificates, refusePrivateKey } from "./pem.ts";
import type { Sources } from "./sources.ts";

const CA_KEY = "tls_ca_file";
const ONLY_KEY = "tls_ca_only";
const CERTIFICATE_KEY = "tls_client_cert_file";
const PRIVATE_KEY = "tls_client_key_file";

/** The keys of the configuration. */
export interface TlsConfig {
  readonly tlsCaFile: string | null;
  readonly tlsCaOnly: boolean;
  readonly tlsClientCertFile: string | null;
  readonly tlsClientKeyFile: string | null;
}

/**
 * What is wrong with these keys beside each other; each by itself was checked.
 * @param checksFiles whether the files are read to see that they fit.
 */
export function tlsProblems(
  { given }: Sources,
  values: KeyValues,
  readTextFile: ReadTextFile,
  checksFiles = true,
): string[] {
  const place = (name: string) => given.get(name)?.place;
  const path = (name: string) => String(values.get(name) ?? "");
  const problems: string[] = [];
  if (values.get(ONLY_KEY) === true && !given.has(CA_KEY)) {
    problems.push(`${place(ONLY_KEY)}: true trusts nobody: expected ${CA_KEY} beside it`);
  }
  const [has, lacks] = given.has(CERTIFICATE_KEY)
    ? [CERTIFICATE_KEY, PRIVATE_KEY]
    : [PRIVATE_KEY, CERTIFICATE_KEY];
  if (given.has(has) && !given.has(lacks)) {
    problems.push(`${place(has)}: is given without ${lacks}: expected both or none`);
  }
  const isComplete = path(CERTIFICATE_KEY) !== "" && path(PRIVATE_KEY) !== "";
  if (!isComplete || !checksFiles) return problems;
  try {
    const [cert, key] = [readTextFile(path(CERTIFICATE_KEY)), readTextFile(path(PRIVATE_KEY))];
    const isUsable = refuseDamagedCertificates(cert) === null && refusePrivateKey(key) === null;
    const refusal = isUsable ? refuseVersion1(cert) : null;
    if (refusal !== null) {
      problems.push(`${place(CERTIFICATE_KEY)}: ${quote(path(CERTIFICATE_KEY))} ${refusal}`);
    }
    if (isUsable && !fitsCertificate(key, cert)) {
      problems.push(
        `${place(PRIVATE_KEY)}: ${quote(path(PRIVATE_KEY))} does not fit: expected the private ` +
          `key of the first certificate in ${quote(path(CERTIFICATE_KEY))}`,
      );
    }
  } catch {
    // That a file cannot be read is a problem of its own key.
  }
  return problems;
}

/**
 * What the files hold now.
 * @throws Error naming the key, the file and what is wrong with it
 */
export async function readTlsFiles(config: TlsConfig): Promise<TlsFiles> {
  const { tlsCaFile, tlsCaOnly: isCaOnly, tlsClientCertFile, tlsClientKeyFile } = config;
  const ca = tlsCaFile === null ? null : await read(CA_KEY, tlsCaFile, refuseDamagedCertificates);
  const caCerts = ca === null ? [] : [ca];
  if (tlsClientCertFile === null || tlsClientKeyFile === null) {
    return { caCerts, isCaOnly, client: null };
  }
  const refuse = (cert: string) => refuseDamagedCertificates(cert) ?? refuseVersion1(cert);
  const cert = await read(CERTIFICATE_KEY, tlsClientCertFile, refuse);
  const key = await read(PRIVATE_KEY, tlsClientKeyFile, refusePrivateKey);
  if (!fitsCertificate(key, cert)) {
    throw new Error(
      `Cannot use ${PRIVATE_KEY} ${quote(tlsClientKeyFile)} as it must be the private key of the ` +
        `first certificate in ${quote(tlsClientCertFile)}: it does not fit`,
    );
  }
  return { caCerts, isCaOnly, client: { cert, key } };
}

/**
 * What is wrong with a client certificate, or null.
 * @param runtime the version of Deno: one before 2.9 ends the whole process with a version 1.
 */
export function refuseVersion1(cert: string, runtime = Deno.version.deno): string | null {
  const [major = 0, minor = 0] = runtime.split(".").map(Number);
  return (major === 2 && minor < 9 && isVersion1(cert))
    ? "holds a certificate of X.509 version 1: expected version 3, which openssl x509 makes with " +
      "-extfile"
    : null;
}

function read(
  name: string,
  path: string,
  refuse: (content: string) => string | null,
): Promise<string> {
  return readKeyFile(`Cannot use ${name}:`, path, refuse);
}
