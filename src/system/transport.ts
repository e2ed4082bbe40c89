// A connection of bytes, whatever makes it, and what secures one. It knows no protocol.

/** Whom a TLS connection trusts, and how it identifies itself; in PEM. */
export interface TlsFiles {
  readonly caCerts: readonly string[];
  /** Whether nothing else is trusted. */
  readonly isCaOnly: boolean;
  /** Null: the program does not identify itself. */
  readonly client: { readonly cert: string; readonly key: string } | null;
}

/** A connection of bytes. */
export interface Transport {
  /** The number of bytes read into the buffer, or null at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null>;
  /** How many of the bytes were taken. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends what is read or written now. What is returned, if anything, resolves when its descriptors are free. */
  close(): void | Promise<void>;
}

/** An end of a TLS connection before its handshake. */
export interface ClientEnd extends Transport {
  handshake(): Promise<unknown>;
  close(): void;
}

/** Closes a connection that may be closed already. */
export function close(transport: Transport): void {
  try {
    transport.close();
  } catch { /* it was closed */ }
}
