// Scenarios of the unit's sandbox: what it refuses and what it must permit, asked inside a guest, and the
// settings that change it: an ffmpeg of the administrator, a spool on another disk.

import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { UNIT } from "../service.ts";

/** The limit of `systemd-analyze security`, also in tests/integration/commands/service_test.ts. */
const EXPOSURE = 1.3;

const PROBE = new URL("sandbox_probe.pl", import.meta.url);
/** Its answers. */
type Answers = Readonly<Record<string, string | undefined>>;
const ANSWERS: Answers = {
  "program beside the spool": "Permission denied",
  "program in the spool": "Permission denied",
  "program in RuntimeDirectory": "Permission denied",
  "program in /tmp": "Permission denied",
  "program in /var/tmp": "Permission denied",
  "program in /dev/shm": "Permission denied",
  "program of the system": "allowed",
  "TCP port on 127.0.0.1": "allowed",
  "packet socket": "Address family not supported by protocol",
  "netlink socket of udev": "allowed",
  "the microphone": "allowed",
  "the disk": "No such file or directory",
  "/dev/null": "allowed",
  "a file in the spool": "allowed",
  "a file in /etc": "Read-only file system",
  "a file in /usr": "Read-only file system",
  "the token": "Permission denied",
  "the home of root": "Permission denied",
  "a user namespace": "Operation not permitted",
  "a mount": "Operation not permitted",
  "ptrace": "Operation not permitted",
  "a keyring": "Operation not permitted",
  "io_uring": "Operation not permitted",
  "another priority limit": "Operation not permitted",
  "a setuid file": "Operation not permitted",
  "processes of others": "No such file or directory",
};

/** Only a systemd with the BPF framework knows SocketBindDeny=: that of Debian 13. */
const PORT_ANSWERS: Answers = {
  "TCP port on ::1": "Operation not permitted",
  "UDP port": "Operation not permitted",
};
const UNFILTERED_PORT_ANSWERS: Answers = { "TCP port on ::1": "allowed", "UDP port": "allowed" };

/** The unit with another program in it; the folder in /run is that of the service, which still needs it. */
const PROBE_UNIT = `[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
RuntimeDirectoryPreserve=yes
StandardOutput=truncate:/run/probe.txt
ExecStart=
ExecStart=/usr/bin/perl /run/probe.pl
`;

/** What a person or a monitoring system requests of the health server. */
const PAGES = ["/", "/health", "/metrics", "/events"];

async function sandbox(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  const analysis = await guest.run(`systemd-analyze security --no-pager ${UNIT} | tail -n 1`);
  const exposure = Number(/level for \S+: ([\d.]+)/.exec(analysis)?.[1] ?? NaN);
  report.holds(`exposure, at most ${EXPOSURE}`, exposure <= EXPOSURE, exposure);

  await guest.run(`cat > /run/probe.pl <<'END'\n${await Deno.readTextFile(PROBE)}END`);
  const text = await guest.run(
    `systemctl cat ${UNIT} > /run/systemd/system/probe.service\n` +
      `cat >> /run/systemd/system/probe.service <<'END'\n${PROBE_UNIT}END\n` +
      "systemctl daemon-reload; systemctl start probe; cat /run/probe.txt",
  );
  const found: Answers = Object.fromEntries(
    text.trim().split("\n").map((line) => line.split("=", 2)),
  );
  const canFilterPorts = (await guest.run("systemctl --version")).includes("+BPF_FRAMEWORK");
  const answers = { ...ANSWERS, ...canFilterPorts ? PORT_ANSWERS : UNFILTERED_PORT_ANSWERS };
  const names = [...new Set([...Object.keys(answers), ...Object.keys(found)])];
  const wrong = names.filter((name) => found[name] !== answers[name]);
  report.holds(
    `of ${names.length} attempts inside the sandbox, those refused and permitted are the right ones`,
    wrong.length === 0,
    wrong.map((name) => `${name}: ${found[name]}, not ${answers[name]}`).join("; ") || "yes",
  );

  const statuses = await guest.run(
    PAGES.map((page) =>
      `curl -s -m 3 -o /dev/null -w '${page} %{http_code}\\n' http://127.0.0.1:8042${page} || true`
    ).join("; "),
  );
  const isOk = statuses.trim().split("\n").every((line) => line.endsWith(" 200"));
  report.holds(
    "page, health, metrics and events answer",
    isOk,
    statuses.trim().replaceAll("\n", ", "),
  );
  const { pid } = await service.state();
  const children = await guest.run(`ps --ppid ${pid} -o comm= | sort | uniq -c`);
  report.measured("children of the program", children.trim().replaceAll(/\s+/g, " "));
}

async function localFfmpeg(rig: Rig, report: Report): Promise<void> {
  const { guest, journal } = rig.running;
  const folder = "/opt/ffmpeg 7";
  const program = `${folder}/ffmpeg`;
  await guest.run(
    `set -e; mkdir '${folder}'; cp /usr/bin/ffmpeg '${folder}'; ln -s '${program}' /usr/local/bin`,
  );
  const startedS = await guest.uptimeS();
  await guest.run(`systemctl restart ${UNIT}`);
  rig.expectedRestarts = 0;
  await journal.next("Recording.", { sinceS: startedS, limitS: 60 });
  const exe = (await guest.run("readlink /proc/$(pgrep -x ffmpeg)/exe")).trim();
  report.holds("the ffmpeg behind a link in /usr/local/bin records", exe === program, exe);
  await guest.run(`rm -r /usr/local/bin/ffmpeg '${folder}'; systemctl restart ${UNIT}`);
  await rig.settled();
}

async function otherDisk(rig: Rig, report: Report): Promise<void> {
  const { guest, journal } = rig.running;
  const [mount, image] = ["/mnt/usb disk", "/var/usb.img"];
  await guest.run(
    `set -e; truncate -s 300M ${image}; mkfs.ext4 -q ${image}; mkdir -p '${mount}'; ` +
      `mount -o loop ${image} '${mount}'`,
  );
  const movedS = await guest.uptimeS();
  await guest.run(`recorder-agent install --set 'spool_dir=${mount}/spool' --set min_free_gb=0.05`);
  rig.expectedRestarts = 0;
  const sound = await journal.next("Recording.", { sinceS: movedS, limitS: 60 });
  await journal.next("Delivered.", { sinceS: sound.atS, limitS: 60 });
  const kept = await guest.run(`ls '${mount}/spool/uploaded' | wc -l`);
  report.holds(`recorded in ${mount}, and delivered`, Number(kept) > 0, `${kept.trim()} chunks`);
  const check = await rig.whileChecked(() => guest.try("recorder-agent check 2>&1; echo exit $?"));
  const isInOrder = /exit 0\s*$/.test(check);
  report.holds("check finds everything in order", isInOrder, isInOrder ? "yes" : check.slice(-200));
  await guest.run(
    "recorder-agent install --set spool_dir=/var/lib/recorder-agent/spool --set min_free_gb=0.1; " +
      `umount '${mount}'; rm ${image}`,
  );
  rig.expectedRestarts = 0;
  await rig.settled();
}

export const sandboxScenarios: readonly Scenario[] = [
  { name: "sandbox", what: "what the sandbox of the unit refuses and permits", run: sandbox },
  { name: "local-ffmpeg", what: "an ffmpeg in /opt, linked in /usr/local/bin", run: localFfmpeg },
  { name: "other-disk", what: "the spool on a disk whose name has a blank", run: otherDisk },
];
