import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { closeOpenFolders, findOpenFolders } from "../../src/spool/private_folders.ts";
import { capturedLog, TempSpool } from "../fixtures/temp_spool.ts";

Deno.test("the folders of a spool that others can reach are closed, and the log says which", async () => {
  const captured = capturedLog();
  await using temp = await TempSpool.open();
  assertEquals(await findOpenFolders(temp.dir), []);
  await Deno.chmod(temp.dir, 0o777);
  await Deno.chmod(join(temp.dir, "rejected"), 0o2710);
  await closeOpenFolders(temp.dir, captured.log);
  captured[Symbol.dispose]();
  const modes = [temp.dir, join(temp.dir, "rejected")].map((path) => Deno.statSync(path).mode ?? 0);
  assertEquals(modes.map((mode) => (mode & 0o7777).toString(8)), ["700", "2700"]);
  assertEquals(captured.lines.map(({ level, path, mode_before }) => [level, path, mode_before]), [
    ["WARNING", temp.dir, "777"],
    ["WARNING", join(temp.dir, "rejected"), "2710"],
  ]);
});

Deno.test("a spool that cannot be closed is an error in the log, and no reason to stop", async () => {
  const captured = capturedLog();
  await using temp = await TempSpool.open();
  await Deno.chmod(temp.dir, 0o755);
  const { chmod } = Deno;
  try {
    Deno.chmod = () => Promise.resolve(); // as on a disk that knows no permissions
    await closeOpenFolders(temp.dir, captured.log);
    Deno.chmod = () => Promise.reject(new Deno.errors.PermissionDenied("Operation not permitted"));
    await closeOpenFolders(temp.dir, captured.log);
  } finally {
    Deno.chmod = chmod;
    captured[Symbol.dispose]();
  }
  assertEquals(captured.lines.filter(({ level }) => level === "ERROR").length, 2);
});

Deno.test("a spool that is a link is closed where that leads; a folder that is a link, or missing, is left alone", async () => {
  await using temp = await TempSpool.open();
  const link = join(temp.dir, "../link");
  await Deno.symlink(temp.dir, link);
  const elsewhere = join(temp.dir, "../elsewhere");
  await Deno.mkdir(elsewhere, { mode: 0o755 });
  await Deno.remove(join(temp.dir, "uploaded"));
  await Deno.remove(join(temp.dir, "rejected"));
  await Deno.symlink(elsewhere, join(temp.dir, "rejected"));
  assertEquals(await findOpenFolders(link), []);
  await Deno.chmod(temp.dir, 0o750);
  await Deno.chmod(join(temp.dir, "recording"), 0o701);
  assertEquals(await findOpenFolders(link), [
    { path: link, mode: 0o750 },
    { path: join(link, "recording"), mode: 0o701 },
  ]);
});
