import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { appendGap, declaredEnds } from "../../src/status/gap_log.ts";

function gap(ms: number) {
  return {
    start: "2026-06-15T12:00:00.000Z",
    end: "2026-06-15T12:00:01.000Z",
    ms,
    cause: "overrun",
  };
}

Deno.test("gaps.jsonl has one line per gap, and only its owner can read it", async () => {
  const dir = await Deno.makeTempDir();
  await appendGap(dir, gap(1000));
  await appendGap(dir, gap(20));
  const path = join(dir, "gaps.jsonl");
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(lines, [gap(1000), gap(20)]);
  assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("gaps.jsonl stays small: the older half is deleted, the newest gaps stay, every line is whole", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "gaps.jsonl");
  const line = JSON.stringify(gap(1)) + "\n";
  await Deno.writeTextFile(path, line.repeat(Math.ceil(262_144 / line.length)));
  await appendGap(dir, gap(777));
  assert((await Deno.stat(path)).size < 140_000);
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(lines.at(-1), gap(777));
  assertEquals(lines[0], gap(1));
  await Deno.remove(dir, { recursive: true });
});

Deno.test("declaredEnds() are the ends of the last gaps, whatever the file looks like", async () => {
  const dir = await Deno.makeTempDir();
  assertEquals(await declaredEnds(dir), []);
  for (let i = 0; i < 100; i++) await appendGap(dir, gap(i));
  await Deno.writeTextFile(join(dir, "gaps.jsonl"), '{"start":"2026-06', { append: true });
  const ends = await declaredEnds(dir);
  assert(ends.length > 20 && ends.every((ms) => ms === Date.parse(gap(0).end)), `${ends}`);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a line that a power cut has torn costs itself, and not the gap after it", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "gaps.jsonl");
  await Deno.writeTextFile(path, JSON.stringify(gap(1)) + '\n{"start":"2026-06');
  await appendGap(dir, gap(2));
  await appendGap(dir, gap(3));
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assertEquals(lines.toSpliced(1, 1).map((line) => JSON.parse(line)), [gap(1), gap(2), gap(3)]);
  await Deno.remove(dir, { recursive: true });
});
