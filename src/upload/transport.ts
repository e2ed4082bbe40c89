// A connection of bytes, whatever makes it. It knows no protocol.

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
