import { assert, assertEquals, assertMatch } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import { ClockSync, readBoot } from "../../src/system/clock_sync.ts";
import { systemClock } from "../../src/system/clock.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const log = getLogger("test");
const NOW = Date.UTC(2026, 5, 15, 12);

/** A service that waits for clock sync; `asked` are the seconds of its queries to the system. */
function waitingSync() {
  const clock = new SimulatedClock(NOW);
  const state = { isSynchronized: false, hasFlag: false, waited: 0 };
  const asked: number[] = [];
  const sync = new ClockSync({
    clock,
    log,
    probe: () => {
      asked.push(clock.monotonicMs() / 1000);
      return Promise.resolve(state.isSynchronized);
    },
    hasFlag: () => Promise.resolve(state.hasFlag),
  });
  const running = sync.run(new AbortController().signal, () => state.waited++);
  return { clock, state, asked, sync, running };
}

Deno.test("the agent queries clock sync after 10, 20, 40 s and so on, at last every 10 min", async () => {
  const { clock, state, asked, sync, running } = waitingSync();
  await clock.advance(75_000);
  assertEquals(asked, [1, 11, 31, 71]);
  assertEquals([sync.isTrusted, state.waited], [false, 1]);
  await clock.advance(7_200_000);
  assert(asked.length < 22, `${asked.length} times in two hours`);
  state.isSynchronized = true;
  await clock.advance(600_000);
  await running;
  assertEquals([sync.isTrusted, state.waited], [true, 1]);
});

Deno.test("a clock that was stepped, or set by timesyncd, is trusted within 10 s", async () => {
  for (const sign of ["step", "flag"]) {
    const { clock, state, asked, sync, running } = waitingSync();
    await clock.advance(1_800_000);
    const before = asked.length;
    state.isSynchronized = true;
    if (sign === "flag") state.hasFlag = true;
    else clock.step(-3_000);
    await clock.advance(10_000);
    await running;
    assertEquals([sync.isTrusted, asked.length], [true, before + 1], sign);
  }
});

Deno.test("an answer that follows the step of the clock by some seconds is not missed", async () => {
  const { clock, state, sync, running } = waitingSync();
  await clock.advance(1_200_000);
  clock.step(3_600_000); // the time server has set the clock, and the kernel does not report it yet
  await clock.advance(11_000);
  state.isSynchronized = true;
  await clock.advance(20_000);
  assertEquals(sync.isTrusted, true);
  await running;
});

Deno.test("a date before the release of the program is not trusted, whatever the system reports", async () => {
  const clock = new SimulatedClock(Date.UTC(1970, 0, 1));
  const sync = new ClockSync({ clock, log, probe: () => Promise.resolve(true) });
  assertEquals(await sync.look(), false);
  clock.step(NOW);
  assertEquals(await sync.look(), true);
});

Deno.test("if the system cannot report clock sync, a plausible date is trusted", async () => {
  const probe = () => Promise.resolve(null);
  assertEquals(await new ClockSync({ clock: new SimulatedClock(NOW), log, probe }).look(), true);
});

Deno.test("the wait ends when the service stops", async () => {
  const clock = new SimulatedClock(NOW);
  const stop = new AbortController();
  const sync = new ClockSync({ clock, log, probe: () => Promise.resolve(false) });
  const running = sync.run(stop.signal, () => {});
  await clock.advance(1000);
  stop.abort();
  await running;
  assertEquals(sync.isTrusted, false);
});

Deno.test("readBoot() returns the boot id of the kernel and the time since boot", async () => {
  const uptimeS = async () => Number((await Deno.readTextFile("/proc/uptime")).split(" ")[0]);
  const beforeS = await uptimeS();
  const boot = await readBoot(systemClock);
  assertMatch(boot.id, /^[0-9a-f]{8}$/);
  assertEquals((await readBoot(systemClock)).id, boot.id);
  const sinceBootS = (systemClock.monotonicMs() + boot.zeroMs) / 1000;
  // The two clocks are read one after the other, so the time that this takes may be between them.
  const nowS = await uptimeS();
  const tolerance = nowS - beforeS + 0.05;
  assert(Math.abs(sinceBootS - nowS) < tolerance, `${sinceBootS} s, ${nowS} s, ± ${tolerance}`);
});
