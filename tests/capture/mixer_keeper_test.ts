// What is set at a microphone, when, and that it is restored, with a sound card that is a value. The real amixer is
// in tests/integration/capture/volume_test.ts.

import { assertEquals, assertMatch } from "@std/assert";
import { MixerKeeper, type MixerSetting } from "../../src/capture/mixer_keeper.ts";
import { AmixerMissingError, type Mixer } from "../../src/microphone/mixer.ts";
import type { MixerControl } from "../../src/microphone/mixer_listing.ts";
import type { Microphone } from "../../src/microphone/microphones.ts";
import { startLog } from "../../src/system/log.ts";
import { Status } from "../../src/status/status.ts";
import { named, until } from "../fixtures/sockets.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const UNTOUCHED: MixerSetting = { volume: null, agc: null };

function volume(value: number, more: Partial<MixerControl> = {}): MixerControl {
  return {
    ...{ numid: 1, name: "Mic Capture Volume", index: 0, kind: "volume", min: 0, max: 35 },
    ...{ values: [value], decibels: null },
    ...more,
  };
}

function aSwitch(name: string, value: number, numid: number): MixerControl {
  return volume(value, { numid, name, kind: "switch", max: 1 });
}

function card(): MixerControl[] {
  return [volume(22), aSwitch("Mic Capture Switch", 0, 2), aSwitch("Auto Gain Control", 1, 3)];
}

function microphone(name = "usb", path = "1-1.2"): Microphone {
  const usb = { path, vendorProduct: "0d8c:0014", serial: null };
  const device = {
    card: 3,
    device: 0,
    cardId: "Device",
    name,
    alsaName: "hw:3,0",
    usb,
    offers: null,
  };
  return named(name, { device });
}

/** A till with one sound card; `keeper()` is a new run of the program. */
async function till(controls: MixerControl[] = card()) {
  const spoolDir = await Deno.makeTempDir({ prefix: "volume-" });
  const clock = new SimulatedClock(0);
  const state = {
    controls,
    calls: 0,
    error: null as Error | null,
    /** The control that another process holds. */
    busy: 0,
    /** Each call of amixer waits for it. */
    answers: Promise.resolve(),
  };
  const mixerOf = (): Mixer => ({
    read: async () => {
      state.calls++;
      await state.answers;
      if (state.error !== null) throw state.error;
      return state.controls;
    },
    set: ({ numid }, values) => {
      state.calls++;
      if (numid === state.busy) return Promise.reject(new Error("Device or resource busy"));
      state.controls = state.controls.map((one) => one.numid === numid ? { ...one, values } : one);
      return Promise.resolve();
    },
  });
  const log = startLog({ level: "ERROR", journal: false, write: () => {} });
  let status: Status;
  return {
    state,
    spoolDir,
    clock,
    keeper: (setting: MixerSetting) => {
      status = new Status({ pointId: "p", registerId: "r", deviceId: "d", version: "0" }, clock);
      return new MixerKeeper(() => setting, { clock, status, log, spoolDir, mixerOf });
    },
    values: () => state.controls.map(({ values }) => values.join()).join(" "),
    problems: () => {
      const tally = { files: 0, bytes: 0, durationUs: 0 };
      const spool = { tally: { outbox: tally, uploaded: tally, rejected: tally }, totalBytes: 0 };
      return status.report(spool).problems.map(({ code, message }) =>
        `${code}: ${message.split(". ")[0]}`
      );
    },
    files: () => [...Deno.readDirSync(spoolDir)].map(({ name }) => name),
    [Symbol.asyncDispose]: () => Deno.remove(spoolDir, { recursive: true }),
  };
}

Deno.test("level, mute and automatic gain are set at the opening, and restored at the end", async () => {
  await using shop = await till();
  const keeper = shop.keeper({ volume: 80, agc: "off" });
  await keeper.open(microphone());
  assertEquals(shop.values(), "28 1 0");
  await keeper.close(microphone());
  assertEquals(shop.values(), "22 0 1");
  assertEquals(shop.files(), [], "nothing is left to be restored");
});

Deno.test("without the keys no control is read or changed", async () => {
  await using shop = await till();
  const keeper = shop.keeper(UNTOUCHED);
  await keeper.open(microphone());
  await keeper.close(microphone());
  assertEquals([shop.values(), shop.state.calls, shop.problems()], ["22 0 1", 0, []]);
});

Deno.test("a level that is right already is not written again", async () => {
  await using shop = await till();
  const keeper = shop.keeper({ volume: 80, agc: null });
  await keeper.open(microphone());
  const { calls } = shop.state;
  await keeper.open(microphone());
  assertEquals([shop.values(), shop.state.calls - calls], ["28 1 1", 1]);
});

Deno.test("what alsactl restores after the opening is set once more, and what a person sets later stays", async () => {
  await using shop = await till();
  const keeper = shop.keeper({ volume: 80, agc: null });
  await keeper.open(microphone());
  shop.state.controls = card();
  await shop.clock.advance(9_000);
  assertEquals(shop.values(), "22 0 1");
  await shop.clock.advance(2_000);
  await until("sets it again", () => shop.values() === "28 1 1");
  const { calls } = shop.state;
  shop.state.controls = card();
  await shop.clock.advance(3_600_000);
  assertEquals([shop.values(), shop.state.calls], ["22 0 1", calls]);
  for (const end of ["close", "lost", "finish"] as const) {
    await keeper.open(microphone());
    const { calls } = shop.state;
    await keeper[end](microphone());
    const closing = shop.state.calls - calls;
    await shop.clock.advance(60_000);
    assertEquals([shop.state.calls - calls, shop.clock.sleepers], [closing, 0], end);
  }
});

Deno.test("what a killed program has set is restored by the next one", async () => {
  await using shop = await till();
  await shop.keeper({ volume: 80, agc: "off" }).open(microphone());
  const next = shop.keeper({ volume: 50, agc: "off" });
  await next.open(microphone());
  assertEquals(shop.values(), "18 1 0");
  await next.close(microphone());
  assertEquals(shop.values(), "22 0 1");
});

Deno.test("a key that was removed after a kill gives its control back when the microphone is opened", async () => {
  await using shop = await till();
  await shop.keeper({ volume: 80, agc: "off" }).open(microphone());
  const next = shop.keeper({ volume: 80, agc: null });
  await next.open(microphone());
  assertEquals(shop.values(), "28 1 1");
  await shop.keeper(UNTOUCHED).open(microphone());
  assertEquals(shop.values(), "22 0 1");
  assertEquals(shop.files(), []);
});

Deno.test("a level that somebody has changed since stays as it is", async () => {
  await using shop = await till();
  const keeper = shop.keeper({ volume: 80, agc: null });
  await keeper.open(microphone());
  shop.state.controls = shop.state.controls.map((one) => one.numid === 1 ? volume(31) : one);
  await keeper.close(microphone());
  assertEquals(shop.values(), "31 0 1");
});

Deno.test("a microphone that was plugged in again is set again, and its first level is restored", async () => {
  await using shop = await till();
  const keeper = shop.keeper({ volume: 80, agc: null });
  await keeper.open(microphone());
  shop.state.controls = card(); // the device has forgotten it
  await keeper.open(microphone());
  assertEquals(shop.values(), "28 1 1");
  await keeper.close(microphone());
  assertEquals(shop.values(), "22 0 1");
});

Deno.test("another microphone does not get the level of the first one back", async () => {
  await using shop = await till();
  await shop.keeper({ volume: 80, agc: null }).open(microphone());
  await shop.keeper(UNTOUCHED).open(microphone("other", "1-1.3"));
  assertEquals(shop.values(), "28 1 1");
});

Deno.test("all controls of the same name are set, on all of their channels", async () => {
  await using shop = await till([
    volume(22, { values: [5, 9] }),
    volume(3, { numid: 2, index: 1 }),
  ]);
  const keeper = shop.keeper({ volume: 100, agc: null });
  await keeper.open(microphone());
  assertEquals(shop.values(), "35,35 35");
  await keeper.close(microphone());
  assertEquals(shop.values(), "5,9 3");
});

Deno.test("what a microphone has no control for is a problem, and the rest is set", async () => {
  await using shop = await till([volume(22)]);
  const keeper = shop.keeper({ volume: 80, agc: "off" });
  await keeper.open(microphone());
  assertEquals(shop.values(), "28");
  assertEquals(shop.problems(), [
    "capture_volume_unavailable: The capture level of the microphone usb cannot be set: it has no " +
    "control for automatic gain",
  ]);
  shop.state.controls = card();
  await keeper.open(microphone());
  assertEquals(shop.problems(), []);
});

Deno.test("without amixer, without a card and with a card that fails, the reason is a problem", async () => {
  await using shop = await till();
  const setting: MixerSetting = { volume: 80, agc: null };
  shop.state.error = new AmixerMissingError();
  await shop.keeper(setting).open(microphone());
  assertMatch(shop.problems().join(), /^capture_volume_unavailable: .*amixer is not installed$/);
  shop.state.error = new Error("Control hw:3 open error: Permission denied");
  await shop.keeper(setting).open(microphone());
  assertMatch(shop.problems().join(), /: Control hw:3 open error: Permission denied$/);
  await shop.keeper(setting).open(named("shop_mic"));
  assertMatch(shop.problems().join(), /shop_mic cannot be set: only ALSA knows which card it is$/);
});

Deno.test("a damaged memory restores nothing and stops nothing", async () => {
  await using shop = await till();
  const keeper = shop.keeper({ volume: 80, agc: null });
  await keeper.open(microphone());
  const [file] = shop.files();
  assertEquals(file, "mixer.json");
  for (
    const text of ["", "{", '[{"microphone":1}]', '[{"microphone":"x","controls":[{"name":1}]}]']
  ) {
    Deno.writeTextFileSync(`${shop.spoolDir}/mixer.json`, text);
    await keeper.open(microphone());
    assertEquals(shop.values(), "28 1 1", text);
  }
  assertEquals(shop.problems(), []);
});

Deno.test("a control that another process holds is a problem, and the others are set and restored", async () => {
  await using shop = await till();
  shop.state.busy = 1;
  const keeper = shop.keeper({ volume: 80, agc: "off" });
  await keeper.open(microphone());
  assertEquals(shop.values(), "22 1 0");
  assertMatch(shop.problems().join(), /: Device or resource busy$/);
  await keeper.close(microphone());
  assertEquals(shop.values(), "22 0 1");
});

Deno.test("while amixer hangs, requests do not pile up, and the end of the program waits for 4 s", async () => {
  await using shop = await till();
  const amixer = Promise.withResolvers<void>();
  shop.state.answers = amixer.promise;
  const keeper = shop.keeper({ volume: 80, agc: "off" });
  for (let count = 0; count < 100; count++) {
    keeper.open(microphone());
    keeper.close(microphone());
  }
  keeper.open(microphone());
  const beganMs = shop.clock.monotonicMs();
  let endedMs = Infinity;
  const end = keeper.finish().then(() => endedMs = shop.clock.monotonicMs());
  await shop.clock.advance(10_000);
  assertEquals([endedMs - beganMs, shop.state.calls], [4_000, 1]);
  amixer.resolve();
  await Promise.all([end, keeper.finish()]);
  assertEquals([shop.values(), shop.state.calls], ["28 1 0", 5], "the last request counts");
});

Deno.test("what waits for amixer is forgotten when the microphone is gone: its card may be another one", async () => {
  await using shop = await till();
  const amixer = Promise.withResolvers<void>();
  shop.state.answers = amixer.promise;
  const keeper = shop.keeper({ volume: 80, agc: "off" });
  shop.state.error = new Error("No such device");
  keeper.open(microphone());
  keeper.open(microphone("other", "1-1.3"));
  keeper.lost(microphone("other", "1-1.3"));
  amixer.resolve();
  await keeper.finish();
  assertEquals(shop.state.calls, 1);
});
