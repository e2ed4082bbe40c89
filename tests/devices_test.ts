// The microphones found in described sound systems (fixtures/sound), the one chosen of them, and
// the parameters it is opened with.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  captureAttempts,
  type CaptureDevice,
  type CaptureOffers,
  chooseDevice,
  detectMicrophone,
  listCaptureDevices,
  NoMicrophoneError,
  readSoundSystem,
} from "../src/capture/devices.ts";
import { runDevices } from "../src/commands/devices.ts";
import { soundRoot } from "./fixtures/sound/root.ts";

async function devicesOf(recording: string): Promise<CaptureDevice[]> {
  await using system = await soundRoot(recording);
  return await listCaptureDevices(system);
}

async function only(recording: string): Promise<CaptureDevice> {
  const [device, ...others] = await devicesOf(recording);
  assert(device !== undefined && others.length === 0, "one device expected");
  return device;
}

async function refusal(recording: string | null): Promise<string> {
  await using system = await soundRoot(recording);
  return (await assertRejects(() => detectMicrophone(system), NoMicrophoneError)).message;
}

async function printed(recording: string | null): Promise<{ code: number; text: string }> {
  await using system = await soundRoot(recording);
  const lines: string[] = [];
  const code = await runDevices({ root: system.root, print: (text) => lines.push(text) });
  return { code, text: lines.join("\n") };
}

Deno.test("listCaptureDevices() finds one USB microphone among cards that only play", async () => {
  assertEquals(await devicesOf("one_usb_microphone"), [{
    card: 1,
    device: 0,
    cardId: "Device",
    name: "USB PnP Sound Device",
    alsaName: "hw:CARD=Device,DEV=0",
    usb: { path: "1-1.2", vendorProduct: "0d8c:013c", serial: null, bus: "001/004" },
    offers: {
      channels: [1],
      rates: [44100, 48000],
      altsets: [{ formats: ["S16_LE"], channels: 1, rates: [44100, 48000] }],
    },
  }]);
});

Deno.test("listCaptureDevices() tells two equal microphones apart by path and serial", async () => {
  const devices = await devicesOf("two_equal_usb_microphones");
  assertEquals(devices.map(({ card, cardId, usb }) => [card, cardId, usb?.path, usb?.serial]), [
    [0, "Device", "1-1.3", "AB12"],
    [1, "Device_1", "1-1.2", "AB34"],
  ]);
  assertEquals(devices[0]?.usb?.vendorProduct, devices[1]?.usb?.vendorProduct);
});

Deno.test("listCaptureDevices() is empty where nothing can capture", async () => {
  for (const recording of ["no_sound_cards", "pi_without_microphone", "usb_speaker_only"]) {
    assertEquals(await devicesOf(recording), []);
  }
});

Deno.test("listCaptureDevices() is empty before /proc/asound exists", async () => {
  await using system = await soundRoot(null);
  assertEquals(await listCaptureDevices(system), []);
});

Deno.test("listCaptureDevices() finds capture at device 1, and its own stream file", async () => {
  const devices = await devicesOf("capture_at_device_1");
  assertEquals(devices.map((device) => device.alsaName), [
    "hw:CARD=PCH,DEV=0",
    "hw:CARD=PCH,DEV=2",
    "hw:CARD=Bar,DEV=1",
  ]);
  assertEquals(devices[0]?.usb, null);
  assertEquals(devices[0]?.offers, null);
  assertEquals(devices[2]?.usb?.path, "1-5.1");
  assertEquals(devices[2]?.offers?.channels, [1, 2]);
  assertEquals(devices[2]?.offers?.rates, [8000, 16000, 32000, 48000]);
  assertEquals(devices[2]?.offers?.altsets.length, 3);
});

Deno.test("listCaptureDevices() reads odd names, cut characters and continuous rates", async () => {
  const devices = await devicesOf("odd_names");
  assertEquals(devices.map((device) => device.name), [
    "Микрофон [касса",
    "Umik-1  Gain: 18dB",
    "Desk [31mMic : capture 1",
  ]);
  assertEquals(devices[0]?.alsaName, "hw:CARD=default,DEV=0");
  assertEquals(devices[0]?.offers?.rates, { min: 8000, max: 48000 });
});

Deno.test("listCaptureDevices() takes the USB path from the long name without sysfs", async () => {
  const devices = await devicesOf("odd_names");
  assertEquals(devices.map((device) => device.usb?.path), [null, "1-1.3.4", null]);
  assertEquals(devices[2]?.usb, { path: null, vendorProduct: null, serial: null, bus: null });
});

Deno.test("readSoundSystem() lists each card once, those without capture too", async () => {
  await using system = await soundRoot("pi_without_microphone");
  const { cards } = await readSoundSystem(system);
  assertEquals(cards.map(({ number, id, driver }) => [number, id, driver]), [
    [0, "Headphones", "bcm2835_headpho"],
    [1, "vc4hdmi0", "vc4-hdmi"],
    [2, "vc4hdmi1", "vc4-hdmi"],
  ]);
});

Deno.test("chooseDevice() gives its reason in a sentence", async () => {
  const reason = (devices: CaptureDevice[]) => chooseDevice(devices).reason;
  const mixed = await devicesOf("capture_at_device_1");
  assertEquals(
    reason(await devicesOf("one_usb_microphone")),
    'USB microphone "USB PnP Sound Device" (card 1) — the only USB capture device',
  );
  assertEquals(
    reason(mixed),
    'USB microphone "Conference Bar" (card 3, device 1) — the only USB capture device of 3',
  );
  assertEquals(
    reason(await devicesOf("two_equal_usb_microphones")),
    'USB microphone "USB PnP Sound Device" (card 0) — the lowest number of 2 USB capture devices',
  );
  assertEquals(
    reason(mixed.slice(0, 2).reverse()),
    'microphone "HDA Intel PCH" (card 0) — the lowest number of 2 capture devices, not on USB',
  );
});

Deno.test("detectMicrophone() says what there is when nothing can capture", async () => {
  const advice = ". Plug in a USB microphone, or name an ALSA PCM in audio_device " +
    "(RA_AUDIO_DEVICE), for instance plughw:1,0";
  const nothing = `Cannot find a microphone: there are no sound cards${advice}`;
  assertEquals(await refusal("no_sound_cards"), nothing);
  assertEquals(await refusal(null), nothing);
  assertEquals(
    await refusal("pi_without_microphone"),
    "Cannot find a microphone: none of the 3 sound cards can capture " +
      `(card 0 "bcm2835 Headphones", card 1 "vc4-hdmi-0", card 2 "vc4-hdmi-1")${advice}`,
  );
  assertEquals(
    await refusal("usb_speaker_only"),
    "Cannot find a microphone: the only sound card can play, but not capture " +
      `(card 0 "USB Audio")${advice}`,
  );
  assertThrows(() => chooseDevice([]), NoMicrophoneError, "nothing here can capture");
});

Deno.test("captureAttempts() asks for mono at the wanted rate where it is offered", async () => {
  const device = await only("one_usb_microphone");
  assertEquals(captureAttempts(device, 44100), [
    { pcm: "hw:CARD=Device,DEV=0", channels: 1, sampleRate: 44100 },
    { pcm: "plughw:CARD=Device,DEV=0", channels: 1, sampleRate: 44100 },
  ]);
  assertEquals(captureAttempts(device, 16000)[0]?.sampleRate, 48000);
});

Deno.test("captureAttempts() takes 44.1 kHz stereo from what offers nothing else", async () => {
  assertEquals(captureAttempts(await only("stereo_44100_only"), 48000), [
    { pcm: "hw:CARD=CODEC,DEV=0", channels: 2, sampleRate: 44100 },
    { pcm: "plughw:CARD=CODEC,DEV=0", channels: 2, sampleRate: 44100 },
  ]);
});

Deno.test("captureAttempts() keeps to the combinations that are offered", async () => {
  const device = (await devicesOf("capture_at_device_1"))[2];
  assert(device !== undefined);
  const pcm = "hw:CARD=Bar,DEV=1";
  assertEquals(captureAttempts(device, 48000), [ // mono at 48 kHz is not to be had as S16_LE
    { pcm, channels: 2, sampleRate: 48000 },
    { pcm, channels: 1, sampleRate: 16000 },
    { pcm: `plug${pcm}`, channels: 2, sampleRate: 48000 },
  ]);
  assertEquals(captureAttempts(device, 16000).slice(0, 2), [
    { pcm, channels: 1, sampleRate: 16000 },
    { pcm, channels: 2, sampleRate: 16000 },
  ]);
});

Deno.test("captureAttempts() converts at once where S16_LE is not offered", async () => {
  const umik = (await devicesOf("odd_names"))[1];
  assert(umik !== undefined);
  assertEquals(captureAttempts(umik, 48000), [
    { pcm: "plughw:CARD=U18dB,DEV=0", channels: 2, sampleRate: 48000 },
  ]);
});

Deno.test("captureAttempts() stays inside continuous rates", async () => {
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

Deno.test("captureAttempts() tries mono, stereo, more, then conversion where nothing is known", () => {
  assertEquals(
    captureAttempts("hw:1,0", 48000).map(({ pcm, channels }) => `${pcm} ${channels}`),
    ["hw:1,0 1", "hw:1,0 2", "hw:1,0 4", "hw:1,0 6", "hw:1,0 8", "plughw:1,0 1"],
  );
  const named = captureAttempts("usbmic", 16000);
  assertEquals(named[0], { pcm: "usbmic", channels: 1, sampleRate: 16000 });
  assert(named.every(({ pcm, sampleRate }) => pcm === "usbmic" && sampleRate === 16000));
});

Deno.test("runDevices() prints a table and marks the microphone it would take", async () => {
  const { code, text } = await printed("capture_at_device_1");
  assertEquals(code, 0);
  assertEquals(
    text,
    `
   CARD  NAME            AUDIO_DEVICE       USB ID     USB PATH  CHANNELS  RATES, HZ
   0     HDA Intel PCH   hw:CARD=PCH,DEV=0  -          -         ?         ?
   0     HDA Intel PCH   hw:CARD=PCH,DEV=2  -          -         ?         ?
*  3     Conference Bar  hw:CARD=Bar,DEV=1  1235:8016  1-5.1     1, 2      8000, 16000, 32000, 48000

* recorded unless audio_device says otherwise: USB microphone "Conference Bar" (card 3, device 1) — the only USB capture device of 3.`
      .slice(1),
  );
});

Deno.test("runDevices() ends with 1 and the reason where there is no microphone", async () => {
  const { code, text } = await printed("no_sound_cards");
  assertEquals(code, 1);
  assert(text.startsWith("Cannot find a microphone: there are no sound cards. Plug in"));
});
