import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/commands/command_line.ts";
import { parsePause } from "../../src/commands/pause.ts";

Deno.test("the time of a pause is hours, minutes and seconds, within its limits", () => {
  for (
    const [text, seconds] of [["15m", 900], ["90s", 90], ["2h", 7200], ["1h30m", 5400], [
      "12h",
      43_200,
    ], ["10s", 10]] as const
  ) assertEquals(parsePause(text), seconds, text);
  for (const text of ["", "15", "9s", "13h", "2d", "m", "-5m", "1.5h", "30m1h", "15 m", "1e3s"]) {
    assertThrows(() => parsePause(text), UsageError, `"${text}"`);
  }
});
