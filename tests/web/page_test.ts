// The status page as the server renders it: the sentence, the escapes, the drawings, the language of the
// script. integration/page_test.ts tests it in a browser.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { renderPage, renderParts } from "../../src/web/page.ts";
import { describeWave, drawWave } from "../../src/web/page_charts.ts";
import { markup } from "../../src/system/html.ts";
import { PAGE_SCRIPT } from "../../src/web/page_script.ts";
import { bytes, duration, spoken, summarize } from "../../src/web/page_words.ts";
import { ShiftedClock } from "../fixtures/shifted_clock.ts";
import { fillDay, NOW_MS, startStatusRig } from "../fixtures/status_rig.ts";

Deno.test("the sentence says what the agent is doing, and how to fix a problem", async () => {
  const clock = new ShiftedClock(NOW_MS);
  await using rig = startStatusRig({ clock });
  const { status, tally } = rig;
  const look = () => Object.values(summarize(rig.view())).join(" | ");
  assertEquals(
    look(),
    "paused | Paused by schedule until 22:00 | Everything recorded is delivered.",
    "the schedule has not been looked at yet",
  );
  status.schedule(true);
  assertEquals(look(), "starting | Starting to record | The microphone is being opened.");
  status.recording("USB <Mic>");
  tally.outbox.files = 1;
  assertEquals(look(), "recording | Recording from USB <Mic> | 1 chunk waits to be delivered.");
  status.setProblem("microphone_too_quiet", "it hears nobody");
  assertEquals(look(), "recording | Recording from USB <Mic> | it hears nobody.", "a hint");
  status.clearProblem("microphone_too_quiet");
  status.setProblem("upload_failing", "chunks wait: no network");
  assertEquals(look(), "trouble | Recording from USB <Mic> | chunks wait: no network.");
  status.recording(null);
  status.setProblem("microphone_lost", "it is gone: plug it in?");
  assertEquals(look(), "failure | Not recording | it is gone: plug it in? (and 1 more below)");
  status.schedule(false);
  clock.moveAhead(9 * 3_600_000);
  assertMatch(look(), /^trouble \| Paused by schedule until tomorrow 08:00 \|/);
});

Deno.test("foreign values appear only as text, wherever the page shows them", async () => {
  const evil = `<img src=x onerror=alert(1)>"'&\u2028</script>`;
  await using rig = startStatusRig();
  fillDay(rig, evil);
  rig.status.setProblem("upload_failing", evil);
  rig.status.gapDeclared({ start: new Date(NOW_MS).toISOString(), ms: 5000, cause: evil });
  const page = renderPage(rig.view(), "n");
  assert(!page.includes("<img"));
  assertEquals(page.split("<script").length, 2);
  assertEquals(page.split("</script>").length, 2);
  const { title, ...parts } = renderParts(rig.view());
  const shown = evil.replace("\u2028", " ");
  assertStringIncludes(title ?? "", shown); // the script sets it as the title of the document, as text
  for (const part of Object.values(parts)) assert(!/<img|<script|<\/script/.test(part));
  assertEquals(markup`<a b="${evil}">`.text.replace(/&[a-z#0-9]+;/g, "").match(/[<>"']/g), [
    ...'<"">',
  ]);
});

Deno.test("the loaded page has an element for every part that is sent later", async () => {
  await using rig = startStatusRig();
  fillDay(rig, "microphone");
  const page = renderPage(rig.view(), "n");
  for (const id of Object.keys(renderParts(rig.view()))) {
    if (id !== "title") assertStringIncludes(page, `id="${id}"`);
  }
  for (const [, id] of PAGE_SCRIPT.matchAll(/byId\('([\w-]+)'\)/g)) {
    assertStringIncludes(page, `id="${id}"`);
  }
  const ids = [...page.matchAll(/ id="([\w-]+)"/g)].map(([, id]) => id);
  assertEquals(ids.length, new Set(ids).size, "each id exists once");
});

Deno.test("the sound level is drawn second by second, with holes where sound is missing", () => {
  const level = (peakDbfs: number) => ({ peakDbfs, rmsDbfs: peakDbfs - 30 });
  const wave = [null, level(-30), level(-30), level(0), null, level(-90)];
  const [, peaks] = /class="wave-peak" d="([^"]*)"/.exec(drawWave(wave).text) ?? [];
  assertEquals(peaks, "M1 60v-30h2v-30h1V60zM5 60v-1h1V60z");
  assertEquals(
    describeWave(wave),
    "Loudest in the last 5 minutes: 0 dBFS",
  );
  assertEquals(describeWave([null, null]), "No sound arrived in the last 5 minutes.");
  const missing = new Array(7).fill(null);
  assertStringIncludes(
    describeWave([level(-20), ...missing]),
    "−20 dBFS; no sound for 7 s of them",
  );
  const begun = describeWave([...missing, level(-20)]);
  assertEquals(begun, "Loudest in the last 5 minutes: −20 dBFS");
});

Deno.test("amounts and times are readable", () => {
  assertEquals([0, 999, 1000, 932_400, 1.24e9, 11.4e9, 812e6, 999_700].map(bytes), [
    "0 B",
    "999 B",
    "1.00 kB",
    "932 kB",
    "1.24 GB",
    "11.4 GB",
    "812 MB",
    "1.00 MB",
  ]);
  assertEquals([700, 42_000, 119_000, 720_000, 18_180_000].map(duration), [
    "0.7 s",
    "42 s",
    "119 s",
    "12 min",
    "5 h 03 min",
  ]);
  assertEquals(spoken("microphone_lost"), "Microphone lost");
});
