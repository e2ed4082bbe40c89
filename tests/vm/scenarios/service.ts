// Scenarios of the service manager: stop and start, restart, a killed program, a hung program.

import type { Rig } from "../rig.ts";
import type { Report, Scenario } from "../scenario.ts";
import { endS, inOrder, startS } from "../sound.ts";

/** The unit has minutes; the mechanism is the same with a shorter time. */
const WATCHDOG_S = 30;

async function stop(rig: Rig, report: Report): Promise<void> {
  const { guest, service } = rig.running;
  const stopUnixS = Number(await guest.run("date +%s.%N"));
  const stopS = await guest.uptimeS();
  await guest.run("systemctl stop recorder-agent");
  report.atMost("systemctl stop takes", await guest.uptimeS() - stopS, 15);
  const { active, result } = await service.state();
  report.holds("it stopped as asked", active === "inactive" && result === "success", result);
  report.holds("no ffmpeg is left", (await guest.try("pgrep -c ffmpeg")).trim() === "0");
  report.holds("no chunk is half written", (await service.list("recording")).length === 0);
  await guest.run("systemctl start recorder-agent");
  rig.expectedRestarts = 0;
  await rig.settled();
  report.atMost("sound lost before the stop", lostBefore(rig, stopUnixS), 1);
}

async function restart(rig: Rig, report: Report): Promise<void> {
  const { guest, journal } = rig.running;
  const [unixS, uptimeS] = [Number(await guest.run("date +%s.%N")), await guest.uptimeS()];
  await guest.run("systemctl restart recorder-agent");
  rig.expectedRestarts = 0;
  const sound = await journal.next("Recording.", { sinceS: uptimeS, limitS: 60 });
  await rig.settled();
  report.atMost("sound lost before the restart", lostBefore(rig, unixS), 1);
  report.atMost("systemctl restart → first packet", sound.atS - uptimeS, 20);
}

async function killed(rig: Rig, report: Report): Promise<void> {
  const { guest, journal, service } = rig.running;
  const { pid } = await service.state();
  const [unixS, uptimeS] = [Number(await guest.run("date +%s.%N")), await guest.uptimeS()];
  await guest.run(`kill -9 ${pid}`);
  rig.expectedRestarts++;
  const sound = await journal.next("Recording.", { sinceS: uptimeS, limitS: 60 });
  await rig.settled();
  report.atMost("kill -9: sound lost before it", lostBefore(rig, unixS), 1);
  report.atMost("kill -9 → first packet", sound.atS - uptimeS, 20);
}

/** A hung microphone keeps ffmpeg from noticing that nobody reads what it writes. */
async function killedWhileHung(rig: Rig, report: Report): Promise<void> {
  const { guest, journal, microphone, service } = rig.running;
  await microphone.toggleHang();
  await guest.pass(3);
  const { pid } = await service.state();
  const ffmpeg = (await guest.run("pgrep -x ffmpeg")).trim();
  const killedS = await guest.uptimeS();
  await guest.run(`kill -9 ${pid}`);
  rig.expectedRestarts++;
  const starts = await journal.next("recorder-agent starts.", { sinceS: killedS, limitS: 60 });
  report.holds(
    "its ffmpeg has ended before the next start",
    await guest.try(`ps -o pid= -p ${ffmpeg}`) === "",
  );
  const aliveS = await microphone.toggleHang();
  const sound = await journal.next("Recording.", { sinceS: starts.atS, limitS: 90 });
  report.measured("alive again → first packet", `${(sound.atS - aliveS).toFixed(1)} s`);
  const busy = journal.entries.filter(({ atS, fields }) =>
    atS >= killedS && fields.code === "microphone_busy"
  );
  report.holds("nobody held the microphone meanwhile", busy.length === 0);
}

async function watchdog(rig: Rig, report: Report): Promise<void> {
  const { guest, journal, service } = rig.running;
  const dropIn = "/run/systemd/system/recorder-agent.service.d";
  await guest.run(
    `mkdir -p ${dropIn}; printf '[Service]\\nWatchdogSec=${WATCHDOG_S}\\n' > ${dropIn}/watchdog.conf; ` +
      "systemctl daemon-reload; systemctl restart recorder-agent",
  );
  rig.expectedRestarts = 0;
  await rig.settled();
  await rig.running.guest.pass(WATCHDOG_S); // the service feeds it
  report.holds(
    "a fed watchdog does not restart the service",
    (await service.state()).restarts === 0,
  );
  const { pid } = await service.state();
  const stoppedS = await guest.uptimeS();
  await guest.run(`kill -STOP ${pid}`);
  rig.expectedRestarts++;
  const expiry = await journal.next(({ message }) => message.includes("Watchdog timeout"), {
    sinceS: stoppedS,
    limitS: WATCHDOG_S + 20,
  });
  report.atMost("stopped → noticed", expiry.atS - stoppedS, WATCHDOG_S + 2);
  const sound = await journal.next("Recording.", { sinceS: expiry.atS, limitS: 120 });
  report.atMost("noticed → first packet", sound.atS - expiry.atS, 30);
  await rig.settled();
  await guest.run(`rm -r ${dropIn}; systemctl daemon-reload`);
}

/** Seconds from the end of the last recording before this moment to the moment. */
function lostBefore({ ingest }: Rig, unixS: number): number {
  const last = inOrder(ingest.chunks).findLast((chunk) => startS(chunk) < unixS);
  return Math.max(0, unixS - (last ? endS(last) : 0));
}

export const serviceScenarios: readonly Scenario[] = [
  { name: "stop", what: "systemctl stop and start", run: stop },
  { name: "restart", what: "systemctl restart", run: restart },
  { name: "kill", what: "kill -9 of the service's main process", run: killed },
  { name: "kill-hung", what: "the same while its microphone hangs", run: killedWhileHung },
  { name: "watchdog", what: "the service's main process is stopped with SIGSTOP", run: watchdog },
];
