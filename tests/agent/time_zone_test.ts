import { assertEquals } from "@std/assert";
import { watchTimeZone } from "../../src/agent/time_zone.ts";
import { type MachineZone, readMachineZone } from "../../src/system/machine_zone.ts";
import { withFakePrograms } from "../fixtures/fake_programs.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const DAY_MS = 86_400_000;

Deno.test("a machine whose rules of local time are others is named soon after the start, or within a day", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 30, 12), { awaits: "promises" });
  const said: string[] = [];
  const clockSync = { isTrusted: false };
  let machine: MachineZone | null = { zone: "Asia/Almaty", offset: "+06:00" };
  let reads = 0;
  const stop = new AbortController();
  const running = watchTimeZone({
    clock,
    clockSync,
    problem: {
      set: ({ code, message }) => {
        const line = `${code}: ${message}`;
        if (said.at(-1) !== line) said.push(line);
      },
      clear: () => void (said.length > 0 && said.at(-1) !== "resolved" && said.push("resolved")),
    },
    read: () => {
      reads++;
      return Promise.resolve(machine);
    },
  }, stop.signal);
  await clock.advance(DAY_MS);
  assertEquals([reads, said], [0, []], "the clock is not right");
  clockSync.isTrusted = true;
  await clock.advance(1_300_000);
  const expected =
    "time_zone_rules: In Asia/Almaty it is UTC+05:00 by the rules of this program, and +06:00 by " +
    "those of the machine";
  assertEquals(said, [expected]);
  reads = 0;
  await clock.advance(10 * DAY_MS);
  assertEquals(
    [reads, said],
    [10, [expected]],
    "a difference that lasts does not make it look more often",
  );
  machine = { zone: "Asia/Almaty", offset: "+05:00" };
  await clock.advance(DAY_MS);
  assertEquals(said, [expected, "resolved"]);
  reads = 0;
  await clock.advance(10 * DAY_MS);
  assertEquals(reads, 10);
  for (machine of [null, { zone: "Mars/Phobos", offset: "+01:00" }]) {
    await clock.advance(2 * DAY_MS);
  }
  assertEquals(said.length, 2);
  stop.abort();
  await running;
});

Deno.test("a change of the time between the two readings is not a difference", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 30, 12), { awaits: "promises" });
  const answers = ["+02:00", "+01:00"];
  const stop = new AbortController();
  const running = watchTimeZone({
    clock,
    clockSync: { isTrusted: true },
    problem: { set: ({ message }) => Promise.reject(new Error(message)), clear: () => {} },
    read: () => Promise.resolve({ zone: "Europe/Berlin", offset: answers.shift() ?? "+01:00" }),
  }, stop.signal);
  await clock.advance(DAY_MS);
  assertEquals(answers, []);
  stop.abort();
  await running;
});

Deno.test("readMachineZone() reads what timedatectl says, and null if it says nothing", async () => {
  const say = async (line: string) => {
    let read: MachineZone | null = null;
    const script = `echo "      Local time: Mon 2026-11-30"; echo "       Time zone: ${line}"`;
    await withFakePrograms(
      { timedatectl: script },
      async () => void (read = await readMachineZone()),
    );
    return read;
  };
  assertEquals(await say("Europe/Moscow (MSK, +0300)"), {
    zone: "Europe/Moscow",
    offset: "+03:00",
  });
  assertEquals(await say("Asia/Tashkent (+05, +0500)"), {
    zone: "Asia/Tashkent",
    offset: "+05:00",
  });
  assertEquals(await say("America/Lima (-05, -0500)"), { zone: "America/Lima", offset: "-05:00" });
  assertEquals(await say("n/a"), null);
  await withFakePrograms({ timedatectl: null }, async () => {
    assertEquals(await readMachineZone(), null);
  });
});
