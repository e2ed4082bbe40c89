import { assert, assertEquals, assertMatch } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import { ClockSync, readBoot } from "../src/clock_sync.ts";
import { systemClock } from "../src/clock.ts";
import { SimulatedClock } from "./fixtures/simulated_clock.ts";

const log = getLogger("test");
const NOW = Date.UTC(2026, 5, 15, 12);

Deno.test("the clock is trusted once the system says so, looked at every 10 s, later every 60 s", async () => {
  const clock = new SimulatedClock(NOW);
  let answer = false;
  const looks: number[] = [];
  const probe = () => {
    looks.push(clock.monotonicMs() / 1000);
    return Promise.resolve(answer);
  };
  const sync = new ClockSync({ clock, log, probe });
  let waited = 0;
  const running = sync.run(new AbortController().signal, () => waited++);
  await clock.advance(25_000);
  assertEquals(looks, [1, 11, 21]);
  assertEquals([sync.isTrusted, waited], [false, 1]);
  await clock.advance(700_000);
  assert(looks.length < 65, "less often after ten minutes");
  answer = true;
  await clock.advance(60_000);
  await running;
  assertEquals([sync.isTrusted, waited], [true, 1]);
});

Deno.test("a date before the program was written is not trusted, whatever the system says", async () => {
  const clock = new SimulatedClock(Date.UTC(1970, 0, 1));
  const sync = new ClockSync({ clock, log, probe: () => Promise.resolve(true) });
  assertEquals(await sync.look(), false);
  clock.step(NOW);
  assertEquals(await sync.look(), true);
});

Deno.test("where nobody knows, a possible date is taken for true", async () => {
  const probe = () => Promise.resolve(null);
  assertEquals(await new ClockSync({ clock: new SimulatedClock(NOW), log, probe }).look(), true);
});

Deno.test("waiting ends when the service does", async () => {
  const clock = new SimulatedClock(NOW);
  const stop = new AbortController();
  const sync = new ClockSync({ clock, log, probe: () => Promise.resolve(false) });
  const running = sync.run(stop.signal, () => {});
  await clock.advance(1000);
  stop.abort();
  await running;
  assertEquals(sync.isTrusted, false);
});

Deno.test("readBoot() gives the kernel's boot id and the time since boot", async () => {
  const boot = await readBoot(systemClock);
  assertMatch(boot.id, /^[0-9a-f]{8}$/);
  assertEquals((await readBoot(systemClock)).id, boot.id);
  const sinceBootS = (systemClock.monotonicMs() + boot.zeroMs) / 1000;
  const uptimeS = Number((await Deno.readTextFile("/proc/uptime")).split(" ")[0]);
  assert(Math.abs(sinceBootS - uptimeS) < 0.1, `${sinceBootS} s, ${uptimeS} s`);
});
