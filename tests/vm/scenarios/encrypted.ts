// Scenario of docs/how-to/encrypted-spool.md: runs the commands of the page word by word, with a smaller volume and
// without its download, and then reboots. The page decides what happens here; this module holds no copy of it.

import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { UNIT } from "../service.ts";

const PAGE = new URL("../../../docs/how-to/encrypted-spool.md", import.meta.url);
const VOLUME = "/var/lib/recorder-agent-spool.img";
const SPOOL_UNIT = "/etc/systemd/system/recorder-agent-spool.service";
const DROP_IN = "/etc/systemd/system/recorder-agent.service.d/override.conf";
const PASSPHRASE = "the words that open it without the till";

/** What differs in the guest, which has no network and a small disk; each must be on the page. */
const CHANGES: readonly (readonly [string, string])[] = [
  ["sudo apt-get install --yes cryptsetup\n", ""],
  ["--length 20GB", "--length 300MB"],
  ["--set max_spool_gb=18", "--set max_spool_gb=0.2 --set min_free_gb=0.05"],
  ["sudo cryptsetup luksAddKey", `echo '${PASSPHRASE}' | sudo cryptsetup luksAddKey`],
];

async function encrypted(rig: Rig, report: Report): Promise<void> {
  const [make, spoolUnit, waits, start] = await blocks();
  const { guest } = rig.running;
  const sudo = 'set -e; sudo() { "$@"; }\n';
  await guest.run(sudo + make);
  await guest.run(
    `cat > ${SPOOL_UNIT} <<'END'\n${spoolUnit}END\ncat > ${DROP_IN} <<'END'\n${waits}END`,
  );
  const sinceS = await guest.uptimeS();
  const said = await rig.whileChecked(() => guest.run(sudo + start));
  rig.expectedRestarts = 0;
  report.holds(
    "check finds everything in order",
    !/✘|✗/.test(said),
    said.trim().split("\n").at(-1),
  );
  const first = await rig.running.journal.next("Recording.", { sinceS, limitS: 60 });
  await rig.running.journal.next("Delivered.", { sinceS: first.atS, limitS: 60 });
  report.holds("it records into the volume", await isInVolume(rig));

  await rig.switchOff("reboot");
  const { journal } = await rig.boot();
  const sound = await journal.next("Recording.", { sinceS: 0, limitS: 120 });
  await journal.next("Delivered.", { sinceS: sound.atS, limitS: 60 });
  await rig.settled();
  report.measured("boot → first packet", `${sound.atS.toFixed(1)} s`);
  report.holds("after a reboot it records into the volume unattended", await isInVolume(rig));
  await checkVolume(rig, report);
  await putBack(rig);
}

/** What the page says about a volume that is at rest, and about one that cannot be opened. */
async function checkVolume(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  await guest.run(`systemctl stop ${UNIT} recorder-agent-spool`);
  const marks = (await guest.try(`grep -c -a -e OggS -e OpusHead ${VOLUME}`)).trim();
  report.holds("the file of the volume shows no recording", marks === "0", `${marks} pages`);
  const opens = await guest.try(
    `echo '${PASSPHRASE}' | cryptsetup open --test-passphrase ${VOLUME}; echo $?`,
  );
  report.holds("the passphrase opens it", opens.trim().endsWith("0"));

  const key = "/etc/recorder-agent-spool.cred";
  const starts = await guest.try(`mv ${key} ${key}.away; systemctl start ${UNIT}; echo exit $?`);
  const { active } = await service.state();
  report.holds("without its key the service does not start", !starts.includes("exit 0"), active);
  const written = (await guest.try("find /mnt/recordings -type f | wc -l")).trim();
  report.holds("and writes nothing unencrypted", written === "0", `${written} files`);
  await guest.run(`mv ${key}.away ${key}; systemctl start ${UNIT}`);
  rig.expectedRestarts = 0;
  await rig.settled();
}

async function isInVolume({ running: { guest } }: Rig): Promise<boolean> {
  const text = await guest.run(
    "findmnt -n -o SOURCE --target /mnt/recordings/spool; ls /mnt/recordings/spool/uploaded | wc -l",
  );
  const [source, chunks] = text.trim().split("\n");
  return source === "/dev/mapper/recordings" && Number(chunks) > 0;
}

async function putBack(rig: Rig): Promise<void> {
  await rig.running.guest.run(
    `rm ${DROP_IN}; recorder-agent install --set spool_dir=/var/lib/recorder-agent/spool ` +
      "--set max_spool_gb=20 --set min_free_gb=0.1; systemctl stop recorder-agent-spool; " +
      `rm ${SPOOL_UNIT} ${VOLUME} /etc/recorder-agent-spool.cred; systemctl daemon-reload`,
  );
  rig.expectedRestarts = 0;
  await rig.settled();
}

/** The four blocks of the page: make the volume, its unit, the drop-in, start. @throws if there are others. */
async function blocks(): Promise<string[]> {
  let text = await Deno.readTextFile(PAGE);
  for (const [from, to] of CHANGES) {
    if (!text.includes(from)) throw new Error(`Cannot follow the page as it lacks: ${from}`);
    text = text.replace(from, to);
  }
  const found = [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const kinds = found.map(([, kind]) => kind).join(" ");
  if (kinds !== "sh ini ini sh") throw new Error(`Cannot follow the page: its blocks are ${kinds}`);
  return found.map(([, , block = ""]) => block);
}

export const encryptedScenarios: readonly Scenario[] = [
  { name: "encrypted", what: "the page on an encrypted spool, word by word", run: encrypted },
];
