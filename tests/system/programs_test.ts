import { assertEquals, assertMatch } from "@std/assert";
import manifest from "../../deno.json" with { type: "json" };
import { PROGRAMS } from "../../src/system/programs.ts";

Deno.test("no program is looked up in PATH: each is started by the path that the table names", async () => {
  for (const [name, path] of Object.entries(PROGRAMS)) assertMatch(path, /^\/usr\//, name);
  const sources = new URL("../../src/", import.meta.url);
  const starts = /\b(?:outputOf|spawnBound|outputLines|runProgram|Deno\.Command)\(\s*\[?"(?!\/)/;
  for await (const folder of Deno.readDir(sources)) {
    if (!folder.isDirectory) continue;
    for await (const { name } of Deno.readDir(new URL(`${folder.name}/`, sources))) {
      const code = await Deno.readTextFile(new URL(`${folder.name}/${name}`, sources));
      assertEquals(starts.exec(code)?.[0], undefined, `${folder.name}/${name}`);
    }
  }
  const permitted = /--allow-run=(\S+)/.exec(manifest.tasks["compile:any"])?.[1]?.split(",") ?? [];
  for (const path of permitted) assertMatch(path, /^\/usr\//);
  const { dd: _dd, rm: _rm, ...started } = PROGRAMS; // setpriv starts those two
  assertEquals(permitted.toSorted(), Object.values(started).toSorted());
});
