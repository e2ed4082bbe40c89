// In which order the ways to open a microphone are tried, after what happened to it.

import { assertEquals } from "@std/assert";
import { AttemptOrder } from "../../src/capture/attempt_order.ts";
import type { CaptureSource } from "../../src/microphone/capture_attempts.ts";
import { named } from "../fixtures/sockets.ts";

function way(pcm: string, sampleRate: number): CaptureSource {
  return { kind: "alsa", pcm, channels: 1, sampleRate };
}

function spell(source: CaptureSource | undefined): string {
  return source?.kind === "alsa" ? `${source.pcm} ${source.sampleRate}` : "";
}

const [AT_48, AT_44, AT_16] = [way("hw", 48_000), way("hw", 44_100), way("hw", 16_000)];
const MICROPHONE = named("usb", { attempts: [AT_48, AT_44, AT_16, way("plughw", 48_000)] });

Deno.test("after two attempts without sound another rate is tried, and the best one again in between", () => {
  const order = new AttemptOrder();
  const tried = Array.from({ length: 16 }, (_, attempt) => {
    const [first] = order.of(MICROPHONE);
    order.failed(MICROPHONE, attempt % 2 === 0 ? "microphone_lost" : "microphone_stalled");
    return spell(first);
  });
  const pair = (rate: number) => [`hw ${rate}`, `hw ${rate}`];
  assertEquals(tried.slice(0, 8), [48_000, 44_100, 48_000, 16_000].flatMap(pair));
  assertEquals(tried.slice(8), [48_000, 44_100, 48_000, 16_000].flatMap(pair), "again");
});

Deno.test("the way that gave sound is the first one from then on", () => {
  const order = new AttemptOrder();
  for (let n = 0; n < 2; n++) order.failed(MICROPHONE, "microphone_lost");
  order.gaveSound(MICROPHONE, AT_44);
  assertEquals(order.of(MICROPHONE).map(spell), [
    "hw 44100",
    "hw 16000",
    "plughw 48000",
    "hw 48000",
  ]);
  order.failed(MICROPHONE, "microphone_lost");
  assertEquals(spell(order.of(MICROPHONE)[0]), "hw 44100");
  assertEquals(spell(order.of(named("another"))[0]), "another 48000", "of this microphone");
});

Deno.test("what no other rate can help against changes nothing, nor does one rate only", () => {
  const order = new AttemptOrder();
  for (const code of ["microphone_missing", "microphone_busy", "microphone_forbidden"] as const) {
    for (let n = 0; n < 2; n++) order.failed(MICROPHONE, code);
  }
  assertEquals(order.of(MICROPHONE), [...MICROPHONE.attempts]);
  const pcm = named("pcm", {
    attempts: [way("pcm", 48_000), { ...way("pcm", 48_000), channels: 2 }] as CaptureSource[],
  });
  for (let n = 0; n < 2; n++) order.failed(pcm, "microphone_lost");
  assertEquals(order.of(pcm), [...pcm.attempts]);
});

Deno.test("after a plug the first one that is listed comes first again, unless attempts have just failed", () => {
  const order = new AttemptOrder();
  order.gaveSound(MICROPHONE, AT_16);
  order.plugged(MICROPHONE);
  assertEquals(order.of(MICROPHONE), [...MICROPHONE.attempts]);
  for (let n = 0; n < 2; n++) {
    order.failed(MICROPHONE, "microphone_lost");
    order.plugged(MICROPHONE); // it resets itself when it is opened at a rate at which it does not deliver
  }
  assertEquals(spell(order.of(MICROPHONE)[0]), "hw 44100");
});
