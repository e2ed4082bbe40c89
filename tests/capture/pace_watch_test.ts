import { assertEquals, assertStringIncludes } from "@std/assert";
import { PaceWatch } from "../../src/capture/pace_watch.ts";
import { seededRandom } from "../fixtures/random.ts";

const PAGE_MS = 400;

function watch(reportedHz = 48_000) {
  const said: string[] = [];
  let isLasting = false;
  const pace = new PaceWatch({
    get isLasting() {
      return isLasting;
    },
    set: ({ code, message }) => {
      isLasting = true;
      said.push(`${code}: ${message}`);
    },
    clear: () => {
      if (isLasting) said.push("resolved");
      isLasting = false;
    },
  });
  const random = seededRandom(7);
  let [position, nowMs] = [0, 1_000_000];
  pace.begin("usb", reportedHz);
  return {
    said,
    pace,
    /** Pages for this long, of a microphone with this share of its rate. */
    hear(minutes: number, share: number) {
      for (const endMs = nowMs + minutes * 60_000; nowMs < endMs;) {
        nowMs += PAGE_MS / share;
        position += PAGE_MS * 48;
        pace.observe(position, nowMs + (random() < 0.05 ? 90 : 30 * random()));
      }
    },
    lose: (ms: number) => void (nowMs += ms),
    open(reportedHz: number, microphone = "usb") {
      position = 0;
      pace.begin(microphone, reportedHz);
    },
  };
}

Deno.test("a microphone whose rate is not the one it reports is named with the true rate after five minutes", () => {
  for (
    const [share, reportedHz, trueHz] of [
      [0.91875, 48_000, "44,100"],
      [48_000 / 44_100, 44_100, "48,000"],
      [0.997, 48_000, "47,860"],
      [1.003, 48_000, "48,140"],
      [3, 16_000, "48,000"],
      [0.5, 96_000, "48,000"],
    ] as const
  ) {
    const { hear, lose, said } = watch(reportedHz);
    hear(5, share);
    assertEquals(said, []);
    hear(5, share);
    assertEquals(said.length, 1, `${share}`);
    assertStringIncludes(
      said[0] ?? "",
      `microphone_rate: The microphone delivers ${trueHz} samples`,
    );
    lose(3600_000);
    hear(2, 1);
    assertEquals(said.length, 1, "two minutes are not five");
    hear(6, 1);
    assertEquals(said.slice(1), ["resolved"]);
  }
});

Deno.test("a poor crystal, a clock that is slewed, losses and pauses are not another rate", () => {
  for (const share of [1, 0.9995, 1.0005, 0.9985, 1.0015]) {
    const { hear, said } = watch();
    hear(60, share);
    assertEquals(said, [], `${share}`);
  }
  const { hear, lose, said, open } = watch();
  for (let n = 0; n < 12; n++) {
    lose(8000);
    hear(3, 1);
  }
  for (const lostMs of [70_000, 200_000, 3600_000]) {
    lose(lostMs);
    hear(8, 1);
  }
  for (let n = 0; n < 12; n++) {
    open(48_000);
    hear(3, 0.9);
  }
  assertEquals(said, [], "a stream is too short to be measured");
});

Deno.test("sound that is lost all the time is named, too", () => {
  const { hear, lose, said } = watch();
  for (let second = 0; second < 480; second++) {
    hear(0.97 / 60, 1);
    lose(30);
  }
  assertEquals(said.length, 1);
});

Deno.test("the problem ends when its microphone is gone or another one is recorded, however short its streams", () => {
  const { hear, open, said, pace } = watch();
  hear(10, 0.9);
  open(48_000);
  hear(3, 0.9);
  assertEquals(said.length, 1);
  open(48_000, "another");
  assertEquals(said.slice(1), ["resolved"]);
  hear(10, 0.9);
  assertEquals(said.length, 3);
  pace.gone();
  assertEquals(said.slice(3), ["resolved"]);
});
