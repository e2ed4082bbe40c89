// Files that somebody else made: on a disk that was prepared elsewhere, in a folder that others may write to,
// under a name that a person gave. None makes the program wait, follow a link, or take memory without a limit.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import { alsaEnvironment } from "../src/capture/alsa_config.ts";
import { readChunks } from "../src/commands/chunk_files.ts";
import { readChannels } from "../src/microphone/known_channels.ts";
import { readMicrophones } from "../src/microphone/last_microphone.ts";
import { recoverRecordings } from "../src/spool/recovery.ts";
import { restoreHistory } from "../src/spool/restore_history.ts";
import { writeReason } from "../src/spool/reason_file.ts";
import { readLastGaps } from "../src/status/gap_log.ts";
import { History } from "../src/status/history.ts";
import { systemClock } from "../src/system/clock.ts";
import { readNamedText, readNamedTextSync, TooLargeError } from "../src/system/disk.ts";
import { makeChunk } from "./fixtures/chunks.ts";
import { run } from "./fixtures/command.ts";
import { capturedLog, TempSpool } from "./fixtures/temp_spool.ts";

const GAP = { start: "2026-11-23T09:00:00Z", end: "2026-11-23T09:00:01Z", ms: 1000, cause: "x" };

/** What a disk has at a path of the spool instead of a file of this program. */
const STRANGE: Readonly<Record<string, (path: string, precious: string) => Promise<unknown>>> = {
  "a pipe": (path) => run("mkfifo", [path]),
  "a link": (path, precious) => Deno.symlink(precious, path),
  "a link to nothing": (path, precious) => Deno.symlink(`${precious}.not`, path),
  "a folder": (path) => Deno.mkdir(join(path, "not-empty"), { recursive: true }),
  "a huge file": async (path) => {
    await Deno.writeTextFile(path, "[");
    await Deno.truncate(path, 1e12);
  },
};

for (const [what, put] of Object.entries(STRANGE)) {
  Deno.test(`${what} in place of a file of the spool holds nothing up, and nothing is written through it`, async () => {
    const precious = await Deno.makeTempFile();
    await Deno.writeTextFile(precious, "precious");
    await using temp = await TempSpool.open();
    using captured = capturedLog();
    const { spool } = temp;
    const own = ["gaps.jsonl", "channels.json", "microphone.json", "alsa.conf"];
    const broken = "broken.part";
    await Deno.writeTextFile(spool.path("recording", broken), "no chunk");
    for (const name of [...own, join("rejected", `${broken}.reason.json`)]) {
      await put(join(temp.dir, name), precious);
    }
    assertEquals(await readLastGaps(temp.dir), []);
    await restoreHistory(new History(systemClock, "UTC"), spool, 0);
    assertEquals(await readChannels(temp.dir, "m", 2), null);
    assertEquals((await readMicrophones(temp.dir)).last, null);
    alsaEnvironment(temp.dir);
    await spool.gaps.append(GAP).catch(() => {});
    await recoverRecordings(spool, captured.log);
    await writeReason(spool.path("rejected", broken), { reason: "again" });
    assertEquals(temp.files("recording"), []);
    assertEquals(await Deno.readTextFile(precious), "precious");
    await Deno.remove(precious);
  });
}

Deno.test("a file that a person names may be a link or a pipe, and is read up to a limit", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const [file, link, pipe, none] = ["file", "link", "pipe", "none"].map((name) =>
      join(dir, name)
    );
    const text = "ключ: 1\n".repeat(10_000);
    await Deno.writeTextFile(file ?? "", text);
    await Deno.symlink(file ?? "", link ?? "");
    await run("mkfifo", [pipe ?? ""]);
    assertEquals(await readNamedText(link ?? ""), text);
    assertEquals(readNamedTextSync(link ?? ""), text);
    const [piped] = await Promise.all([
      readNamedText(pipe ?? ""),
      Deno.writeTextFile(pipe ?? "", text),
    ]);
    assertEquals(piped, text);
    assertEquals(readNamedTextSync("/dev/null"), "");
    await assertRejects(() => readNamedText("/dev/zero"), TooLargeError);
    assertThrows(() => readNamedTextSync("/dev/zero"), TooLargeError);
    await assertRejects(() => readNamedText(none ?? ""), Deno.errors.NotFound);
    assertThrows(() => readNamedTextSync(dir), Deno.errors.IsADirectory);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a SHA256SUMS is read line by line, however long it and its lines are", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeFile(join(dir, "a.ogg"), makeChunk());
    const other = `${"0".repeat(64)}  other\n`.repeat(10_000);
    const sums = await Deno.open(join(dir, "SHA256SUMS"), { createNew: true, write: true });
    const bytes = new TextEncoder().encode(other);
    for (let count = 0; count < 5; count++) await sums.write(bytes);
    await sums.write(
      new TextEncoder().encode(`${"0".repeat(100_000)}\n${"1".repeat(64)}  a.ogg\n`),
    );
    sums.close();
    const { message } = await assertRejects(() => readChunks([dir]), Error);
    assertEquals(message.endsWith("a.ogg has not the digest in SHA256SUMS"), true, message);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
