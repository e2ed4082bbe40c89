// The sorts of values of the configuration: how each is read, what is accepted, and how a refused one
// may be shown. No token is ever shown. address_values.ts has those of addresses in the network.

import { join } from "@std/path/join";
import { isMoreThanName, parseAudioDevice } from "./audio_device.ts";
import { parseMinute } from "./schedule.ts";
import { type Unit, UNITS, type Words } from "./words.ts";

export type Scalar = string | number | boolean;

/** A value that is not accepted; the reason reads on from the value: `"25:00"` + `is not a time`. */
export class Refusal {
  constructor(readonly reason: string) {}
}

/** A sort of value: how it is read, what is accepted, and how a refused one may be shown. */
export interface Kind<T> {
  readonly accepted: Words;
  readonly unit?: Unit;
  readonly read: (value: Scalar) => T | Refusal;
  readonly show?: (value: Scalar) => string;
  /** Of the path of a file: what is wrong with the file's content, or null. */
  readonly refuseContent?: (content: string) => string | null;
}

/** Shown in place of a secret. */
export const HIDDEN = "the value (not shown)";

/** Whether nobody else may read any value of this kind: a token, an URL that is one. */
export function isSecret({ show }: Kind<unknown>): boolean {
  return show?.("/") === HIDDEN;
}

// deno-lint-ignore no-control-regex -- no value has one: a line of a log or a file would end
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** A kind that is text in YAML and in a variable. */
export function text<T>(accepted: Words, read: (value: string) => T | Refusal): Kind<T> {
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
  return text(
    { en: words.join(" or "), ru: words.join(" или ") },
    (value) => words.find((word) => word === value) ?? new Refusal("is unknown"),
  );
}

/** Written as in YAML; a variable holds text. */
export const YES_OR_NO: Kind<boolean> = {
  accepted: { en: "true or false", ru: "true или false" },
  read: (value) => {
    const word = String(value).toLowerCase();
    return word === "true" || word === "false" ? word === "true" : new Refusal("is neither");
  },
};

function number(
  accepted: Words,
  isAccepted: (value: number) => boolean,
  unit?: Unit,
): Kind<number> {
  return {
    accepted,
    ...(unit === undefined ? {} : { unit }),
    read: (value) => {
      const isNumber = typeof value === "number"
        ? Number.isFinite(value)
        : typeof value === "string" && /^[+-]?(\d+\.?\d*|\.\d+)$/.test(value);
      if (!isNumber) return new Refusal("is not a number");
      return isAccepted(Number(value)) ? Number(value) : new Refusal("is out of range");
    },
  };
}

export function integer(lowest: number, highest: number, unit?: Unit): Kind<number> {
  return number(
    {
      en: `an integer from ${lowest} to ${highest}`,
      ru: `целое число от ${lowest} до ${highest}`,
    },
    (value) => Number.isInteger(value) && lowest <= value && value <= highest,
    unit,
  );
}

/** More than 0. The upper limit keeps a delay within what a timer can hold (2^31 ms). */
export function positive(unit: Unit, highest = 1_000_000): Kind<number> {
  const { en, ru } = UNITS[unit].ofThem;
  return number(
    {
      en: `a number of ${en} above 0, up to ${highest}`,
      ru: `число ${ru} больше 0, до ${highest}`,
    },
    (value) => 0 < value && value <= highest,
    unit,
  );
}

/** Both limits are accepted; `highest` null: there is none. */
export function numberFrom(lowest: number, highest: number | null, unit: Unit): Kind<number> {
  const { en, ru } = UNITS[unit].ofThem;
  const accepted = highest === null
    ? { en: `a number of ${en}, ${lowest} or more`, ru: `число ${ru}, ${lowest} или больше` }
    : {
      en: `a number of ${en} from ${lowest} to ${highest}`,
      ru: `число ${ru} от ${lowest} до ${highest}`,
    };
  return number(accepted, (value) => lowest <= value && value <= (highest ?? Infinity), unit);
}

/** @param what whose path, in the genitive. */
function absolutePath(what: Words): Kind<string> {
  const accepted = { en: `the absolute path of ${what.en}`, ru: `абсолютный путь ${what.ru}` };
  return text(accepted, (value) => {
    if (!value.startsWith("/")) return new Refusal("is not an absolute path");
    if (CONTROL.test(value)) return new Refusal("has a control character");
    return value.replace(/\/+$/, "") || "/";
  });
}

/** The path of a folder, without "." and "..", which every part of the program then reads alike. */
export function folder(what: Words): Kind<string> {
  const path = absolutePath(what);
  return {
    ...path,
    read: (value) => {
      const read = path.read(value);
      return read instanceof Refusal ? read : join(read);
    },
  };
}

/** The path of a file that must be readable when the configuration is. */
export function file(
  what: Words,
  refuseContent: (content: string) => string | null,
): Kind<string> {
  return { ...absolutePath(what), refuseContent };
}

export const UUID = text(
  {
    en: "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
    ru: "UUID, например 123e4567-e89b-12d3-a456-426614174000",
  },
  (value) =>
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)
      ? value.toLowerCase()
      : new Refusal("is not a UUID"),
);

/** Minute of the local day, 0..1439. */
export const TIME = {
  accepted: {
    en: "local time HH:MM from 00:00 to 23:59",
    ru: "местное время ЧЧ:ММ от 00:00 до 23:59",
  },
  read: (value: Scalar) =>
    (typeof value === "string" ? parseMinute(value) : null) ?? new Refusal("is not a time"),
} satisfies Kind<number>;

export const TOKEN: Kind<string> = {
  ...text(
    {
      en: "a token of visible ASCII characters without spaces (without the word Bearer)",
      ru: "токен из видимых символов ASCII без пробелов (без слова Bearer)",
    },
    (value) =>
      /^[\x21-\x7e]+$/.test(value)
        ? value
        : new Refusal("is empty or has a space, control or non-ASCII character"),
  ),
  show: () => HIDDEN,
};

export const TOKEN_FILE: Kind<string> = {
  ...file(
    { en: "a readable file with the token alone", ru: "читаемого файла, где только токен" },
    refuseToken,
  ),
  // Something that is not a path may be the token itself.
  show: (value) => typeof value === "string" && value.startsWith("/") ? quote(value) : HIDDEN,
};

export const AUDIO_DEVICE = text(
  {
    en: "usb:PATH (usb:1-1.2), usb:VID:PID[:SERIAL] (usb:0d8c:0014), name:TEXT or an ALSA PCM " +
      'name (plughw:1,0); "recorder-agent devices" lists what there is, with the words to paste',
    ru: "usb:ПУТЬ (usb:1-1.2), usb:VID:PID[:СЕРИЙНЫЙ-НОМЕР] (usb:0d8c:0014), name:ТЕКСТ или имя " +
      "PCM из ALSA (plughw:1,0); «recorder-agent devices» печатает готовые строки",
  },
  (value) => {
    if (value === "" || CONTROL.test(value)) return new Refusal("is not a PCM name");
    const wanted = parseAudioDevice(value);
    if (wanted === null) return new Refusal("names no microphone");
    if (wanted.kind === "pcm" && isMoreThanName(wanted.pcm)) {
      return new Refusal("is more than a name, and could start a program or write a file");
    }
    return value;
  },
);

/** `auto`, `mix` or the number of a channel, counted from 1. */
export const AUDIO_CHANNEL: Kind<"auto" | "mix" | number> = {
  accepted: {
    en: "auto, mix or the number of a channel, 1 to 32",
    ru: "auto, mix или номер канала от 1 до 32",
  },
  read: (value) => {
    if (value === "auto" || value === "mix") return value;
    const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
    if (typeof number !== "number") return new Refusal("is unknown");
    return Number.isInteger(number) && 1 <= number && number <= 32
      ? number
      : new Refusal("is out of range");
  },
};

/** The rates that Opus knows (RFC 6716, section 2.1.3). */
export const SAMPLE_RATE = number(
  { en: "8000, 12000, 16000, 24000 or 48000", ru: "8000, 12000, 16000, 24000 или 48000" },
  (value) => [8000, 12000, 16000, 24000, 48000].includes(value),
  "Hz",
);

/** What is wrong with the content of a file with a token, or null. */
export function refuseToken(content: string): string | null {
  return TOKEN.read(content.trim()) instanceof Refusal ? "holds no usable token" : null;
}

/** A value on one line, whatever is in it. */
export function quote(value: Scalar): string {
  const shown = JSON.stringify(value).replace(
    new RegExp(CONTROL, "g"),
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return shown.length <= 120 ? shown : `${shown.slice(0, 119)}…`;
}
