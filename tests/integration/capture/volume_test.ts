// The capture level of a sound card that the real amixer reads and changes, during a real recording.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { mixerOf } from "../../../src/microphone/mixer.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { singleMicrophone } from "../../../src/microphone/microphones.ts";
import { PROGRAMS } from "../../../src/system/programs.ts";
import { recorderRig, TONE } from "../../fixtures/recorder_rig.ts";
import { until } from "../../fixtures/sockets.ts";
import { Zoo } from "../../fixtures/zoo.ts";

const CONTROLS = [
  "0 35 0 1 22 Mic Capture Volume",
  "0 1 0 1 0 Mic Capture Switch",
  "0 1 0 1 1 Auto Gain Control",
];

Deno.test("a recording sets the capture level, and gives it back when it ends", async () => {
  await using zoo = await Zoo.withControls(CONTROLS);
  await using rig = await recorderRig(systemClock, { mixerOf: (card) => mixerOf(card, zoo.env) });
  const device = {
    ...{
      card: 3,
      device: 0,
      cardId: "Zoo",
      name: "zoo",
      alsaName: "hw:3,0",
      usb: null,
      offers: null,
    },
  };
  const recorder = rig.recorder({
    mixer: { volume: 80, agc: "off" },
    microphones: singleMicrophone({ ...TONE, device }),
  });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  try {
    await until("it records", () => rig.report().recording);
    await until("the level is set", () => rig.lines.filter(isLevel).length === 3);
    assertEquals(await zoo.controls(), [
      "0 35 0 1 28 Mic Capture Volume",
      "0 1 0 1 1 Mic Capture Switch",
      "0 1 0 1 0 Auto Gain Control",
    ]);
  } finally {
    stop.abort();
    await running;
  }
  assertEquals(await zoo.controls(), CONTROLS);
  assertEquals(rig.report().problems, []);
});

function isLevel({ message }: { message: string }): boolean {
  return message === "Capture level set.";
}

Deno.test("negative values, several channels and an odd name are read and set by amixer", async () => {
  await using zoo = await Zoo.withControls(['-127 0 1 2 -20,-60 Mic\'s "odd" Capture Volume']);
  const mixer = mixerOf(1, zoo.env);
  const [control, ...others] = await mixer.read();
  assertEquals(others, []);
  assertEquals(
    [control?.name, control?.index, control?.min, control?.max, control?.values],
    ['Mic\'s "odd" Capture Volume', 1, -127, 0, [-20, -60]],
  );
  await mixer.set({ numid: control?.numid ?? 0 }, [-5, -127]);
  assertEquals(await zoo.controls(), ['-127 0 1 2 -5,-127 Mic\'s "odd" Capture Volume']);
});

Deno.test("a card that is away, and a missing amixer, are errors with their reasons", async () => {
  await using zoo = await Zoo.withControls([]);
  assertEquals(await mixerOf(1, zoo.env).read(), []);
  const away = await assertRejects(() => mixerOf(31).read(), Error);
  assertMatch(away.message, /^Control hw:31 open error: No such file or directory$/);
  const before = PROGRAMS.amixer;
  PROGRAMS.amixer = "/nonexistent/amixer";
  try {
    await assertRejects(() => mixerOf(1).read(), Error, "amixer is not installed");
  } finally {
    PROGRAMS.amixer = before;
  }
});
