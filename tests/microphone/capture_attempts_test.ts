// The parameters for opening the microphones of described sound systems (fixtures/sound).

import { assert, assertEquals } from "@std/assert";
import { captureAttempts, describeOffers } from "../../src/microphone/capture_attempts.ts";
import type { CaptureDevice, CaptureOffers } from "../../src/microphone/sound_listing.ts";
import { readSoundSystem } from "../../src/microphone/sound_system.ts";
import { soundRoot } from "../fixtures/sound/root.ts";

async function devicesOf(recording: string): Promise<readonly CaptureDevice[]> {
  await using system = await soundRoot(recording);
  return (await readSoundSystem(system)).devices;
}

async function only(recording: string): Promise<CaptureDevice> {
  const [device, ...others] = await devicesOf(recording);
  assert(device !== undefined && others.length === 0, "one device expected");
  return device;
}

Deno.test("captureAttempts() asks for mono at the wanted rate if it is offered", async () => {
  const device = await only("one_usb_microphone");
  assertEquals(captureAttempts(device, 44100), [
    { pcm: "hw:CARD=Device,DEV=0", channels: 1, sampleRate: 44100 },
    { pcm: "hw:CARD=Device,DEV=0", channels: 1, sampleRate: 48000 },
    { pcm: "plughw:CARD=Device,DEV=0", channels: 1, sampleRate: 44100 },
  ]);
  assertEquals(captureAttempts(device, 16000)[0]?.sampleRate, 48000);
});

Deno.test("captureAttempts() takes 44.1 kHz stereo if nothing else is offered", async () => {
  assertEquals(captureAttempts(await only("stereo_44100_only"), 48000), [
    { pcm: "hw:CARD=CODEC,DEV=0", channels: 2, sampleRate: 44100 },
    { pcm: "plughw:CARD=CODEC,DEV=0", channels: 2, sampleRate: 44100 },
  ]);
});

Deno.test("captureAttempts() uses only combinations that are offered", async () => {
  const device = (await devicesOf("capture_at_device_1"))[2];
  assert(device !== undefined);
  const pcm = "hw:CARD=Bar,DEV=1";
  assertEquals(captureAttempts(device, 48000), [ // mono at 48 kHz is not offered as S16_LE
    { pcm, channels: 2, sampleRate: 48000 },
    { pcm, channels: 1, sampleRate: 16000 },
    { pcm: `plug${pcm}`, channels: 2, sampleRate: 48000 },
  ]);
  assertEquals(captureAttempts(device, 16000).slice(0, 2), [
    { pcm, channels: 1, sampleRate: 16000 },
    { pcm, channels: 2, sampleRate: 16000 },
  ]);
});

Deno.test("captureAttempts() asks for enough channels for the one that is wanted", () => {
  const altset = (channels: number, rate: number) => ({
    ...{ channels, rates: [rate], formats: ["S16_LE"] },
  });
  const array: CaptureDevice = {
    ...{ card: 1, device: 0, cardId: "Array", name: "Array", alsaName: "hw:CARD=Array,DEV=0" },
    usb: null,
    offers: {
      channels: [],
      rates: [],
      altsets: [altset(2, 48000), altset(1, 48000), altset(6, 16000)],
    },
  };
  const counts = (least: number, device: CaptureDevice | string = array) =>
    captureAttempts(device, 48000, least).map(({ channels }) => channels);
  assertEquals(counts(1), [1, 2, 6, 1]);
  assertEquals(counts(2), [2, 6, 1, 2]);
  assertEquals(counts(4), [6, 2, 1, 6], "even at a lower rate");
  assertEquals(counts(7), [6, 2, 1, 6], "the nearest that there is");
  assertEquals(counts(3, { ...array, offers: null }), [4, 6, 8, 2, 1, 4]);
  assertEquals(counts(10, "shop_array").slice(0, 3), [10, 11, 12]);
});

Deno.test("captureAttempts() converts at once if S16_LE is not offered", async () => {
  const umik = (await devicesOf("odd_names"))[1];
  assert(umik !== undefined);
  assertEquals(captureAttempts(umik, 48000), [
    { pcm: "plughw:CARD=U18dB,DEV=0", channels: 2, sampleRate: 48000 },
  ]);
});

Deno.test("captureAttempts() converts before it records at a lower rate, also for a plughw: that is named", () => {
  const device: CaptureDevice = {
    ...{ card: 1, device: 0, cardId: "Mic", name: "Mic", alsaName: "hw:1,0", usb: null },
    offers: {
      channels: [1],
      rates: [8000, 48000],
      altsets: [
        { formats: ["S16_LE"], channels: 1, rates: [8000] },
        { formats: ["S24_3LE"], channels: 1, rates: [48000] },
      ],
    },
  };
  assertEquals(captureAttempts(device, 48000), [
    { pcm: "plughw:1,0", channels: 1, sampleRate: 48000 },
    { pcm: "hw:1,0", channels: 1, sampleRate: 8000 },
  ]);
  const [first] = captureAttempts({ ...device, alsaName: "plughw:1,0" }, 48000);
  assertEquals(first, { pcm: "plughw:1,0", channels: 1, sampleRate: 48000 });
});

Deno.test("captureAttempts() has two other rates that are offered, for a device that is wrong about one", () => {
  const rates = { min: 8000, max: 96000 };
  const offers: CaptureOffers = {
    ...{ channels: [1], rates },
    altsets: [{ formats: ["S16_LE"], channels: 1, rates }],
  };
  const device = { card: 1, device: 0, cardId: "Mic", name: "Mic", alsaName: "hw:1,0", usb: null };
  const ratesOf = (wanted: number) =>
    captureAttempts({ ...device, offers }, wanted).map(({ pcm, sampleRate }) =>
      pcm === "hw:1,0" ? sampleRate : pcm
    );
  assertEquals(ratesOf(48000), [48000, 44100, 16000, "plughw:1,0"]);
  assertEquals(ratesOf(24000), [24000, 48000, 44100, "plughw:1,0"]);
});

Deno.test("captureAttempts() stays within continuous rates", async () => {
  const device = await only("one_usb_microphone");
  const rateFor = (min: number, max: number, wanted: number) => {
    const rates = { min, max };
    const offers: CaptureOffers = {
      channels: [1],
      rates,
      altsets: [{ formats: ["S16_LE"], channels: 1, rates }],
    };
    return captureAttempts({ ...device, offers }, wanted)[0]?.sampleRate;
  };
  assertEquals(rateFor(8000, 96000, 24000), 24000);
  assertEquals(rateFor(32000, 96000, 24000), 48000);
  assertEquals(rateFor(8000, 16000, 24000), 16000);
});

Deno.test("captureAttempts() tries mono, stereo, more channels, then conversion if nothing is known", () => {
  assertEquals(
    captureAttempts("hw:1,0", 48000).map(({ pcm, channels }) => `${pcm} ${channels}`),
    ["hw:1,0 1", "hw:1,0 2", "hw:1,0 4", "hw:1,0 6", "hw:1,0 8", "plughw:1,0 2"],
  );
  assertEquals(captureAttempts("plughw:1,0", 48000)[0]?.channels, 2, "one would be an average");
  const named = captureAttempts("usbmic", 16000);
  assertEquals(named[0], { pcm: "usbmic", channels: 1, sampleRate: 16000 });
  assert(named.every(({ pcm, sampleRate }) => pcm === "usbmic" && sampleRate === 16000));
  assertEquals(
    named.map(({ channels }) => channels).toSorted((a, b) => a - b),
    Array.from({ length: 32 }, (_, index) => index + 1),
  );
});

Deno.test("describeOffers() describes in words what the hardware offers", async () => {
  const words = async (recording: string, index = 0) => {
    const offers = (await devicesOf(recording))[index]?.offers;
    return offers ? describeOffers(offers) : null;
  };
  assertEquals(await words("one_usb_microphone"), "1 channel at 44100, 48000 Hz as S16_LE");
  assertEquals(await words("stereo_44100_only"), "2 channels at 44100 Hz as S16_LE");
  assertEquals(await words("odd_names"), "1 channel at 8000 to 48000 Hz as S16_LE");
});
