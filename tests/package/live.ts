// deno-lint-ignore-file no-console -- a person runs this
// The package on a system whose systemd runs: a first boot, updates during a trial, a card that cannot be written,
// and the LED. The till records silence from ALSA's "null", and has no server.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { LiveSystem } from "./live_system.ts";

/** The versions of the packages in /files; DEAF has a program that finds no microphone. */
const [FIRST, SECOND, DEAF, THIRD] = ["0.9.1", "0.9.2", "0.9.3", "0.9.4"] as const;
export const LIVE_VERSIONS = { good: [FIRST, SECOND, THIRD], deaf: DEAF };
export const DEAF_PROGRAM = `#!/bin/sh
RA_AUDIO_DEVICE=plughw:9,0 exec /usr/bin/recorder-agent.old "$@"
`;

const SETTINGS = `point_id: 11111111-1111-4111-8111-111111111111
ingest_base_url: http://127.0.0.1:9
ingest_token: a-token
schedule_start: "00:00"
schedule_end: "00:00"
min_free_gb: 0
`;
const BOOT = "/boot/firmware";
const UPDATES = "/var/lib/recorder-agent-update";

const install = (version: string) => `dpkg --install /files/recorder-agent_${version}_amd64.deb`;
/** Waits until the status line begins like that. */
const until = (start: string) =>
  `timeout 120 sh -c 'until systemctl show recorder-agent -p StatusText | grep -q "=${start}"; do sleep 0.2; done'`;
const RECORDS = until("Recording ");
const untilIs = (path: string, text: string) =>
  `timeout 60 sh -c 'until grep -qx "${text}" ${path}; do sleep 0.2; done'`;

/** Ends the script if the unit is that. `set -e` does not look at "! systemctl …". */
const isNot = (what: string, unit = "recorder-agent") =>
  `if systemctl is-${what} ${unit}; then exit 1; fi`;

/** @param system a folder with a Debian. @param files a folder with the packages. */
export async function live(system: string, files: string): Promise<void> {
  await using till = await LiveSystem.boot(system, files);
  await firstBoot(till);
  await updateDuringTrial(till);
  await replaceDuringTrial(till);
  await stopDuringTrial(till);
  await installAgain(till);
  await readOnlyCard(till);
  await led(till);
}

async function firstBoot(till: LiveSystem): Promise<void> {
  await till.run(`mkdir -p ${BOOT} /etc/recorder-agent
echo RA_AUDIO_DEVICE=null > /etc/recorder-agent/env
cat > ${BOOT}/recorder-agent.yaml <<'END'
${SETTINGS}END
${install(FIRST)}
${RECORDS}`);
  assertEquals(await till.run(`ls ${BOOT}`), "recorder-agent.txt\n");
  assertMatch(await till.run(`cat ${BOOT}/recorder-agent.txt`), /\nRunning: /);
  assertEquals(await till.run("cat /etc/recorder-agent/token"), "a-token\n");
  console.log("✔ first boot: the file is taken and the till records");
}

async function updateDuringTrial(till: LiveSystem): Promise<void> {
  const said = await till.run(`# A user who would block updates.
setsid setpriv --reuid=nobody flock /run sleep infinity > /dev/null 2>&1 &
timeout 60 sh -c 'while flock --nonblock /run true; do sleep 0.2; done'
${install(SECOND)}
grep '^to=' ${UPDATES}/trial
timeout 300 recorder-agent install --set chunk_seconds=30
if setpriv --reuid=nobody flock --nonblock /run/recorder-agent-install.lock true; then exit 1; fi
ls ${UPDATES}
${RECORDS}`);
  assertMatch(said, new RegExp(`to=${SECOND}\nAn earlier update is on trial. Waiting`));
  assertMatch(said, /Write the configuration[^]*Running: /);
  assert(!/^trial$/m.test(said), said);
  console.log("✔ install waits for the end of a trial; a user cannot block them");
}

async function replaceDuringTrial(till: LiveSystem): Promise<void> {
  const said = await till.run(`${install(DEAF)}
${until("NOT recording")}
${install(THIRD)}
${untilIs(`${UPDATES}/trial`, "before=.*")}
cat ${UPDATES}/trial
head -c 4 /usr/bin/recorder-agent.old | tail -c 3; echo
systemctl start --wait recorder-agent-update
ls ${UPDATES}
${RECORDS}`);
  assertMatch(said, new RegExp(`to=${THIRD}\nheard=yes\nbefore=.+\nheard=yes\nELF\n$`));
  console.log("✔ a package that replaces one on trial: the accepted program stays the way back");
}

async function stopDuringTrial(till: LiveSystem): Promise<void> {
  await till.run(`invocation() { systemctl show recorder-agent -P InvocationID; }
export -f invocation
export previous=$(invocation)
${install(SECOND)}
timeout 60 bash -c 'while [ "$(invocation)" = "$previous" ]; do sleep 0.2; done'
systemctl stop recorder-agent
timeout 60 sh -c 'while systemctl is-active -q recorder-agent-update; do sleep 0.2; done'
[ -e ${UPDATES}/trial ]
systemctl start recorder-agent
systemctl is-active -q recorder-agent-update
timeout 120 sh -c 'while [ -e ${UPDATES}/trial ]; do sleep 0.2; done'
[ ! -e ${UPDATES}/rolled-back ]
${RECORDS}
systemctl restart recorder-agent
${isNot("active", "recorder-agent-update")}`);
  console.log("✔ a trial that a stop has interrupted continues at the next start");
}

async function installAgain(till: LiveSystem): Promise<void> {
  await till.run(`dpkg --remove recorder-agent
${isNot("active")}
${install(THIRD)}
${RECORDS}
systemctl mask recorder-agent-update
${install(SECOND)}
[ ! -e ${UPDATES}/trial ]
${RECORDS}
systemctl unmask recorder-agent-update
systemctl disable recorder-agent
systemctl stop recorder-agent
${install(THIRD)}
${isNot("active")}
${isNot("enabled")}
systemctl enable --now recorder-agent
${RECORDS}`);
  console.log(
    "✔ removed and installed again it runs; masked, there is no trial; disabled, no start",
  );
}

async function readOnlyCard(till: LiveSystem): Promise<void> {
  const left = await till.run(`rm ${BOOT}/*
printf '%s\\n' 'chunk_seconds: 40' 'ingest_token: another-token' > ${BOOT}/recorder-agent.yaml
mount --bind ${BOOT} ${BOOT}
mount -o remount,bind,ro ${BOOT}
systemctl start recorder-agent-setup
first=$(systemctl show recorder-agent -P InvocationID)
systemctl start recorder-agent-setup
[ "$(systemctl show recorder-agent -P InvocationID)" = "$first" ]
systemctl stop recorder-agent
systemctl start recorder-agent-setup
systemctl is-active -q recorder-agent
ls ${BOOT}
cat /etc/recorder-agent/token
grep '^chunk_seconds' /etc/recorder-agent/config.yaml
umount ${BOOT}
rm ${BOOT}/*`);
  assertEquals(left, "recorder-agent.yaml\nanother-token\nchunk_seconds: 40\n");
  console.log("✔ a card that cannot be written: the settings are taken once, the file stays");
}

/** The kernel has no LED here: a folder stands in for it. */
async function led(till: LiveSystem): Promise<void> {
  const folder = "/sys/class/leds/ACT";
  const trigger = await till.run(`mount -t tmpfs tmpfs /sys/class
mkdir -p ${folder}
echo 0 > ${folder}/brightness
echo 255 > ${folder}/max_brightness
echo 'none [mmc0] timer' > ${folder}/trigger
systemctl enable --now recorder-agent-led@ACT
${RECORDS}
${untilIs(`${folder}/brightness`, "255")}
recorder-agent pause 5m
${untilIs(`${folder}/brightness`, "0")}
recorder-agent resume
${untilIs(`${folder}/brightness`, "255")}
systemctl stop recorder-agent
${untilIs(`${folder}/trigger`, "mmc0")}
systemctl start recorder-agent
${untilIs(`${folder}/trigger`, "none")}
dpkg --purge recorder-agent
cat ${folder}/trigger
ls /etc/systemd/system | grep recorder-agent || true`);
  assertMatch(trigger, /\nmmc0\n$/, trigger);
  console.log("✔ the LED follows recording, pause and stop; purged, it shows what it did before");
}
