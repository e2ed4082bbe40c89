// Which proxy stands before a server, by the standard variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and
// NO_PROXY, in capitals or not. It sends nothing, and never shows the password of a proxy. Pure.

/** An HTTP proxy. */
export interface Proxy {
  /** The name or address, without the brackets of IPv6. */
  readonly hostname: string;
  readonly port: number;
  /** For `Proxy-Authorization`, or null. */
  readonly authorization: string | null;
  /** As messages may show it: the variable and the address, without user and password. */
  readonly shown: string;
}

/**
 * The proxy for a server, or null if it is reached directly, as one on this machine always is: a proxy would look
 * for it on its own machine.
 * @param env environment variables; an empty one counts as unset
 * @throws {Error} that names the variable if its proxy cannot be used.
 */
export function proxyFor(url: URL, env: Readonly<Record<string, string>>): Proxy | null {
  const own = url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY";
  const given = variable(env, own) ?? variable(env, "ALL_PROXY");
  if (given === null || isThisMachine(url.hostname)) return null;
  if (isExcepted(url, variable(env, "NO_PROXY")?.value ?? "")) return null;
  const { name, value } = given;
  const written = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const proxy = URL.canParse(written) ? new URL(written) : null;
  if (proxy?.protocol !== "http:" || proxy.hostname === "") {
    throw new Error(
      `Cannot use the proxy in ${name} as it must be http://HOST:PORT or ` +
        `http://USER:PASSWORD@HOST:PORT: current value is ${JSON.stringify(hideUser(value))}`,
    );
  }
  const { username, password } = proxy;
  const encoder = new TextEncoder();
  return {
    hostname: withoutBrackets(proxy.hostname),
    port: Number(proxy.port) || 80,
    authorization: username === "" && password === ""
      ? null
      : `Basic ${encoder.encode(`${decode(username)}:${decode(password)}`).toBase64()}`,
    shown: `${name} (${proxy.host})`,
  };
}

/** Whether this host name of a URL can only be this machine. */
export function isThisMachine(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" ||
    /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** `[::1]` is `::1`. */
export function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}

function variable(env: Readonly<Record<string, string>>, name: string) {
  for (const spelled of [name, name.toLowerCase()]) {
    const value = (env[spelled] ?? "").trim();
    if (value !== "") return { name: spelled, value };
  }
  return null;
}

/**
 * Whether NO_PROXY lists the server: `*`, a name (with all names below it), an address, or a range of
 * IPv4 addresses such as 10.0.0.0/8; each may end with a port.
 */
function isExcepted(url: URL, list: string): boolean {
  const host = withoutBrackets(url.hostname).toLowerCase().replace(/\.$/, "");
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return list.split(/[\s,]+/).some((entry) => {
    const [, bracketed, plain = "", wanted] =
      /^(?:\[([^\]]*)\]|([^:]*|[^:]*:.*:.*?))(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    if (wanted !== undefined && wanted !== port) return false;
    const name = (bracketed ?? plain).replace(/^\*?\./, "");
    if (name === "") return false;
    return name === "*" || host === name || isBelow(host, name) || isInRange(host, name);
  });
}

function isBelow(host: string, name: string): boolean {
  return host.endsWith(`.${name}`) && parseV4(host) === null;
}

function isInRange(host: string, range: string): boolean {
  const [network = "", bits = "", more] = range.split("/");
  const [address, base] = [parseV4(host), parseV4(network)];
  if (address === null || base === null || more !== undefined || !/^\d\d?$/.test(bits)) {
    return false;
  }
  const size = 2 ** (32 - Number(bits));
  return size >= 1 && Math.floor(address / size) === Math.floor(base / size);
}

/** The number of an IPv4 address, or null. */
function parseV4(text: string): number | null {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) {
    return null;
  }
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** A percent-encoded part of a URL; as it is if it is not encoded. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Whatever stands where a user and a password would is left out. */
function hideUser(value: string): string {
  return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1…@");
}
