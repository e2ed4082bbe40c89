// A maintainer script of the Debian package, run with its paths below a temporary folder.

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";

const PREINST = new URL("../../../packaging/debian/preinst", import.meta.url);
const PROGRAM = "usr/bin/recorder-agent";
const UNIT = "usr/lib/systemd/system/recorder-agent.service";
const TRIAL = "var/lib/recorder-agent-update/trial";

/** What lies as NAME.old after an upgrade of a system with these files, and the trial. */
async function keptBy(files: Readonly<Record<string, string>>, isActive = false) {
  const root = await Deno.makeTempDir({ prefix: "preinst-" });
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(join(root, path, ".."), { recursive: true });
      await Deno.writeTextFile(join(root, path), text);
    }
    const script = (await Deno.readTextFile(PREINST)).replaceAll(
      /\/(usr|etc|var|run)\//g,
      `${root}/$1/`,
    );
    const { success } = await new Deno.Command("/bin/sh", {
      args: ["-c", `systemctl() { ${isActive}; }\n${script}`, "preinst", "upgrade", "1"],
    }).output();
    assertEquals(success, true);
    const read = (path: string) => Deno.readTextFile(join(root, `${path}.old`)).catch(() => null);
    const trial = await Deno.readTextFile(join(root, TRIAL)).catch(() => null);
    return [await read(PROGRAM), await read(UNIT), trial];
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("an upgrade keeps the program and the unit that it replaces", async () => {
  const files = { [PROGRAM]: "two", [`${PROGRAM}.old`]: "one", [UNIT]: "unit two" };
  assertEquals(await keptBy(files), ["two", "unit two", null]);
});

Deno.test("an upgrade during a trial keeps the program that was accepted last", async () => {
  const files = { [PROGRAM]: "two", [`${PROGRAM}.old`]: "one", [UNIT]: "unit two" };
  const kept = await keptBy({ ...files, [`${UNIT}.old`]: "unit one", [TRIAL]: "to=2\n" });
  assertEquals(kept, ["one", "unit one", "to=2\n"]);
});

Deno.test("an upgrade asks for the trial before the program is replaced, unless another one is in charge", async () => {
  const files = { [PROGRAM]: "two", "run/systemd/system/x": "" };
  assertEquals(await keptBy(files, true), ["two", null, "to=@VERSION@\n"]);
  assertEquals(await keptBy(files, false), ["two", null, null]);
  const copied = { ...files, "usr/local/bin/recorder-agent": "copied" };
  assertEquals(await keptBy(copied, true), ["two", null, null]);
});
