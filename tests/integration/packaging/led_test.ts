// The script that shows the state on an LED, run by a shell in which systemctl shows a given state and sleep counts the
// seconds. The LED is a folder as the kernel has it.

import { assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { join } from "@std/path/join";

const FOLDER = new URL("../../../packaging/led", import.meta.url).pathname;
const SCRIPT = `${FOLDER}/led`;
const SECONDS = 10;

/** The brightness at the end of each second in which systemd shows this, and the trigger before and after the end. */
async function shownBy(systemctl: string, name = "ACT") {
  const root = await Deno.makeTempDir({ prefix: "led-" });
  try {
    const led = join(root, "sys/class/leds/ACT");
    await Deno.mkdir(led, { recursive: true });
    for (
      const [file, text] of Object.entries({
        brightness: "0",
        max_brightness: "255",
        trigger: "none timer [mmc0] heartbeat",
      })
    ) await Deno.writeTextFile(join(led, file), `${text}\n`);
    const world = `now=0
systemctl() { ${systemctl}; }
sleep() {
  cat ${led}/brightness ${led}/trigger >> ${root}/seen
  now=$((now + 1))
  if [ $now = ${SECONDS} ]; then kill -TERM $$; fi
}
set -- ${name}
. ${SCRIPT}`;
    const { code, stderr } = await new Deno.Command("/bin/sh", {
      args: ["-c", world],
      clearEnv: true,
      env: { LED_ROOT: root, PATH: "/usr/bin:/bin" },
    }).output();
    const read = (path: string) => Deno.readTextFile(path).catch(() => "");
    const seen = (await read(join(root, "seen"))).trim().split("\n");
    return {
      code,
      said: new TextDecoder().decode(stderr),
      brightness: seen.filter((_, at) => at % 2 === 0).map(Number),
      during: new Set(seen.filter((_, at) => at % 2 === 1)),
      trigger: (await read(join(led, "trigger"))).trim(),
    };
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const says = (active: string, text: string) =>
  `echo 'ActiveState=${active}'; echo 'StatusText=${text}'`;
const always = (brightness: number) => Array<number>(SECONDS).fill(brightness);
const BLINKS = Array.from({ length: SECONDS }, (_, at) => at % 2 === 0 ? 255 : 0);

const STATES: Readonly<Record<string, readonly [string, readonly number[]]>> = {
  "is on while the till records": [says("active", "Recording MIC since 11-29"), always(255)],
  "is on, in whichever order systemd shows its properties": [
    `echo 'StatusText=Recording MIC since 11-29'; echo ActiveState=active`,
    always(255),
  ],
  "is off outside the schedule": [says("active", "Outside the schedule since 22:00"), always(0)],
  "is off while a person has paused the till": [says("active", "Paused since 11-29"), always(0)],
  "blinks while the till does not record": [says("active", "NOT recording since 11-29"), BLINKS],
  "blinks while only silence is recorded": [
    says("active", "Recording MIC since 11-29; microphone_silent: only silence"),
    BLINKS,
  ],
  "blinks while the name of a microphone that is gone says that it records": [
    says(
      "active",
      "NOT recording since 11-29; microphone_missing: ActiveState=active StatusText=Recording MIC",
    ),
    BLINKS,
  ],
  "is on while a microphone that records is called like a problem": [
    says("active", "Recording microphone_silent since 11-29; nothing waits"),
    always(255),
  ],
  "blinks while the service starts again and again": [
    says("activating", "Recording MIC since 11-29"),
    BLINKS,
  ],
  "blinks while systemd does not answer": ["return 1", BLINKS],
};

for (const [what, [systemctl, brightness]] of Object.entries(STATES)) {
  Deno.test(`the LED ${what}`, async () => {
    const shown = await shownBy(systemctl);
    assertEquals(shown, {
      code: 0,
      said: "",
      brightness: [...brightness],
      during: new Set(["none"]),
      trigger: "mmc0",
    });
  });
}

Deno.test("an LED that the board does not have is named, with those that it has", async () => {
  const { code, said } = await shownBy(says("active", ""), "PWR");
  assertEquals(code, 1);
  assertMatch(said, /^Cannot use the LED PWR as it must be one of \/sys\/class\/leds: ACT\n$/);
});

Deno.test("an LED that goes away ends the script, with one line", async () => {
  const { code, said } = await shownBy(`rm -r "$led"; ${says("active", "Recording MIC")}`);
  assertEquals(code, 1);
  assertEquals(said.trim().split("\n").length, 1, said);
});

Deno.test("the unit of the LED does not wait for a start, which takes minutes if the spool is full", async () => {
  const unit = await Deno.readTextFile(`${FOLDER}/recorder-agent-led@.service`);
  assertMatch(unit, /^PartOf=recorder-agent\.service$/m);
  assertNotMatch(unit, /^After=/m);
});
