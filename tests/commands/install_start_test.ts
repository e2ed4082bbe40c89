// The end of `install`: the port of the service, and how long its start may take.

import { assert, assertRejects } from "@std/assert";
import { checkPort, START_MS } from "../../src/commands/install_start.ts";

Deno.test("a port that is taken is refused only if the service cannot be the one that has it", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  // It has the port before it is ready, and until it has ended.
  for (const state of ["active", "activating", "reloading", "deactivating"]) {
    await checkPort(port, () => Promise.resolve(state));
  }
  for (const state of ["inactive", "failed", "unknown", null]) {
    const refused = () => checkPort(port, () => Promise.resolve(state));
    await assertRejects(refused, Error, `health_port ${port} is taken by another program`);
  }
  listener.close();
  await checkPort(port, () => Promise.resolve("inactive"));
});

Deno.test("install waits for the start of the service as long as the unit lets it take", async () => {
  const unit = await Deno.readTextFile(new URL("../../recorder-agent.service", import.meta.url));
  const [, minutes] = /^TimeoutStartSec=(\d+)min$/m.exec(unit) ?? [];
  assert(START_MS > Number(minutes) * 60_000, `${minutes} min`);
});
