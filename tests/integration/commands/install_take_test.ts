// Settings that are taken from a file, as at the first boot of a card.

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path/join";
import { wipeStep } from "../../../src/commands/install_take.ts";
import { loadConfig } from "../../../src/config/config.ts";
import { fileSteps } from "../../../src/commands/install.ts";
import { makePlan, readAnswers } from "../../../src/commands/install_plan.ts";
import { carryOut } from "../../../src/commands/install_steps.ts";
import { makeRoot } from "../../fixtures/installed_system.ts";

const FILE = `point_id: 11111111-1111-4111-8111-111111111111
ingest_base_url: https://ingest.example.com
ingest_token: a-secret-token
chunk_seconds: 30
`;

/** A system with this file on its boot partition, on a board with this serial number. */
async function booted(file: string, serial: string | null = "10000000a1b2c3d4\0") {
  const system = await makeRoot();
  const take = join(system.root, "recorder-agent.yaml");
  await Deno.writeTextFile(take, file);
  if (serial !== null) {
    const dir = join(system.root, "sys/firmware/devicetree/base");
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeTextFile(join(dir, "serial-number"), serial);
  }
  return {
    system,
    take,
    setUp: () => system.install({ set: [], env: {}, take }),
    config: async () => {
      const text = await Deno.readTextFile(join(system.root, "etc/recorder-agent/config.yaml"));
      assert(!text.includes("a-secret-token"));
      return loadConfig({
        path: "config.yaml",
        env: { CREDENTIALS_DIRECTORY: "/c" },
        readTextFile: (path) => path === "config.yaml" ? text : "a-secret-token\n",
      });
    },
    [Symbol.asyncDispose]: () => system[Symbol.asyncDispose](),
  };
}

Deno.test("a file is taken: its settings are in the configuration, its token in the token file, and it is gone", async () => {
  await using board = await booted(FILE);
  using open = await Deno.open(board.take);
  assertEquals(await board.setUp(), 0, board.system.said());
  const config = await board.config();
  assertEquals([config.pointId, config.chunkSeconds], ["11111111-1111-4111-8111-111111111111", 30]);
  const token = join(board.system.root, "etc/recorder-agent/token");
  assertEquals(await Deno.readTextFile(token), "a-secret-token\n");
  assertEquals(((await Deno.stat(token)).mode ?? 0) & 0o777, 0o600);
  assertEquals(await Deno.stat(board.take).catch(() => null), null);
  // What is still on the disk under the removed name.
  const left = new Uint8Array(FILE.length + 1);
  assertEquals(await open.read(left), FILE.length);
  const bytes = left.subarray(0, FILE.length);
  assert(bytes.every((byte) => byte === 0x0a), "the token is still on the card");
  assert(!board.system.said().includes("a-secret-token"));
  // A power cut may keep the overwritten file: the next boot takes it, and nothing changes.
  const written = join(board.system.root, "etc/recorder-agent/config.yaml");
  const before = await Deno.readTextFile(written);
  await Deno.writeFile(board.take, bytes);
  assertEquals(await board.setUp(), 0, board.system.said());
  assertEquals(await Deno.readTextFile(written), before);
  assertEquals(await Deno.readTextFile(token), "a-secret-token\n");
  assertEquals(await Deno.stat(board.take).catch(() => null), null);
});

Deno.test("what a link in place of the file leads to is not wiped", async () => {
  const dir = await Deno.makeTempDir({ prefix: "wipe-" });
  const [take, other] = [join(dir, "till.yaml"), join(dir, "shadow")];
  await Deno.writeTextFile(other, "root:secret\n");
  const { apply } = wipeStep(take);
  for (const put of [Deno.symlink, Deno.link]) {
    await put(other, take);
    await assertRejects(apply, Error, put === Deno.symlink ? "not a regular" : "another file");
    await Deno.remove(take);
    assertEquals(await Deno.readTextFile(other), "root:secret\n");
  }
  await Deno.rename(other, take);
  await apply();
  assertEquals(await Array.fromAsync(Deno.readDir(dir)), []);
  await Deno.remove(dir);
});

Deno.test("a file that is taken again at every boot, as its card cannot be written, changes nothing the second time", async () => {
  await using board = await booted(FILE);
  const { root, executable } = board.system;
  const facts = { hasDropIn: false, hasPackage: false, hasCopy: false, isUpdate: false };
  const boot = async () => {
    const options = { root, set: [], env: {}, dryRun: false, executable, take: board.take };
    const settings = await readAnswers(options);
    assert(settings !== null);
    const steps = await fileSteps(options, facts, await makePlan(root, settings));
    return await carryOut(steps, { dryRun: false, print: () => {} });
  };
  assertEquals([await boot(), await boot(), await boot()], [true, false, false]);
  await Deno.writeTextFile(board.take, FILE.replace("a-secret", "another"));
  assertEquals(await boot(), true, "a new token");
});

Deno.test("ids that the file does not give are those of the board: others on another board, the same ones again", async () => {
  const idsOf = async (serial: string) => {
    await using board = await booted(FILE, serial);
    assertEquals(await board.setUp(), 0, board.system.said());
    const { registerId, deviceId } = await board.config();
    assert(registerId !== deviceId);
    assertMatch(deviceId, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    return [registerId, deviceId];
  };
  const first = await idsOf("10000000a1b2c3d4\0");
  assertEquals(await idsOf("10000000a1b2c3d4\0"), first);
  const other = await idsOf("10000000a1b2c3d5\0");
  assert(other.every((id) => !first.includes(id)));
});

Deno.test("without a serial number the ids come from the machine-id; without either the keys are named", async () => {
  await using image = await booted(FILE, null);
  await Deno.writeTextFile(join(image.system.root, "etc/machine-id"), "uninitialized\n");
  assertEquals(await image.setUp(), 1);
  assertMatch(
    image.system.said(),
    /Cannot install without register_id, device_id: .*recorder-agent\.yaml/,
  );
  assertEquals(await Deno.readTextFile(image.take), FILE, "it is kept, to be corrected");
  await Deno.writeTextFile(join(image.system.root, "etc/machine-id"), `${"0f".repeat(16)}\n`);
  assertEquals(await image.setUp(), 0, image.system.said());
});

Deno.test("an id in the file counts, and a setting of the command line counts more than the file", async () => {
  await using board = await booted(`${FILE}device_id: 33333333-3333-4333-8333-333333333333\n`);
  const { system, take } = board;
  assertEquals(
    await system.install({ set: ["chunk_seconds=20"], env: {}, take }),
    0,
    system.said(),
  );
  const config = await board.config();
  assertEquals(config.deviceId, "33333333-3333-4333-8333-333333333333");
  assertEquals(config.chunkSeconds, 20);
});

Deno.test("the device of the name null is taken as one, and an empty value leaves the key out", async () => {
  await using board = await booted(`${FILE}audio_device: "null"\n`);
  assertEquals(await board.setUp(), 0, board.system.said());
  assertEquals((await board.config()).audioDevice, "null");
  await Deno.writeTextFile(board.take, 'audio_device: ""\n');
  assertEquals(await board.setUp(), 0, board.system.said());
  assertEquals((await board.config()).audioDevice, null);
});

Deno.test("a file of a text editor of Windows is understood", async () => {
  await using board = await booted(`\uFEFF${FILE.replaceAll("\n", "\r\n")}`);
  assertEquals(await board.setUp(), 0, board.system.said());
  assertEquals((await board.config()).chunkSeconds, 30);
});

Deno.test("every mistake in the file is named with its place, without the token, and nothing changes", async () => {
  await using board = await booted(
    FILE.replace("chunk_seconds", "chunk_second") + "gain_db: [1]\n",
  );
  assertEquals(await board.setUp(), 1);
  const said = board.system.said();
  assertStringIncludes(
    said,
    "chunk_second: is not a key of the configuration: did you mean chunk_seconds?",
  );
  assertStringIncludes(said, "gain_db: is not a single value");
  assert(!said.includes("a-secret-token"));
  assert((await Deno.readTextFile(board.take)).includes("a-secret-token"));
  const etc = [...Deno.readDirSync(join(board.system.root, "etc"))].map(({ name }) => name);
  assert(!etc.includes("recorder-agent"));
});

Deno.test("a wrong value in the file keeps it, and is named", async () => {
  await using board = await booted(FILE.replace("30", "0"));
  assertEquals(await board.setUp(), 1);
  assertStringIncludes(board.system.said(), "chunk_seconds");
  assert((await Deno.stat(board.take)).isFile);
});

Deno.test("lists within lists, each many times, are refused at once", async () => {
  const nested = Array.from({ length: 40 }, (_, level) => {
    const inner = level === 0 ? "x" : `*a${level - 1}`;
    return `a${level}: &a${level} [${Array(10).fill(inner).join()}]\n`;
  }).join("");
  for (const key of ["point_id", "spool_dir", "schedule"]) {
    await using board = await booted(`${nested}${key}: *a39\n`);
    assertEquals(await board.setUp(), 1);
    assertStringIncludes(board.system.said(), `${key}: is not a single value`);
  }
});
