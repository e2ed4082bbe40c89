// The sorts of values of the configuration that say where something is sent, and with which header fields. No part of a
// URL in which a password or a secret may be is ever shown.

import { HIDDEN, type Kind, quote, Refusal, text } from "./config_values.ts";

/** Without a slash at its end. `added` is the path that the program adds. */
function baseUrl(example: string, added: string): Kind<string> {
  return {
    ...text(
      {
        en: `an http:// or https:// URL without user, query and fragment, such as ${example}`,
        ru:
          `URL http:// или https:// без пользователя, параметров и фрагмента, например ${example}`,
      },
      (value) => {
        const url = httpUrl(value);
        if (url instanceof Refusal) return url;
        if (/[?#]/.test(value)) return new Refusal("has a query or fragment");
        if (url.pathname.replace(/\/+$/, "").endsWith(added)) {
          return new Refusal(`ends with ${added}, which is added to it`);
        }
        return url.origin + url.pathname.replace(/\/+$/, "");
      },
    ),
    // Whatever stands where a password or an access key would is left out.
    show: (value) =>
      quote(String(value).replace(/^(https?:\/\/)?.*@/s, "$1…@").replace(/[?#].*/s, "?…")),
  };
}

function httpUrl(value: string): URL | Refusal {
  if (!/^https?:\/\/[^/]/i.test(value) || /[\s\\]/.test(value) || !URL.canParse(value)) {
    return new Refusal("is not an http or https URL");
  }
  const url = new URL(value);
  if (url.username !== "" || url.password !== "") return new Refusal("has a user or password");
  return url;
}

export const BASE_URL = baseUrl("https://ingest.example.com", "/api/v1/chunks");

export const OTLP_URL = baseUrl("https://otlp.example.com:4318", "/v1/metrics");

/** Its path is the secret of the till: anybody who knows it can ping for it. */
export const PING_URL: Kind<string> = {
  ...text(
    {
      en: "an http:// or https:// URL without user and fragment, such as " +
        "https://hc.example.com/ping/UUID",
      ru: "URL http:// или https:// без пользователя и фрагмента, например " +
        "https://hc.example.com/ping/UUID",
    },
    (value) => {
      const url = httpUrl(value);
      if (url instanceof Refusal) return url;
      return value.includes("#") ? new Refusal("has a fragment") : url.href;
    },
  ),
  show: () => HIDDEN,
};

/** Names and values of headers (RFC 9110, section 5), as OTEL_EXPORTER_OTLP_HEADERS has them. */
export const HEADERS: Kind<Readonly<Record<string, string>>> = {
  ...text(
    {
      en: "header fields NAME=VALUE with commas between them, values percent-encoded, such as " +
        "authorization=Bearer%20TOKEN",
      ru: "поля заголовка ИМЯ=ЗНАЧЕНИЕ через запятую, значения в процентной кодировке, например " +
        "authorization=Bearer%20TOKEN",
    },
    (value) => {
      const fields: Record<string, string> = {};
      for (const pair of value.split(",")) {
        const [, name = "", encoded = ""] =
          /^\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
        const decoded = percentDecoded(encoded);
        if (name === "") return new Refusal("has a part that is not NAME=VALUE");
        if (decoded === null || !/^[\x20-\x7e]+$/.test(decoded)) {
          return new Refusal(`has no valid value for the field ${name}`);
        }
        if (FRAMING.includes(name.toLowerCase())) {
          return new Refusal(`has the field ${name}, which the program sets itself`);
        }
        fields[name.toLowerCase()] = decoded;
      }
      return fields;
    },
  ),
  show: () => HIDDEN,
};

/** Fields that belong to the connection or the body. */
const FRAMING = ["connection", "content-length", "content-type", "host", "transfer-encoding"];

function percentDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
