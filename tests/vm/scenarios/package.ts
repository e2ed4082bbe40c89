// Scenarios of the Debian package and of updates: takeover from a copied program, an update in mid-chunk, the way
// back from programs that do not start or do not record, and a first boot with a file on the boot partition.

import { join } from "@std/path/join";
import { run } from "../../fixtures/command.ts";
import { SLOWEST } from "../guest.ts";
import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import type { ReceivedChunk } from "../../fixtures/ingest_server.ts";
import { endS, inOrder, startS } from "../sound.ts";
import { TOKEN, UNIT } from "../service.ts";

const SOURCE = new URL("../../..", import.meta.url).pathname;
const PROGRAM = "/usr/bin/recorder-agent";
const TRIAL = "/var/lib/recorder-agent-update/trial";
/** Half a minute of trial, and a start. */
const TRIAL_LIMIT_S = 60;

/** Programs of broken releases. */
const EXITS = "#!/bin/sh\nexit 1\n";
const DEAF = `#!/bin/sh\nRA_AUDIO_DEVICE=plughw:9,0 exec ${PROGRAM}.old "$@"\n`;

/** Makes a package of the program of this run, or of `program`, and puts it where the guest finds it. */
async function makePackage(rig: Rig, version: string, program?: string): Promise<string> {
  const { guest } = rig.running;
  const architecture = (await guest.run("dpkg --print-architecture")).trim();
  const path = join(rig.share, "program");
  if (program === undefined) await Deno.copyFile(join(rig.share, "recorder-agent"), path);
  else await Deno.writeTextFile(path, program);
  const target = architecture === "amd64"
    ? "x86_64-unknown-linux-gnu"
    : "aarch64-unknown-linux-gnu";
  await run(join(SOURCE, ".ci/debian_package"), [SOURCE, path, target, version, rig.share], {
    env: { SOURCE_DATE_EPOCH: "1795000000" },
  });
  return `/share/recorder-agent_${version}_${architecture}.deb`;
}

/** Installs it without its dependencies, which cannot be downloaded here and are installed. */
async function unpack(rig: Rig, file: string): Promise<string> {
  return await rig.running.guest.run(`dpkg -i --force-depends ${file} 2>&1`);
}

/** The seconds until the trial is decided. */
async function decided(rig: Rig, limitS: number): Promise<number> {
  const { guest } = rig.running;
  const startedS = await guest.uptimeS();
  await guest.run(
    `n=0; while [ -e ${TRIAL} ] && [ $n -lt ${limitS} ]; do sleep 1; n=$((n + 1)); done; ` +
      `[ ! -e ${TRIAL} ]`,
  );
  return await guest.uptimeS() - startedS;
}

async function programOf(rig: Rig): Promise<string> {
  const { guest, service } = rig.running;
  return (await guest.run(`readlink /proc/${(await service.state()).pid}/exe`)).trim();
}

/** The longest pause between two chunks since then, in seconds, once the sound of now is delivered. */
async function longestPauseS(rig: Rig, sinceUnixS: number): Promise<number> {
  const { ingest } = rig;
  const nowS = await nowUnixS(rig);
  await ingest.waitUntil(
    ({ chunks }) => chunks.some((chunk) => endS(chunk) >= nowS),
    60_000 * SLOWEST,
    "the chunk of now",
  );
  const chunks = inOrder(ingest.chunks);
  const pauses = chunks.flatMap((chunk, at) => {
    const before = chunks[at - 1];
    return before === undefined || startS(chunk) < sinceUnixS ? [] : [startS(chunk) - endS(before)];
  });
  return Math.max(0, ...pauses);
}

const nowUnixS = async (rig: Rig) => Number(await rig.running.guest.run("date +%s.%N"));

async function takeover(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  const before = await service.state();
  const said = await unpack(rig, await makePackage(rig, "0.9.1"));
  report.holds("the package names the way to take over", said.includes(`sudo ${PROGRAM} install`));
  report.holds("until then the copied program runs", (await service.state()).pid === before.pid);
  // The rig's drop-in starts the copied program.
  await guest.run(
    "sed -i 's,/usr/local/bin,/usr/bin,' /etc/systemd/system/recorder-agent.service.d/rig.conf",
  );
  const unixS = await nowUnixS(rig);
  await guest.run(`${PROGRAM} install`);
  rig.expectedRestarts = 0;
  await rig.settled();
  report.holds("the package runs", await programOf(rig) === PROGRAM, await programOf(rig));
  const left = await guest.try(
    "ls -d /usr/local/bin/recorder-agent* /usr/local/lib/recorder-agent " +
      "/etc/systemd/system/recorder-agent*.service",
  );
  report.holds("nothing of the copied program is left", left === "", left.trim() || "nothing");
  report.atMost("takeover: sound missing", await longestPauseS(rig, unixS), 20);
}

async function update(rig: Rig, report: Report): Promise<void> {
  const unixS = await nowUnixS(rig);
  await unpack(rig, await makePackage(rig, "0.9.2"));
  report.atMost("update → accepted", await decided(rig, TRIAL_LIMIT_S * 2), TRIAL_LIMIT_S * 2);
  rig.expectedRestarts = 0;
  await rig.settled(); // no problem is reported
  const version = (await rig.running.guest.run("dpkg-query -Wf '${Version}' recorder-agent"))
    .trim();
  report.holds("the new package is installed", version === "0.9.2", version);
  // That of a replaced file would be "… (deleted)".
  report.holds("its program runs", await programOf(rig) === PROGRAM, await programOf(rig));
  report.atMost("update in mid-chunk: sound missing", await longestPauseS(rig, unixS), 20);
}

/** A release that must not stay. */
async function wayBack(
  rig: Rig,
  report: Report,
  broken: { what: string; version: string; program: string; limitS: number; reason: RegExp },
): Promise<void> {
  const { guest } = rig.running;
  const { what, version, program, limitS, reason } = broken;
  const unixS = await nowUnixS(rig);
  await unpack(rig, await makePackage(rig, version, program));
  report.atMost(`${what} → decided`, await decided(rig, limitS), limitS);
  const health = await rig.healthy("recording again", ({ recording }) => recording, 60);
  rig.expectedRestarts = 0;
  const problem = health.problems.find(({ code }) => code === "update_rolled_back");
  report.holds(`${what}: it is reported`, reason.test(problem?.message ?? ""), problem?.message);
  report.holds(`${what}: the previous program runs`, await programOf(rig) === PROGRAM);
  report.measured(`${what}: sound missing`, `${(await longestPauseS(rig, unixS)).toFixed(1)} s`);
  await guest.run(`rm /var/lib/recorder-agent-update/rolled-back; systemctl restart ${UNIT}`);
  await rig.settled();
}

async function rollback(rig: Rig, report: Report): Promise<void> {
  await wayBack(rig, report, {
    what: "a program that exits",
    version: "0.9.3",
    program: EXITS,
    limitS: 60,
    reason: /0\.9\.3 was rolled back as it ended 3 times/,
  });
  await wayBack(rig, report, {
    what: "a program that does not record",
    version: "0.9.4",
    program: DEAF,
    limitS: 240,
    reason: /0\.9\.4 was rolled back as it heard nothing for 120 s/,
  });
}

async function firstBoot(rig: Rig, report: Report): Promise<void> {
  const { guest } = rig.running;
  const config = await guest.run("cat /etc/recorder-agent/config.yaml");
  const file = config.split("\n").filter((line) =>
    /^[a-z_]+:/.test(line) && !/^(device_id|ingest_token)/.test(line)
  ).join("\n");
  const path = "/boot/firmware/recorder-agent.yaml";
  await guest.run(
    `systemctl disable --now ${UNIT}; rm -f /etc/recorder-agent/config.yaml /etc/recorder-agent/token; ` +
      `mkdir -p /boot/firmware; cat > ${path} <<'END'\n${file}\ningest_token: ${TOKEN}\nEND\nsync`,
  );
  await rig.switchOff("reboot");
  await rig.boot();
  await rig.settled(180);
  const now = rig.running.guest;
  report.holds("the file is gone", (await now.try(`ls ${path}`)) === "");
  const rights = (await now.run("stat -c '%a %U' /etc/recorder-agent/token")).trim();
  report.holds("the token is in its file", rights === "600 root", rights);
  const id = (await now.run("grep ^device_id: /etc/recorder-agent/config.yaml")).trim();
  report.holds("the id is that of the board", /-8[0-9a-f]{3}-[89ab]/.test(id), id);
  const said = await now.run("cat /boot/firmware/recorder-agent.txt");
  report.holds(
    "the card says what was done, without the token",
    said.includes("Running:") && !said.includes(TOKEN),
  );
  const sound = await rig.running.journal.next("Recording.", { sinceS: 0, limitS: 1 });
  report.measured("boot → first packet", `${sound.atS.toFixed(1)} s`);
  const isOfIt = (chunk: ReceivedChunk) =>
    startS(chunk) >= sound.unixS - 1 && id.includes(chunk.fields["device_id"] ?? "none");
  await rig.ingest.waitUntil(({ chunks }) => chunks.some(isOfIt), 60_000 * SLOWEST, "its chunk");
  report.holds("its first chunk is delivered under this id", true);
}

export const packageScenarios: readonly Scenario[] = [
  { name: "takeover", what: "the Debian package takes over from a copied program", run: takeover },
  { name: "update", what: "a new package in mid-chunk", after: "takeover", run: update },
  {
    name: "rollback",
    what: "packages whose program exits, or does not record",
    after: "takeover",
    run: rollback,
  },
  {
    name: "first-boot",
    what: "a file with settings on the boot partition",
    after: "takeover",
    run: firstBoot,
  },
];
