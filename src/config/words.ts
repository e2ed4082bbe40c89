// Words of the configuration in the languages of the documentation, and the units of its numbers. Pure.

/** The same text in each language of the documentation. */
export interface Words {
  readonly en: string;
  readonly ru: string;
}

export type Language = keyof Words;

/** The unit of a number: "a number *of seconds*", "length, *in seconds*". */
interface UnitWords {
  readonly ofThem: Words;
  readonly inThem: Words;
}

export const UNITS = {
  seconds: {
    ofThem: { en: "seconds", ru: "секунд" },
    inThem: { en: "in seconds", ru: "в секундах" },
  },
  days: { ofThem: { en: "days", ru: "дней" }, inThem: { en: "in days", ru: "в днях" } },
  GB: { ofThem: { en: "GB", ru: "ГБ" }, inThem: { en: "in GB", ru: "в ГБ" } },
  "kbit/s": { ofThem: { en: "kbit/s", ru: "кбит/с" }, inThem: { en: "in kbit/s", ru: "в кбит/с" } },
  "%": {
    ofThem: { en: "percent", ru: "процентов" },
    inThem: { en: "in percent", ru: "в процентах" },
  },
  dB: { ofThem: { en: "dB", ru: "дБ" }, inThem: { en: "in dB", ru: "в дБ" } },
  Hz: { ofThem: { en: "Hz", ru: "Гц" }, inThem: { en: "in Hz", ru: "в Гц" } },
} satisfies Readonly<Record<string, UnitWords>>;

export type Unit = keyof typeof UNITS;
