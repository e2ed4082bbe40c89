// The seam to the network: names become addresses, addresses connections, and connections become secure.
// It has no limits of time, and chooses neither an address nor a server.
//
// Names are looked up by getaddrinfo, as every program of the machine does: /etc/hosts, mDNS and
// systemd-resolved count. Deno's own way to a TLS connection over one that exists knows no client
// certificate, so these connections use node:tls. It is loaded only then, and when too many handshakes hang:
// its connections can be ended in a handshake.

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
  /** The same connection after the TLS handshake; closes it if that fails, or ends after the signal aborted. */
  secure(
    transport: Transport,
    hostname: string,
    tls: TlsFiles,
    signal: AbortSignal,
  ): Promise<Transport>;
}

/**
 * How many connections may be left in the TLS handshake after nobody waits for it any longer. Deno (2.7, 2.9)
 * keeps the socket of such a connection even when it is closed, until the server ends it or TCP gives up. A
 * server that accepts connections and stays silent would take all descriptors of the process.
 */
const MAX_ABANDONED = 4;

/** The network of the machine, for one client. */
export function systemNetwork(): Network {
  /** The signals of the handshakes that Deno makes now. */
  const handshakes = new Set<AbortSignal>();
  const ofNode = new WeakSet<Transport>();
  const abandoned = () => [...handshakes].filter(({ aborted }) => aborted).length;
  return {
    async lookup(hostname) {
      const found = await lookup(hostname, { all: true, order: "verbatim" });
      return found.map(({ address }) => address);
    },

    async connect(address, port, target, signal) {
      if (target !== null && (target.tls.client !== null || abandoned() >= MAX_ABANDONED)) {
        const { connectNode } = await import("./node_transport.ts");
        const connection = await connectNode(address, port, target, signal);
        ofNode.add(connection);
        return connection;
      }
      const connection = await Deno.connect({ hostname: address, port, signal });
      connection.setNoDelay(true);
      return connection;
    },

    async secure(transport, hostname, tls, signal) {
      if (ofNode.has(transport)) {
        const { secureNode } = await import("./node_transport.ts");
        return await secureNode(transport, hostname, tls);
      }
      const { caCerts } = tls;
      const secured = await Deno.startTls(transport as Deno.TcpConn, { hostname, caCerts });
      handshakes.add(signal);
      try {
        await secured.handshake();
        signal.throwIfAborted();
      } catch (error) {
        close(secured);
        throw error;
      } finally {
        handshakes.delete(signal);
      }
      return secured;
    },
  };
}
