// What each command may do: at its start the program gives up the programs and the network that only other
// commands need. The permissions that it is compiled with are those of all commands together (deno.json). From
// source, with all permissions, nothing is given up.

import { PROGRAMS } from "../system/programs.ts";
import type { CommandName } from "./command_line.ts";

type Program = keyof typeof PROGRAMS;

/** To list the microphones; also done to explain a wrong audio_device. */
const LISTING: readonly Program[] = ["find", "grep"];
/** To list their controls. */
const CONTROLS: readonly Program[] = ["amixer"];
const RECORDING: readonly Program[] = [
  ...LISTING,
  ...CONTROLS,
  ...["ffmpeg", "localFfmpeg", "setpriv", "kill", "timedatectl", "udevadm"] as const,
];

const NEEDS: Readonly<Record<CommandName, { programs: readonly Program[]; network: boolean }>> = {
  run: { programs: RECORDING, network: true },
  demo: { programs: RECORDING, network: true },
  check: { programs: [...RECORDING, "systemctl", "vcgencmd"], network: true },
  devices: { programs: [...LISTING, ...CONTROLS], network: false },
  install: { programs: ["systemctl", "systemdSysusers", "journalctl"], network: true },
  uninstall: { programs: ["systemctl", "userdel", "setpriv"], network: false },
  // For Deno, a Unix socket is the network.
  pause: { programs: [], network: true },
  resume: { programs: [], network: true },
  requeue: { programs: [...LISTING, "setpriv"], network: false },
  join: { programs: ["ffmpeg", "localFfmpeg", "setpriv"], network: false },
  verify: { programs: [], network: false },
  receive: { programs: [], network: true },
  conform: { programs: [], network: true },
  help: { programs: [], network: false },
  version: { programs: [], network: false },
};

/** Gives up what this command does not need, for the rest of the process. */
export function keepOnlyWhatIsNeeded(command: CommandName): void {
  const { programs, network } = NEEDS[command];
  for (const [name, path] of Object.entries(PROGRAMS)) {
    if (programs.some((needed) => needed === name)) continue;
    Deno.permissions.revokeSync({ name: "run", command: path });
  }
  if (!network) Deno.permissions.revokeSync({ name: "net" });
}
