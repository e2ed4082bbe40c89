// What audio_device may say: how a microphone is named. Which one fits the name is not decided here. Pure.

/** What audio_device asks for. */
export type AudioDevice =
  | { readonly kind: "any" }
  | { readonly kind: "pcm"; readonly pcm: string }
  /** The socket as sysfs names it, `1-1.2`. */
  | { readonly kind: "usb_path"; readonly path: string }
  /** `serial` null: whatever it is. */
  | { readonly kind: "usb_id"; readonly vendorProduct: string; readonly serial: string | null }
  /** Part of the name, in any case; a whole name goes first. */
  | { readonly kind: "name"; readonly text: string };

/**
 * Whether a PCM name says more than which microphone it is. ALSA takes a whole configuration in place of a name, and
 * has PCMs that start a program, write a file or connect to a socket. Who writes the settings would act as the user
 * who opens the microphone, and `check` does so as root.
 */
export function isMoreThanName(pcm: string): boolean {
  return /[{}<>|/\\]|\b(?:tee|file|shm)\s*:/i.test(pcm);
}

/** What audio_device says (null: nothing); null if a `usb:` or `name:` is not well formed. */
export function parseAudioDevice(text: string | null): AudioDevice | null {
  if (text === null) return { kind: "any" };
  const [, scheme, rest = ""] = /^(usb|name):(.*)$/s.exec(text) ?? [];
  if (scheme === undefined) return { kind: "pcm", pcm: text };
  if (scheme === "name") return rest.trim() === "" ? null : { kind: "name", text: rest.trim() };
  if (/^\d+-\d+(\.\d+)*$/.test(rest)) return { kind: "usb_path", path: rest };
  const [, id, serial = null] = /^([0-9a-f]{4}:[0-9a-f]{4})(?::(.+))?$/i.exec(rest) ?? [];
  return id === undefined ? null : { kind: "usb_id", vendorProduct: id.toLowerCase(), serial };
}
