import { assert, assertEquals } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import { type Sighting, SoundEvents } from "../../../src/microphone/sound_events.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { SimulatedClock } from "../../fixtures/simulated_clock.ts";
import { until } from "../../fixtures/sockets.ts";

const log = getLogger("test");
const HEADING = "monitor will print the received events for:\nKERNEL - the kernel uevent\n\n";

/** Runs `test` with this shell script as the helper that reports events. */
async function withHelper(
  script: string,
  test: (events: SoundEvents, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const events = new SoundEvents({
    clock: systemClock,
    log,
    helper: ["sh", "-c", script.replace("HEADING", `printf '${HEADING}'`)],
  });
  const stop = new AbortController();
  const running = events.run(stop.signal);
  try {
    await test(events, stop.signal);
  } finally {
    stop.abort();
    await running;
  }
}

/** Waits until the helper reports. */
async function watched(events: SoundEvents, signal: AbortSignal): Promise<void> {
  await events.wait(10, signal);
  await until("it watches", () => events.isCurrent(events.sighting()));
}

/** Waits until the sighting is out of date. */
async function changed(events: SoundEvents, seen: Sighting, signal: AbortSignal): Promise<void> {
  while (events.isCurrent(seen)) await events.wait(60_000, signal);
}

Deno.test("a change that udevadm reports ends the wait within a second", async () => {
  // The test cannot plug in a sound device; it triggers an event of the memory devices instead.
  const monitor = ["monitor", "--kernel", "--udev", "--subsystem-match=mem"];
  const helper = ["/usr/bin/udevadm", ...monitor] as const;
  const events = new SoundEvents({ clock: systemClock, log, helper: [...helper] });
  const stop = new AbortController();
  const running = events.run(stop.signal);
  await watched(events, stop.signal);
  const seen = events.sighting();
  await systemClock.sleep(50);
  assert(events.isCurrent(seen), "nothing has changed");
  const reported = changed(events, seen, stop.signal);
  await Deno.writeTextFile("/sys/class/mem/null/uevent", "change");
  await reported;
  stop.abort();
  await running;
});

Deno.test("the helper is not started until the agent waits for a microphone", async () => {
  const marker = await Deno.makeTempFile();
  await withHelper(`echo started > ${marker}; HEADING; exec sleep 60`, async (events, signal) => {
    assertEquals(events.isCurrent(events.sighting()), false);
    await systemClock.sleep(100);
    assertEquals(await Deno.readTextFile(marker), "");
    await watched(events, signal);
    assertEquals(await Deno.readTextFile(marker), "started\n");
  });
  await Deno.remove(marker);
});

Deno.test("a sighting from before the helper listened is out of date", async () => {
  await withHelper("sleep 0.1; HEADING; exec sleep 60", async (events, signal) => {
    const before = events.sighting();
    await watched(events, signal);
    assert(!events.isCurrent(before));
  });
});

Deno.test("half a heading is not a helper that listens: what the kernel reports may still be missed", async () => {
  const dir = await Deno.makeTempDir();
  const script = `printf 'monitor will print the received events for:\\n'; touch ${dir}/half; ` +
    `until [ -e ${dir}/go ]; do sleep 0.01; done; HEADING; exec sleep 60`;
  await withHelper(script, async (events, signal) => {
    await events.wait(10, signal);
    await until("it has printed half", () => [...Deno.readDirSync(dir)].length === 1);
    await systemClock.sleep(100);
    assert(!events.isCurrent(events.sighting()));
    await Deno.writeTextFile(`${dir}/go`, "");
    await watched(events, signal);
  });
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a helper that prints many events together with its heading is one that listens", async () => {
  const event = "KERNEL[38.652189] add /devices/platform/vhci_hcd.0/usb1/1-1/sound/card1 (sound)\n";
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/printed`, HEADING + event.repeat(40)); // more than a line buffer
  await withHelper(`cat ${dir}/printed; exec sleep 60`, watched);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("when the helper ends, a wait ends at once, and then at intervals", async () => {
  const dir = await Deno.makeTempDir();
  const script = `HEADING; until [ -e ${dir}/go ]; do sleep 0.01; done`;
  await withHelper(script, async (events, signal) => {
    await watched(events, signal);
    const seen = events.sighting();
    await Deno.writeTextFile(`${dir}/go`, "");
    await changed(events, seen, signal);
    await until("nobody watches", () => !events.isCurrent(events.sighting()));
  });
  await Deno.remove(dir, { recursive: true });
});

Deno.test("without the helper the agent polls at intervals", async () => {
  const clock = new SimulatedClock(0);
  const events = new SoundEvents({ clock, log, helper: ["/no/such/program"] });
  const stop = new AbortController();
  const running = events.run(stop.signal);
  let looks = 0;
  const looking = (async () => {
    while (!stop.signal.aborted) {
      await events.wait(60_000, stop.signal);
      looks++;
    }
  })();
  for (let turn = 0; turn < 24; turn++) {
    await clock.advance(5_000);
    await systemClock.sleep(10); // the helper is a real process
  }
  assert(looks >= 20, `${looks} looks in 120 s`);
  stop.abort();
  await Promise.all([running, looking]);
});

Deno.test("a sighting is not trusted for longer than ten minutes", async () => {
  const clock = new SimulatedClock(0);
  const script = `printf '${HEADING}'; exec sleep 60`;
  const events = new SoundEvents({ clock, log, helper: ["sh", "-c", script] });
  const stop = new AbortController();
  const running = events.run(stop.signal);
  const waiting = events.wait(1_000, stop.signal);
  await until("it watches", () => events.isCurrent(events.sighting()));
  await clock.advance(1_000);
  await waiting;
  const seen = events.sighting();
  await clock.advance(599_000);
  assert(events.isCurrent(seen));
  await clock.advance(2_000);
  assert(!events.isCurrent(seen));
  stop.abort();
  await running;
});

Deno.test("stopping is quiet when the helper has ended just before, or a child of it holds the pipe", async () => {
  for (const script of ["HEADING; exit 0", "HEADING; sleep 60 & exec sleep 0.05"]) {
    for (let ms = 30; ms < 80; ms += 10) {
      await withHelper(script, async (events, signal) => {
        await events.wait(10, signal);
        await systemClock.sleep(ms);
      });
    }
  }
});
