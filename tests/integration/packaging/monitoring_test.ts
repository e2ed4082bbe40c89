import { assert } from "@std/assert";

const DIR = new URL("../../../packaging/monitoring/", import.meta.url);

Deno.test("promtool accepts the rules and their tests", async () => {
  for (const args of [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]]) {
    const { success, stdout, stderr } = await new Deno.Command("promtool", { args, cwd: DIR })
      .output();
    const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
    assert(success, said);
  }
});
