// Which proxy stands before a server, for every form of the variables; and that no password is shown.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { type Proxy, proxyFor } from "../../src/system/proxy.ts";

const proxyOf = (url: string, env: Record<string, string>): Proxy | null =>
  proxyFor(new URL(url), env);
const HTTPS = "https://api.example.com";

Deno.test("the variable of the scheme counts, then ALL_PROXY, in capitals first; empty is unset", () => {
  const shown = (url: string, env: Record<string, string>) => proxyOf(url, env)?.shown ?? null;
  const both = { HTTPS_PROXY: "http://a:1", HTTP_PROXY: "http://b:2" };
  assertEquals(shown(HTTPS, both), "HTTPS_PROXY (a:1)");
  assertEquals(shown("http://api.example.com", both), "HTTP_PROXY (b:2)");
  assertEquals(shown(HTTPS, { HTTP_PROXY: "http://b:2" }), null);
  assertEquals(
    shown(HTTPS, { https_proxy: "http://c:3", ALL_PROXY: "http://d:4" }),
    "https_proxy (c:3)",
  );
  assertEquals(shown(HTTPS, { HTTPS_PROXY: " ", all_proxy: "http://d:4" }), "all_proxy (d:4)");
  assertEquals(shown(HTTPS, {}), null);
});

Deno.test("a proxy may be written without a scheme and without a port, with a name or an address", () => {
  const place = (value: string) => {
    const proxy = proxyOf(HTTPS, { HTTPS_PROXY: value });
    return `${proxy?.hostname} ${proxy?.port}`;
  };
  assertEquals(place("http://proxy.example.com:3128/"), "proxy.example.com 3128");
  assertEquals(place("proxy.example.com:3128"), "proxy.example.com 3128");
  assertEquals(place("proxy"), "proxy 80");
  assertEquals(place("http://10.0.0.1"), "10.0.0.1 80");
  assertEquals(place("http://[::1]:8080"), "::1 8080");
});

Deno.test("user and password are sent as Basic, decoded, and never shown", () => {
  const proxy = proxyOf(HTTPS, { HTTPS_PROXY: "http://till%207:p%40ss%C3%A9@proxy:3128" });
  assertEquals(
    proxy?.authorization,
    `Basic ${new TextEncoder().encode("till 7:p@ssé").toBase64()}`,
  );
  assertEquals(proxy?.shown, "HTTPS_PROXY (proxy:3128)");
  assertEquals(proxyOf(HTTPS, { HTTPS_PROXY: "http://u:100%@p" })?.authorization, "Basic dToxMDAl");
});

Deno.test("another kind of proxy is refused with the variable and what is accepted, without a password", () => {
  for (
    const value of ["socks5://u:secret@p:1080", "https://u:secret@p", "http://", "http://p:99999"]
  ) {
    const { message } = assertThrows(() => proxyOf(HTTPS, { https_proxy: value }), Error);
    assertMatch(message, /^Cannot use the proxy in https_proxy as it must be http:\/\/HOST:PORT/);
    assertEquals(message.includes("secret"), false, message);
  }
});

Deno.test("a server on this machine is reached without the proxy", () => {
  const env = {
    HTTPS_PROXY: "http://proxy",
    HTTP_PROXY: "http://proxy",
    ALL_PROXY: "http://proxy",
  };
  for (const host of ["localhost", "127.0.0.1:8443", "127.9.9.9", "[::1]:8443"]) {
    for (const scheme of ["http", "https"]) assertEquals(proxyOf(`${scheme}://${host}`, env), null);
  }
  for (const host of ["localhost.example", "127.example", "[::2]", "128.0.0.1"]) {
    assertEquals(proxyOf(`https://${host}`, env)?.hostname, "proxy", host);
  }
});

const exceptions: [list: string, host: string, isDirect: boolean][] = [
  ["*", "anything.example", true],
  ["api.example.com", "api.example.com", true],
  ["API.Example.com", "api.example.com", true],
  ["example.com", "api.example.com", true],
  [".example.com", "api.example.com", true],
  ["*.example.com", "api.example.com", true],
  ["example.com", "badexample.com", false],
  ["le.com", "example.com", false],
  ["other.com, example.com", "example.com", true],
  ["other.com example.com", "example.com", true],
  ["example.com:443", "example.com", true],
  ["example.com:8443", "example.com", false],
  ["10.0.0.1", "10.0.0.1", true],
  ["0.0.0.1", "10.0.0.1", false],
  ["10.0.0.0/8", "10.200.3.4", true],
  ["10.0.0.0/8", "11.0.0.1", false],
  ["192.168.1.0/24", "192.168.2.1", false],
  ["0.0.0.0/0", "8.8.8.8", true],
  ["10.0.0.0/33", "10.0.0.0", false],
  ["10.0.0.0/8", "ten.example", false],
  ["fd00::1", "[fd00::1]", true],
  ["[fd00::1]", "[fd00::1]", true],
  ["[fd00::1]:443", "[fd00::1]", true],
  ["[fd00::1]:1", "[fd00::1]", false],
  ["fd00::2", "[fd00::1]", false],
  ["", "example.com", false],
  [",,", "example.com", false],
];

for (const [list, host, isDirect] of exceptions) {
  Deno.test(`NO_PROXY "${list}" ${isDirect ? "excepts" : "does not except"} ${host}`, () => {
    const env = { HTTPS_PROXY: "http://proxy", NO_PROXY: list };
    assertEquals(proxyOf(`https://${host}`, env) === null, isDirect);
    const lower = { https_proxy: "http://proxy", no_proxy: list };
    assertEquals(proxyOf(`https://${host}`, lower) === null, isDirect);
  });
}
