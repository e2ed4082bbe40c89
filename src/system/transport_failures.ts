// Why no answer came, as one of a few kinds, in words and with a fix: the runtime's wording becomes what a
// person can act on. The uploader's reasons and `check` use the same words. The fixes
// name keys of the configuration; who has other settings puts its own names in their place. Pure.

import { messageOf } from "./error_text.ts";
import { NoAddress } from "./addresses.ts";
import { BadAnswer } from "./answer_reader.ts";

export type FailureKind =
  /** A file of the configuration cannot be used. */
  | "misconfigured"
  | "dns"
  /** The proxy itself: not reached, or it refused. */
  | "proxy"
  | "connection"
  | "tls-not-yet-valid"
  | "tls-expired"
  | "tls-wrong-name"
  | "tls-ca-as-end-entity"
  | "tls-unknown-issuer"
  | "tls-client-certificate-required"
  | "tls-client-certificate-refused"
  | "tls-no-common-version"
  /** The server does not speak TLS where the client does. */
  | "tls-not-tls"
  | "tls-other"
  /** The server speaks TLS where the client does not. */
  | "plain-to-tls"
  | "bad-answer"
  | "reset"
  | "timeout"
  | "other";

/** A request got no answer. The message says why and, in the end, what to do. */
export class TransportFailure extends Error {
  override readonly name = "TransportFailure";

  /** @param what one clause without a full stop. @param fix an imperative, or null */
  constructor(
    readonly kind: FailureKind,
    readonly what: string,
    readonly fix: string | null = null,
    options: ErrorOptions = {},
  ) {
    super(fix === null ? what : `${what}: ${fix}`, options);
  }
}

/** How far the request had come. */
export type Stage = "lookup" | "connect" | "proxy" | "tls" | "exchange";

/** What was to be reached. */
export interface Peer {
  readonly hostname: string;
  readonly port: number;
  /** The proxy on the way, as it may be shown, or null. */
  readonly proxy: string | null;
}

interface TlsRow {
  /** The words of rustls, or the code of node:tls. */
  readonly said: RegExp;
  readonly kind: FailureKind;
  readonly what: (name: string) => string;
  readonly fix: string;
}

const MAKE_CERTIFICATE = "make a certificate that is not an authority, and put that one on the " +
  "server and into tls_ca_file: openssl req -x509 -newkey rsa:2048 -noenc -days 3650 -keyout " +
  "server.key -out server.pem -subj /CN=NAME -addext basicConstraints=critical,CA:FALSE -addext " +
  "subjectAltName=DNS:NAME";

/** The first row that matches counts. */
const TLS_ROWS: readonly TlsRow[] = [
  {
    said: /NotValidYet|not valid yet|CERT_NOT_YET_VALID/i,
    kind: "tls-not-yet-valid",
    what: (name) => `the certificate of ${name} is not valid yet`,
    fix: "the clock of this machine is probably wrong: check it with timedatectl",
  },
  {
    said: /certificate expired|\bExpired\b|CERT_HAS_EXPIRED/i,
    kind: "tls-expired",
    what: (name) => `the certificate of ${name} has expired`,
    fix:
      "check the clock of this machine with timedatectl; if it is right, the server needs a new " +
      "certificate",
  },
  {
    said: /not valid for (any )?name|NotValidForName|ALTNAME_INVALID/i,
    kind: "tls-wrong-name",
    what: (name) => `the certificate of the server is not valid for ${name}`,
    fix: "set ingest_base_url to a name in the certificate, or put this name into the certificate",
  },
  {
    said: /CaUsedAsEndEntity/,
    kind: "tls-ca-as-end-entity",
    what: (name) =>
      `the certificate of ${name} is one of an authority (CA:TRUE), which no server may use`,
    fix: MAKE_CERTIFICATE,
  },
  {
    said:
      /UnknownIssuer|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|self-signed|BadSignature|UnsupportedCertVersion/,
    kind: "tls-unknown-issuer",
    what: (name) => `the certificate of ${name} comes from an authority that is not trusted`,
    fix:
      "set tls_ca_file to the certificate of a private CA; a proxy that decrypts TLS has its own CA",
  },
  {
    said: /CertificateRequired|CERTIFICATE_REQUIRED/i,
    kind: "tls-client-certificate-required",
    what: (name) => `${name} requires a client certificate`,
    fix: "set tls_client_cert_file and tls_client_key_file",
  },
  {
    said:
      /alert: (BadCertificate|UnsupportedCertificate|CertificateRevoked|CertificateExpired|CertificateUnknown|UnknownCA|AccessDenied|DecryptError)/i,
    kind: "tls-client-certificate-refused",
    what: (name) => `${name} does not accept the client certificate`,
    fix: "check tls_client_cert_file: its authority and its dates",
  },
  {
    said: /alert: (ProtocolVersion|InsufficientSecurity)|PeerIncompatible|PROTOCOL_VERSION/i,
    kind: "tls-no-common-version",
    what: (name) => `${name} offers neither TLS 1.2 nor TLS 1.3 with a safe cipher`,
    fix: "update the server",
  },
  {
    said: /corrupt message|InvalidContentType|WRONG_VERSION_NUMBER|InvalidMessage/i,
    kind: "tls-not-tls",
    what: (name) => `${name} does not speak TLS on this port`,
    fix: "check the port in ingest_base_url; a server without TLS needs http://",
  },
  {
    said: /alert: HandshakeFailure|HANDSHAKE_FAILURE/i,
    kind: "tls-other",
    what: (name) => `${name} ended the TLS handshake`,
    fix: "the server may require a client certificate (tls_client_cert_file) or know no host of " +
      "this name",
  },
  {
    said: /alert: UnrecognisedName|UNRECOGNIZED_NAME/i,
    kind: "tls-wrong-name",
    what: (name) => `the server knows no host ${name}`,
    fix: "check the name in ingest_base_url",
  },
  {
    said: /invalid peer certificate|fatal alert|\bTLS\b|certificate|ERR_SSL/i,
    kind: "tls-other",
    what: (name) => `TLS with ${name} fails`,
    fix: "check the certificate of the server: openssl s_client -connect HOST:PORT",
  },
];

const ENDED =
  /reset by peer|broken pipe|peer closed connection|connection (was )?(closed|aborted)|unexpected (eof|end of file)|EPIPE|ECONNRESET|ENOTCONN|not connected/i;

/** Any error of a request in the words of this module. */
export function explainFailure(error: unknown, stage: Stage, peer: Peer): TransportFailure {
  if (error instanceof TransportFailure) return error;
  if (error instanceof NoAddress) {
    const own = error.failures.map(({ error }) => error).find((e) => e instanceof TransportFailure);
    if (own !== undefined) return own;
  }
  const said = textOf(error);
  const make = (kind: FailureKind, what: string, fix: string | null = null) =>
    new TransportFailure(kind, `${what} (${said})`, fix, { cause: error });
  const place = `${peer.hostname} port ${peer.port}`;
  if (stage === "lookup") {
    return peer.proxy === null
      ? make(
        "dns",
        `the name ${peer.hostname} is not known`,
        "check its spelling in ingest_base_url, the network (ip addr) and the name server " +
          "(cat /etc/resolv.conf)",
      )
      : make("proxy", `the name of the proxy ${peer.proxy} is not known`, FIX_PROXY);
  }
  if (stage === "connect") {
    return peer.proxy === null
      ? make(
        "connection",
        `${place} does not answer`,
        "check that the server runs and that a firewall lets this port out",
      )
      : make("proxy", `the proxy ${peer.proxy} does not answer`, FIX_PROXY);
  }
  if (stage === "proxy") {
    return make("proxy", `the proxy ${peer.proxy} does not connect to ${place}`, FIX_PROXY);
  }
  if (error instanceof BadAnswer) {
    return error.isTls
      ? new TransportFailure(
        "plain-to-tls",
        `${place} speaks TLS`,
        "use https:// in ingest_base_url",
      )
      : new TransportFailure("bad-answer", error.message);
  }
  const row = isEnd(said) ? undefined : TLS_ROWS.find((row) => row.said.test(said));
  if (row !== undefined) return make(row.kind, row.what(peer.hostname), row.fix);
  if (stage === "tls") {
    return make(
      isEnd(said) ? "reset" : "tls-other",
      `${place} ended the connection in the TLS handshake`,
      "check that the port in ingest_base_url speaks TLS",
    );
  }
  return isEnd(said) ? make("reset", "the connection broke") : make("other", "the request failed");
}

const FIX_PROXY = "check the proxy and its variable in /etc/recorder-agent/env";

function isEnd(said: string): boolean {
  return ENDED.test(said) && !/certificate|alert/i.test(said);
}

/** What the runtime said: each address with its own words if several were tried. */
function textOf(error: unknown): string {
  if (error instanceof NoAddress) {
    const { failures } = error;
    if (failures.length === 0) return "it has no address";
    const texts = failures.map(({ address, error }) => `${address}: ${textOf(error)}`);
    return texts.slice(0, 4).join("; ") + (texts.length > 4 ? "; …" : "");
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const message = messageOf(error);
  return code === "" || code === "undefined" || message.includes(code)
    ? message
    : `${message}, ${code}`;
}
