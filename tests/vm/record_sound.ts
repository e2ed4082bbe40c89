// Records how a real kernel describes its microphones in the relevant states, as the files of
// tests/fixtures/sound: /proc/asound, and the links and serial numbers of /sys.

import { join } from "@std/path/join";
import type { Rig } from "./rig.ts";

const READ = String.raw`
cd /
for file in $(find proc/asound -type f \( -name cards -o -name pcm -o -name id -o -name usbid \
    -o -name usbbus -o -name info -o -name 'stream*' \) 2>/dev/null | grep -v oss | sort) \
    $(for card in sys/class/sound/card*; do
        serial=$(readlink -f "$card/device/../serial") && [ -e "$serial" ] && echo "$serial"
      done | sed 's,^/,,'); do
  printf '==> /%s <==\n' "$file"
  cat "$file"
  echo
done
for link in $(find proc/asound -maxdepth 1 -type l ! -name oss 2>/dev/null | sort) \
    sys/class/sound/card*; do
  [ -L "$link" ] && printf '/%s -> %s\n' "$link" "$(readlink "$link")"
done
for card in sys/class/sound/card*; do
  at=$(readlink -f "$card") && [ -L "$at/device" ] && printf '%s -> %s\n' "$at/device" "$(readlink "$at/device")"
done
true`;

/** Records each state into `folder`. It stops the service, so that no device is open. */
export async function recordSound(rig: Rig, folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await rig.running.microphone.atBoot(false);
  await rig.running.guest.run("systemctl -q disable --now recorder-agent; sync");
  await rig.switchOff("poweroff");
  const { guest, microphone, second } = await rig.boot();
  const record = async (name: string) => {
    await Deno.writeTextFile(join(folder, `${name}.txt`), await guest.run(READ));
  };
  await record("guest_before_the_first_plug");
  await microphone.configure("-s AB12");
  await microphone.plug();
  await guest.run("udevadm settle");
  await record("guest_one_usb_microphone");
  await microphone.unplug();
  await guest.run("udevadm settle");
  await record("guest_after_unplug");
  await microphone.configure("");
  await microphone.plug();
  await second.plug();
  await guest.run("udevadm settle");
  await record("guest_two_equal_usb_microphones");
  await microphone.unplug();
  await second.unplug();
  await second.plug();
  await microphone.plug();
  await guest.run("udevadm settle");
  await record("guest_two_replugged_in_the_other_order");
}
