// The processes that have a microphone open, and how a person gets it back from them. Pure: sound_system.ts finds
// them.

/** A process that has a microphone open. */
export interface Holder {
  readonly pid: number;
  /**
   * Its short name from /proc/PID/comm; if that is hidden (ProtectProc= of systemd), the unit that it
   * belongs to; null if this user may see neither.
   */
  readonly program: string | null;
  /** It belongs to the unit of this program. */
  readonly isOwn?: true;
  /** The service of systemd that starts it, of the system or of a user. */
  readonly service?: { readonly name: string; readonly isUsers: boolean };
}

/** The units of each sound server: one alone would be started again by another. */
const SOUND_SERVERS: readonly (readonly [RegExp, string])[] = [
  [/^(pipewire|wireplumber)/, "pipewire.socket pipewire.service wireplumber.service"],
  [/^pulseaudio/, "pulseaudio.socket pulseaudio.service"],
];

/** How to get a microphone back from the processes that have it open, for good. */
export function stopHolders(holders: readonly Holder[]): string {
  if (holders.length === 0) return "Find it with sudo fuser -v /dev/snd/* and stop it";
  const foreign = holders.filter(({ isOwn }) => isOwn !== true);
  return foreign.length === 0
    ? "Check whether the service is recording (systemctl status recorder-agent); if it is not, " +
      "restart it: sudo systemctl restart recorder-agent"
    : foreign.map(stopHolder).filter((fix, i, all) => all.indexOf(fix) === i).join("; ");
}

function stopHolder({ pid, program, service }: Holder): string {
  const known = [program ?? "", service?.name ?? ""];
  const [, server] = SOUND_SERVERS.find(([name]) => known.some((text) => name.test(text))) ?? [];
  const isUsers = service?.isUsers ?? server !== undefined;
  if (service !== undefined && !isUsers) {
    return `Stop it for good: sudo systemctl disable --now ${service.name}`;
  }
  const units = server ?? service?.name;
  // Without a restart, the running session of the user would start it again.
  return units === undefined
    ? `Stop it: sudo kill ${pid}`
    : `Stop it for good: sudo systemctl --global mask ${units}, then restart the machine`;
}
