// A connection of bytes, whatever makes it. It knows no protocol.

import type { TlsFiles } from "../config/tls_files.ts";

/** A connection of bytes. */
export interface Transport {
  /** The number of bytes read into the buffer, or null at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null>;
  /** How many of the bytes were taken. */
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

/** What TLS will be for. */
export interface TlsTarget {
  /** The name in the certificate. */
  readonly hostname: string;
  readonly tls: TlsFiles;
  /** False: a proxy is on the way. */
  readonly isDirect: boolean;
}

/** Closes a connection that may be closed already. */
export function close(transport: Transport): void {
  try {
    transport.close();
  } catch { /* it was closed */ }
}
