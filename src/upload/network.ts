// The seam to the network: names become addresses, addresses connections, and connections become secure.
// It has no limits of time and chooses nothing.
//
// Names are looked up by getaddrinfo, as every program of the machine does: /etc/hosts, mDNS and
// systemd-resolved count. Deno's own way to a TLS connection over one that exists knows no client
// certificate, so these connections use node:tls, which is loaded only then.

import { lookup } from "node:dns/promises";
import type { TlsFiles } from "../config/tls_files.ts";
import { close, type TlsTarget, type Transport } from "./transport.ts";

export interface Network {
  /** The addresses of a name, the best first (RFC 6724). */
  lookup(hostname: string): Promise<readonly string[]>;
  /** @param target what will secure the connection, or null */
  connect(
    address: string,
    port: number,
    target: TlsTarget | null,
    signal: AbortSignal,
  ): Promise<Transport>;
  /** The same connection after the TLS handshake; closes it if that fails. */
  secure(transport: Transport, hostname: string, tls: TlsFiles): Promise<Transport>;
}

export const systemNetwork: Network = {
  async lookup(hostname) {
    const found = await lookup(hostname, { all: true, order: "verbatim" });
    return found.map(({ address }) => address);
  },

  async connect(address, port, target, signal) {
    if (target?.tls.client) {
      const { connectNode } = await import("./node_transport.ts");
      return await connectNode(address, port, target, signal);
    }
    const connection = await Deno.connect({ hostname: address, port, signal });
    connection.setNoDelay(true);
    return connection;
  },

  async secure(transport, hostname, tls) {
    if (tls.client !== null) {
      const { secureNode } = await import("./node_transport.ts");
      return await secureNode(transport, hostname, tls);
    }
    const { caCerts } = tls;
    const secured = await Deno.startTls(transport as Deno.TcpConn, { hostname, caCerts });
    try {
      await secured.handshake();
    } catch (error) {
      close(secured);
      throw error;
    }
    return secured;
  },
};
