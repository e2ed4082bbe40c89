import { assertEquals, assertRejects } from "@std/assert";
import { TaskGroup } from "../../src/system/task_group.ts";

/** Resolves a few turns after the signal aborts, like a task that has to clean up first. */
function untilAborted(signal: AbortSignal, ended: () => void = () => {}): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () =>
      setTimeout(() => {
        ended();
        resolve();
      }, 5));
  });
}

Deno.test("join() resolves when every task has ended by itself", async () => {
  const group = new TaskGroup();
  const ended: string[] = [];
  group.start("a", () => Promise.resolve().then(() => void ended.push("a")));
  group.start("b", () => Promise.resolve().then(() => void ended.push("b")));
  await group.join();
  assertEquals(ended, ["a", "b"]);
  assertEquals(group.signal.aborted, false);
});

Deno.test("start() starts a task at once", async () => {
  const group = new TaskGroup();
  let started = false;
  group.start("a", () => {
    started = true;
    return Promise.resolve();
  });
  assertEquals(started, true);
  await group.join();
});

Deno.test("the first failure aborts the rest, all are awaited, and join() names the task", async () => {
  const group = new TaskGroup();
  const ended: string[] = [];
  group.start("steady", (signal) => untilAborted(signal, () => ended.push("steady")));
  const cause = new Error("no more paper");
  group.start("printer", () => Promise.reject(cause));
  group.start("second", async (signal) => {
    await untilAborted(signal, () => ended.push("second"));
    throw new Error("a consequence");
  });
  const error = await assertRejects(() => group.join(), Error, "printer: no more paper");
  assertEquals(error.cause, cause);
  assertEquals(ended, ["steady", "second"]);
  assertEquals(group.signal.aborted, true);
});

Deno.test("a task that throws before its first await fails the group, not its starter", async () => {
  const group = new TaskGroup();
  group.start("hasty", () => {
    throw new Error("not even started");
  });
  await assertRejects(() => group.join(), Error, "hasty: not even started");
});

Deno.test("stop() ends every task, and a rejection with the reason of the signal is not a failure", async () => {
  const group = new TaskGroup();
  group.start("resolves", (signal) => untilAborted(signal));
  group.start("rejects", (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    }));
  group.stop();
  await group.join();
});

Deno.test("a failure after stop() is a failure", async () => {
  const group = new TaskGroup();
  group.start("a", async (signal) => {
    await untilAborted(signal);
    throw new Error("could not tidy up");
  });
  group.stop();
  await assertRejects(() => group.join(), Error, "a: could not tidy up");
});

Deno.test("join() awaits tasks that are started while it waits", async () => {
  const group = new TaskGroup();
  let ended = false;
  group.start("first", async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    group.start("second", async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      ended = true;
    });
  });
  await group.join();
  assertEquals(ended, true);
});
