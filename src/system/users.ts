// Lets another program act as an ordinary user, for work that root must not do itself because that user could
// lead it elsewhere. It starts nothing.

import { PROGRAMS } from "./programs.ts";

/** Numbers of a user and a group. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

export const ROOT: User = { uid: 0, gid: 0 };

/** Who owns what stat() has told of. */
export function ownerIn({ uid, gid }: Pick<Deno.FileInfo, "uid" | "gid">): User {
  return { uid: uid ?? 0, gid: gid ?? 0 };
}

/**
 * The command as this user, in this group alone and without a way to more rights (setpriv(1)). It ends with the
 * thread that starts it. Start it without a terminal: the user could type there.
 */
export function asUser({ uid, gid }: User, command: readonly string[]): string[] {
  const identity = [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    "--clear-groups",
    "--no-new-privs",
    "--pdeathsig=KILL",
  ];
  return [PROGRAMS.setpriv, ...identity, "--", ...command];
}
