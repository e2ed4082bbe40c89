// The sorts of values of the configuration: how each is read, what is accepted, and how a refused one
// may be shown. No token is ever shown.

import { parseAudioDevice } from "./audio_device.ts";
import { parseMinute } from "./schedule.ts";

export type Scalar = string | number | boolean;

/** A value that is not accepted; the reason reads on from the value: `"25:00"` + `is not a time`. */
export class Refusal {
  constructor(readonly reason: string) {}
}

/** A sort of value: how it is read, what is accepted, and how a refused one may be shown. */
export interface Kind<T> {
  readonly accepted: string;
  readonly read: (value: Scalar) => T | Refusal;
  readonly show?: (value: Scalar) => string;
}

const HIDDEN = "the value (not shown)";

// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

function text<T>(accepted: string, read: (value: string) => T | Refusal): Kind<T> {
  return {
    accepted,
    // YAML has already lost what was written: 007 is 7, and long numbers are rounded.
    read: (value) =>
      typeof value === "string"
        ? read(value)
        : new Refusal(`is a ${typeof value} to YAML, not text (put it in quotes)`),
  };
}

export function oneOf<T extends string>(...words: readonly T[]): Kind<T> {
  const accepted = words.join(" or ");
  return text(
    accepted,
    (value) => words.find((word) => word === value) ?? new Refusal("is unknown"),
  );
}

export function number(
  accepted: string,
  isAccepted: (value: number) => boolean,
): Kind<number> {
  return {
    accepted,
    read: (value) => {
      const isNumber = typeof value === "number"
        ? Number.isFinite(value)
        : typeof value === "string" && /^[+-]?(\d+\.?\d*|\.\d+)$/.test(value);
      if (!isNumber) return new Refusal("is not a number");
      return isAccepted(Number(value)) ? Number(value) : new Refusal("is out of range");
    },
  };
}

export function integer(lowest: number, highest: number): Kind<number> {
  return number(
    `an integer from ${lowest} to ${highest}`,
    (value) => Number.isInteger(value) && lowest <= value && value <= highest,
  );
}

/** More than 0. The upper limit keeps a delay within what a timer can hold (2^31 ms). */
export function positive(unit: string, highest = 1_000_000): Kind<number> {
  return number(
    `a number of ${unit} above 0, up to ${highest}`,
    (value) => 0 < value && value <= highest,
  );
}

export function absolutePath(what: string): Kind<string> {
  return text(`the absolute path of ${what}`, (value) => {
    if (!value.startsWith("/")) return new Refusal("is not an absolute path");
    if (CONTROL.test(value)) return new Refusal("has a control character");
    return value.replace(/\/+$/, "") || "/";
  });
}

export const UUID = text(
  "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
  (value) =>
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)
      ? value.toLowerCase()
      : new Refusal("is not a UUID"),
);

export const TIME = {
  accepted: "local time HH:MM from 00:00 to 23:59",
  read: (value: Scalar) =>
    (typeof value === "string" ? parseMinute(value) : null) ?? new Refusal("is not a time"),
};

export const BASE_URL: Kind<string> = {
  ...text(
    "an http:// or https:// URL without user, query and fragment, such as https://ingest.example.com",
    (value) => {
      if (!/^https?:\/\/[^/]/i.test(value) || /[\s\\]/.test(value) || !URL.canParse(value)) {
        return new Refusal("is not an http or https URL");
      }
      const url = new URL(value);
      if (url.username !== "" || url.password !== "") {
        return new Refusal("has a user or password");
      }
      if (/[?#]/.test(value)) return new Refusal("has a query or fragment");
      if (/\/api\/v1\/chunks\/*$/.test(url.pathname)) {
        return new Refusal("ends with /api/v1/chunks, which is added to it");
      }
      return url.origin + url.pathname.replace(/\/+$/, "");
    },
  ),
  // Whatever stands where a password or an access key would is left out.
  show: (value) =>
    quote(String(value).replace(/^(https?:\/\/)?.*@/s, "$1…@").replace(/[?#].*/s, "?…")),
};

export const TOKEN: Kind<string> = {
  ...text(
    "a token of visible ASCII characters without spaces (without the word Bearer)",
    (value) =>
      /^[\x21-\x7e]+$/.test(value)
        ? value
        : new Refusal("is empty or has a space, control or non-ASCII character"),
  ),
  show: () => HIDDEN,
};

export const TOKEN_FILE: Kind<string> = {
  ...absolutePath("a readable file with the token alone"),
  // Something that is not a path may be the token itself.
  show: (value) => typeof value === "string" && value.startsWith("/") ? quote(value) : HIDDEN,
};

export const AUDIO_DEVICE = text(
  "usb:PATH (usb:1-1.2), usb:VID:PID[:SERIAL] (usb:0d8c:0014), name:TEXT or an ALSA PCM name " +
    '(plughw:1,0); "recorder-agent devices" lists what there is, with the words to paste',
  (value) => {
    if (value === "" || CONTROL.test(value)) return new Refusal("is not a PCM name");
    if (parseAudioDevice(value) === null) return new Refusal("names no microphone");
    return value;
  },
);

/** The rates that Opus knows (RFC 6716, section 2.1.3). */
export const SAMPLE_RATE = number(
  "8000, 12000, 16000, 24000 or 48000",
  (value) => [8000, 12000, 16000, 24000, 48000].includes(value),
);

/** A value on one line, whatever is in it. */
export function quote(value: Scalar): string {
  const shown = JSON.stringify(value).replace(
    new RegExp(CONTROL, "g"),
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return shown.length <= 120 ? shown : `${shown.slice(0, 119)}…`;
}
