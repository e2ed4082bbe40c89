// The local time of the machine by its own rules (tzdata). The rules that this program follows are those of the
// runtime it was built with: the two differ when a country has changed its time, and only one knows it.

import { outputOf } from "./child.ts";
import { PROGRAMS } from "./programs.ts";

export interface MachineZone {
  /** IANA name. */
  readonly zone: string;
  /** Offset from UTC now, such as "+03:00". */
  readonly offset: string;
}

/** Null if systemd does not say it. */
export async function readMachineZone(): Promise<MachineZone | null> {
  const text = await outputOf(PROGRAMS.timedatectl, ["status"])
    .then(({ stdout }) => stdout, () => "");
  // "Time zone: Europe/Moscow (MSK, +0300)"
  const [, zone, hours, minutes] = /^ *Time zone: (\S+) \([^)]*?([+-]\d\d)(\d\d)\)$/m.exec(text) ??
    [];
  return zone === undefined ? null : { zone, offset: `${hours}:${minutes}` };
}
