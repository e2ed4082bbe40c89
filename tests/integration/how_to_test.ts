// Runs the commands of the page for receivers as they are written, in a folder with chunks of real sound; and
// holds that the traps it warns of are real.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { parseCommandLine } from "../../src/commands/command_line.ts";
import { runJoin } from "../../src/commands/join.ts";
import { runVerify } from "../../src/commands/verify.ts";
import { decodeToPcm, ffprobe, makeChirp } from "../fixtures/audio.ts";
import { run } from "../fixtures/command.ts";
import { Document, type ShellCommand } from "../fixtures/documents.ts";
import { recordedTill } from "../fixtures/real_till.ts";

const RATE = 48_000;

/** A folder with `chunks`, and one of them as `chunk.ogg`; the whole sound was one stream. */
async function received() {
  const dir = await Deno.makeTempDir({ prefix: "how-to-" });
  await makeChirp(join(dir, "chirp.wav"), 30);
  const { till, uncut } = await recordedTill(join(dir, "chirp.wav"), {
    startUnixMs: Date.UTC(2026, 10, 23, 14),
  });
  await till.deliver(join(dir, "chunks"));
  await Deno.writeFile(join(dir, "chunk.ogg"), till.chunks[2]?.bytes ?? new Uint8Array(0));
  await Deno.writeFile(join(dir, "uncut.ogg"), uncut);
  return {
    dir,
    path: (name: string) => join(dir, name),
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

async function carryOut({ words }: ShellCommand, dir: string): Promise<void> {
  const [program = "", ...rest] = words;
  if (program !== "recorder-agent") {
    const { success, stderr } = await new Deno.Command(program, {
      args: rest,
      cwd: dir,
      env: { SDL_AUDIODRIVER: "dummy" }, // there is no loudspeaker
    }).output();
    assert(success, `${words.join(" ")}\n${new TextDecoder().decode(stderr)}`);
    return;
  }
  const args = parseCommandLine(rest);
  const said: string[] = [];
  const options = {
    ...args,
    paths: args.operands.map((path) => join(dir, path)),
    output: join(dir, args.output),
    zone: "UTC",
    print: (text: string) => said.push(text),
    progress: () => {},
  };
  const code = args.command === "join" ? await runJoin(options) : await runVerify(options);
  assertEquals(code, 0, `${words.join(" ")}\n${said.join("\n")}`);
}

Deno.test("every command of the page for receivers works, in the order in which it stands there", async () => {
  await using rig = await received();
  const commands = new Document("docs/how-to/use-received-chunks.md").commands();
  assert(commands.length >= 10);
  // Two seconds of it are enough for a player.
  const played = commands.filter(({ words }) =>
    words[0] !== "ffplay" || words.includes("chunk.ogg")
  );
  for (const command of played) await carryOut(command, rig.dir);
  const minute = await decodeToPcm(rig.path("minute.ogg"));
  assertEquals(minute.length, 1.5 * RATE);
  const second = await decodeToPcm(rig.path("second.wav"));
  const chunk = await decodeToPcm(rig.path("chunk.ogg"));
  assertEquals(second.length, RATE);
  const differs = second.findIndex((value, at) =>
    Math.abs(value - (chunk[2 * RATE + at] ?? 0)) > 1e-3
  );
  assertEquals(differs, -1, "it is the third second of the chunk");
});

Deno.test("the traps that the page for receivers warns of are real, and its other ways are right", async () => {
  await using rig = await received();
  const names = [...Deno.readDirSync(rig.path("chunks"))].map(({ name }) => name).sort();
  const list = names.map((name) => `file 'chunks/${name}'\n`).join("");
  await Deno.writeTextFile(rig.path("list.txt"), list);
  const concat = ["-f", "concat", "-i", rig.path("list.txt"), "-c", "copy", rig.path("cat.ogg")];
  await run("ffmpeg", ["-nostdin", "-v", "fatal", ...concat]);
  const uncut = await decodeToPcm(rig.path("uncut.ogg"));
  const catted = await run("ffmpeg", [
    ...["-nostdin", "-v", "fatal", "-i", rig.path("cat.ogg"), "-f", "f32le", "-ac", "1", "-"],
  ]);
  assertEquals(catted.stdout.length / 4 - uncut.length, (names.length - 1) * 46_080);

  const early = ["-ss", "2", "-i", rig.path("chunk.ogg"), "-f", "f32le", "-"];
  const late = await run("ffmpeg", ["-nostdin", "-v", "error", ...early]);
  const chunk = await decodeToPcm(rig.path("chunk.ogg"));
  const lateS = (chunk.length - late.stdout.length / 4) / RATE - 2;
  assert(lateS > 0.4 && lateS < 1.1, `-ss before -i is ${lateS} s late`);

  const { format } = await ffprobe(rig.path("chunk.ogg"));
  assertEquals(Number(format.duration).toFixed(2), "5.96");
  const info = await run("opusinfo", [rig.path("chunk.ogg")]);
  assert(new TextDecoder().decode(info.stdout).includes("Playback length: 0m:05.000s"));
});
