// Where the programs are that this one starts: absolute paths, so that nobody's PATH decides what root or
// the service runs. Debian 12 and 13 have all of them there (/bin is a link to /usr/bin). It starts nothing.

/** Paths of the programs of the system. A test replaces one in its own process. */
export const PROGRAMS = {
  amixer: "/usr/bin/amixer",
  dd: "/usr/bin/dd",
  find: "/usr/bin/find",
  grep: "/usr/bin/grep",
  journalctl: "/usr/bin/journalctl",
  kill: "/usr/bin/kill",
  rm: "/usr/bin/rm",
  setpriv: "/usr/bin/setpriv",
  systemctl: "/usr/bin/systemctl",
  systemdSysusers: "/usr/bin/systemd-sysusers",
  timedatectl: "/usr/bin/timedatectl",
  udevadm: "/usr/bin/udevadm",
  userdel: "/usr/sbin/userdel",
  vcgencmd: "/usr/bin/vcgencmd",
  ffmpeg: "/usr/bin/ffmpeg",
  /** One that the administrator has built; it is preferred. */
  localFfmpeg: "/usr/local/bin/ffmpeg",
};

/** The ffmpeg to start: that of the administrator if there is one, otherwise that of Debian. */
export function ffmpegProgram(): string {
  try {
    Deno.statSync(PROGRAMS.localFfmpeg);
    return PROGRAMS.localFfmpeg;
  } catch {
    return PROGRAMS.ffmpeg;
  }
}
