import { assertRejects } from "@std/assert";
import { PAGE_SCRIPT } from "../../../src/web/page_script.ts";
import { run } from "../../fixtures/command.ts";

Deno.test("the script is ES5, which old browsers know", async () => {
  const file = await Deno.makeTempFile({ suffix: ".js" });
  const acorn = ["-y", "acorn@8.15.0", "--ecma5", "--silent", file];
  try {
    await Deno.writeTextFile(file, PAGE_SCRIPT);
    await run("npx", acorn);
    await Deno.writeTextFile(file, "const newer = () => 1;");
    await assertRejects(() => run("npx", acorn));
  } finally {
    await Deno.remove(file);
  }
});
