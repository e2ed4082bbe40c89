// The Debian package beside `install`: which of the two a system has. The package brings program, units and user;
// `install` then only configures it. Two programs under two units would not know of each other, so only one
// of them is ever in charge.

import { contentsOf } from "./install_root.ts";
import { exists } from "../system/disk.ts";

/** Where the package has its files. */
export const PACKAGED_PROGRAM = "/usr/bin/recorder-agent";
export const PACKAGED_UNIT = "/usr/lib/systemd/system/recorder-agent.service";

/** Whether the system below `root` has the package. */
export async function isPackaged(root: string): Promise<boolean> {
  return await exists(contentsOf(root, PACKAGED_UNIT));
}

/** @throws if another program than that of the package would be installed beside it. */
export function refuseSecond(executable: string): void {
  if (executable === PACKAGED_PROGRAM) return;
  throw new Error(
    `Cannot install ${executable} as only one program may be in charge, and the Debian package recorder-agent is ` +
      `installed: update that one (sudo apt-get install ./recorder-agent_….deb), or first remove it; ` +
      `recordings, configuration and token stay (sudo apt-get remove recorder-agent)`,
  );
}
