// `install` while an earlier update is not decided yet.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import { awaitDecision } from "../../src/commands/install_update.ts";
import { makeRoot } from "../fixtures/installed_system.ts";

/** A system with one of the files of an open update, or none. */
async function updating(name: string | null) {
  const system = await makeRoot();
  const path = join(system.root, "var/lib/recorder-agent-update", name ?? "rolled-back");
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeTextFile(path, "to=2\n");
  const ran: string[] = [];
  return {
    ran,
    wait: (decide: () => Promise<void>) =>
      awaitDecision(system.root, () => {}, async (command) => {
        ran.push(command.slice(1).join(" "));
        await decide();
      }),
    decide: () => Deno.remove(path),
    [Symbol.asyncDispose]: () => system[Symbol.asyncDispose](),
  };
}

const STARTED = "start --wait recorder-agent-update.service";

Deno.test("install waits for the decision about a program on trial, and for a rollback, before it changes anything", async () => {
  for (const name of ["trial", "rolling-back"]) {
    await using update = await updating(name);
    await update.wait(update.decide);
    assertEquals(update.ran, [STARTED], name);
  }
});

Deno.test("a decision that is an error, as there is no previous program, is one all the same", async () => {
  await using update = await updating("trial");
  await update.wait(async () => {
    await update.decide();
    throw new Error("exit 1");
  });
});

Deno.test("install waits for nothing if no update is open", async () => {
  await using update = await updating(null);
  await update.wait(update.decide);
  assertEquals(update.ran, []);
});

Deno.test("install refuses to replace a program that stays on trial, and says how to continue", async () => {
  await using update = await updating("trial");
  const error = await assertRejects(() => update.wait(() => Promise.resolve()), Error);
  assertMatch(error.message, /the service is stopped.*systemctl start.*sudo rm .*\/trial$/);
  const failed = () => Promise.reject(new Error("no bus"));
  assertMatch((await assertRejects(() => update.wait(failed), Error)).message, /no bus/);
});
