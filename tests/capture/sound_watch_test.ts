import { assert, assertEquals, assertMatch } from "@std/assert";
import { SoundWatch } from "../../src/capture/sound_watch.ts";
import type { SoundLevels } from "../../src/status/levels.ts";

const SPEECH: SoundLevels = {
  peakDbfs: -15,
  rmsDbfs: -28,
  floorDbfs: -50,
  offset: 0,
  clippedShare: 0,
};
const SILENCE: SoundLevels = { ...SPEECH, peakDbfs: -90, rmsDbfs: -95 };

function watch() {
  const lasting = new Set<string>();
  const messages: string[] = [];
  const sound = new SoundWatch(() => {
    let code: string | null = null;
    return {
      get isLasting() {
        return code !== null;
      },
      set: (diagnosis) => {
        if (code !== null) lasting.delete(code);
        lasting.add(code = diagnosis.code);
        messages.push(diagnosis.message);
      },
      clear: () => {
        if (code !== null) lasting.delete(code);
        code = null;
      },
    };
  });
  return {
    messages,
    codes: () => [...lasting],
    /** @param recorded if gain_db or highpass_hz change the sound. */
    hear: (levels: SoundLevels, seconds: number, recorded = levels) => {
      for (let n = 0; n < seconds * 10; n++) {
        sound.hear(levels);
        sound.record(recorded);
      }
    },
    /** Seconds of this sound until there is this problem. */
    until: (code: string, levels: SoundLevels) => {
      let tenths = 0;
      for (; !lasting.has(code); tenths++) {
        assert(tenths < 6000, code);
        sound.hear(levels);
      }
      return tenths / 10;
    },
  };
}

Deno.test("a microphone that is silent for 20 s is a problem, until a second of sound is heard", () => {
  const { hear, until, codes } = watch();
  hear(SPEECH, 3600);
  assertEquals(codes(), []);
  assertEquals(until("microphone_silent", SILENCE), 20);
  hear(SILENCE, 3600);
  hear(SPEECH, 0.5); // a click
  assertEquals(codes(), ["microphone_silent"]);
  hear(SPEECH, 1);
  assertEquals(codes(), []);
});

Deno.test("pauses of 19 s are not silence", () => {
  const { hear, codes } = watch();
  for (let n = 0; n < 100; n++) {
    hear(SILENCE, 19);
    hear(SPEECH, 1);
  }
  assertEquals(codes(), []);
});

Deno.test("a constant far from zero is a stuck microphone, a small one a silent one", () => {
  const { until, messages } = watch();
  assertEquals(until("microphone_stuck", { ...SILENCE, offset: -1 }), 20);
  assertEquals(messages, ["The microphone delivers a constant, -100 % of full scale"]);
  assertEquals(watch().until("microphone_silent", { ...SILENCE, offset: 0.02 }), 20);
});

Deno.test("an overdriven microphone is a problem within a minute, and over after one without", () => {
  const { hear, until, codes } = watch();
  const clipped = { ...SPEECH, peakDbfs: 0, clippedShare: 0.02 };
  for (let n = 0; n < 1000; n++) { // a loud moment in every two seconds
    hear(clipped, 0.1);
    hear(SPEECH, 1.9);
  }
  assertEquals(codes(), []);
  assert(until("microphone_clipping", clipped) <= 60);
  hear(SPEECH, 59);
  assertEquals(codes(), ["microphone_clipping"]);
  hear(SPEECH, 1);
  assertEquals(codes(), []);
});

Deno.test("gain_db and highpass_hz hide neither a dead microphone nor an overdriven one", () => {
  const clipped = { ...SPEECH, peakDbfs: 0, clippedShare: 0.84 };
  for (
    const [raw, recorded, code] of [
      [SILENCE, { ...SILENCE, peakDbfs: -56 }, "microphone_silent"],
      [{ ...SILENCE, offset: 1 }, { ...SILENCE, offset: 0 }, "microphone_stuck"],
      [clipped, { ...clipped, peakDbfs: -6, clippedShare: 0 }, "microphone_clipping"],
    ] as const
  ) {
    const { hear, codes } = watch();
    hear(raw, 30, recorded);
    assertEquals(codes(), [code]);
    hear(SPEECH, 60);
    assertEquals(codes(), [], code);
  }
  const { hear, codes } = watch();
  hear({ ...SPEECH, peakDbfs: -50 }, 3600, { ...SPEECH, peakDbfs: -70 });
  assertEquals(codes(), [], "what -20 dB make of a quiet room is not silence");
});

Deno.test("gain_db that drives the recorded sound beyond full scale is named as the cause", () => {
  const { hear, codes, messages } = watch();
  const clipped = { ...SPEECH, peakDbfs: 0, clippedShare: 0.02 };
  hear(SPEECH, 30, clipped);
  assertEquals(codes(), ["microphone_clipping"]);
  hear(clipped, 30);
  hear(SPEECH, 59, clipped);
  assertEquals(codes(), ["microphone_clipping"], "one of the two is enough");
  hear(SPEECH, 60);
  assertEquals(codes(), []);
  hear(clipped, 30);
  hear(SPEECH, 61, clipped); // its level was turned down
  hear(clipped, 30); // and up again
  const [gain, microphone] = [
    "The recording is overdriven by gain_db",
    "The microphone is overdriven",
  ];
  assertEquals(
    messages.map((message) => message.split(":")[0]),
    [gain, microphone, microphone, gain, microphone],
  );
});

const NOISE = { ...SPEECH, peakDbfs: -58 };

/** An hour of noise with so many seconds of a sound, spread over it. */
function hourOf(
  hear: (levels: SoundLevels, seconds: number) => void,
  peakDbfs: number,
  seconds: number,
) {
  for (let n = 0; n < 10; n++) {
    hear({ ...SPEECH, peakDbfs }, seconds / 10);
    hear(NOISE, 360 - seconds / 10);
  }
}

Deno.test("a microphone that hears people too quietly is named within a working day, until it hears speech", () => {
  const { hear, codes, messages } = watch();
  for (let hour = 0; hour < 7; hour++) hourOf(hear, -45.5, 180);
  hear(NOISE, 1800);
  assertEquals(codes(), []);
  for (let hour = 0; hour < 5; hour++) hourOf(hear, -45.5, 180);
  assertEquals(codes(), ["microphone_too_quiet"]);
  assertMatch(messages[0] ?? "", /\(peak -45.5 dBFS in 8 h\)$/);
  hear(SPEECH, 9);
  hear(NOISE, 60);
  assertEquals(codes(), ["microphone_too_quiet"]);
  hear(SPEECH, 1);
  assertEquals(codes(), []);
  assertEquals(messages.length, 1);
});

Deno.test("knocks do not make a microphone that is too quiet a good one", () => {
  const { hear, codes } = watch();
  for (let hour = 0; hour < 16; hour++) {
    hourOf(hear, -45, 180);
    hear(SPEECH, 0.5);
  }
  assertEquals(codes(), ["microphone_too_quiet"]);
});

Deno.test("a microphone that hears only noise is named after 40 hours", () => {
  const { hear, codes } = watch();
  hear(NOISE, 39 * 3600);
  assertEquals(codes(), []);
  hear(NOISE, 3600);
  assertEquals(codes(), ["microphone_too_quiet"]);
});

Deno.test("a closed day, a quiet night, and a closed day between two nights are no hint", () => {
  for (const [hours, opened, closed] of [[14, 14, 2], [24, 14, 1], [24, 6, 1]] as const) {
    const { hear, codes } = watch();
    for (let day = 4; day < 8; day++) {
      const isOpen = day % 7 < 7 - closed;
      for (let hour = 0; hour < hours; hour++) {
        if (isOpen && hour < opened) hourOf(hear, -20, 120);
        else hourOf(hear, -30, hour === 3 ? 5 : 0); // somebody puts something down
        assertEquals(codes(), [], `${hours} h, day ${day}, hour ${hour}`);
      }
    }
  }
});

Deno.test("a silent microphone is not called too quiet as well", () => {
  const { hear, codes } = watch();
  hear(SILENCE, 41 * 3600);
  assertEquals(codes(), ["microphone_silent"]);
});
