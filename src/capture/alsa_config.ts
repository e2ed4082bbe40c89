// An ALSA configuration of our own, with the two PCMs that open a device which was found: `hw:` and `plughw:`. With
// it, a broken or clever asound.conf has no say, and neither have the configurations that sound servers install.
// The definitions are those of alsa-lib's alsa.conf (1.0 to 1.2), without its hooks and hints.

import { join } from "@std/path/join";
import { PRIVATE_FILE, removeIfThereSync } from "../system/disk.ts";

const ARGUMENTS = `
  @args [ CARD DEV SUBDEV ]
  @args.CARD { type string default "0" }
  @args.DEV { type integer default 0 }
  @args.SUBDEV { type integer default -1 }
`;

const ALSA_CONFIG = `# Written by recorder-agent at each start of ffmpeg.
pcm.hw {${ARGUMENTS}  type hw
  card $CARD
  device $DEV
  subdevice $SUBDEV
}
pcm.plughw {${ARGUMENTS}  type plug
  slave.pcm {
    type hw
    card $CARD
    device $DEV
    subdevice $SUBDEV
  }
}
ctl.hw {
  @args [ CARD ]
  @args.CARD { type string default "0" }
  type hw
  card $CARD
}
`;

/**
 * The variables with which ffmpeg opens a device that was found. Empty if the configuration cannot be written to
 * this folder, or if there is none: the one of the system must do.
 */
export function alsaEnvironment(dir: string | null): Record<string, string> {
  if (dir === null) return {};
  const path = join(dir, "alsa.conf");
  try {
    removeIfThereSync(path); // never written through a link, or into a pipe
    Deno.writeTextFileSync(path, ALSA_CONFIG, { mode: PRIVATE_FILE, createNew: true });
    return { ALSA_CONFIG_PATH: path };
  } catch {
    return {};
  }
}
