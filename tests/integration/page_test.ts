// The status page in a real Chromium: its content, its live updates, and its behaviour in case of problems.
// RECORDER_AGENT_SCREENSHOTS names a folder for pictures.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { makeChirp } from "../fixtures/audio.ts";
import { Browser, type BrowserPage } from "../fixtures/browser.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { fillDay, speech, startStatusRig } from "../fixtures/status_rig.ts";

const LIVE = "document.getElementById('link').className === 'live'";
const FILL = "Number(document.getElementById('fill').getAttribute('width'))";
/** Patience, not a promise: a busy machine takes its time to notice that a microphone is gone. */
const LOSS_MS = 60_000;
const LOOKS = [
  { name: "light", width: 1180 },
  { name: "dark", width: 1180, dark: true },
  { name: "phone", width: 390 },
  { name: "phone-dark", width: 390, dark: true },
] as const;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Simulates speech until the scope ends. */
function speak(rig: ReturnType<typeof startStatusRig>): Disposable {
  let second = 0;
  const timer = setInterval(() => rig.status.history.heard(speech(second += 0.1)), 100);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Asserts that there are no errors, no content wider than the window and no layout shifts. */
async function assertCalm(page: BrowserPage): Promise<void> {
  assertEquals(page.errors, []);
  assertEquals(await page.evaluate("window.shifts"), []);
  const [content, view] = await page.evaluate(
    "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
  ) as [number, number];
  assert(content <= view, `${content} px of ${view}`);
}

Deno.test("the page updates itself, light and dark, wide and narrow, without layout shifts or errors", async () => {
  await using browser = await Browser.start();
  await using rig = startStatusRig();
  fillDay(rig, "Jabra SPEAK 510 USB");
  using _ = speak(rig);
  for (const look of LOOKS) {
    await using page = await browser.open(rig.url, look);
    await page.until(LIVE);
    const widths = new Set<unknown>();
    for (let look = 0; look < 15; look++) {
      widths.add(await page.evaluate(FILL));
      await sleep(100);
    }
    assert(widths.size > 4, `the meter moves: ${[...widths]}`);
    const text = await page.text();
    assertStringIncludes(text, "Recording from Jabra SPEAK 510 USB");
    assertStringIncludes(text, "Everything recorded is delivered.");
    assertMatch(text, /09:37:00\s+42 s\s+Microphone lost/);
    assertEquals(page.requests, [rig.url, `${rig.url}events`]);
    await assertCalm(page);
    await page.screenshot(look.name);
  }
});

Deno.test("a problem and its end appear without a reload, in text, symbols and the title", async () => {
  await using browser = await Browser.start();
  await using rig = startStatusRig();
  fillDay(rig, "microphone");
  const { status, tally } = rig;
  for (const { name, ...look } of LOOKS) {
    await using page = await browser.open(rig.url, look);
    await page.until(LIVE);
    status.recording(null);
    status.setProblem("microphone_lost", "The microphone is gone: plug it in");
    status.setProblem("upload_failing", "Chunks wait: no network");
    tally.outbox.files = 12;
    await page.until("/Not recording/.test(document.body.innerText)");
    const text = await page.text();
    assertStringIncludes(text, "The microphone is gone: plug it in. (and 1 more below)");
    assertMatch(text, /Upload failing since [\d:]+\s+Chunks wait: no network/);
    assertMatch(text, /Waiting\s+12 chunks/);
    assertEquals(await page.evaluate("document.title"), "⚠ Not recording – recorder-agent");
    assertEquals(await page.evaluate("document.querySelectorAll('#now .failure').length"), 1);
    assertEquals(page.errors, []);
    await page.screenshot(`problem-${name}`);
    status.clearProblem("microphone_lost");
    status.clearProblem("upload_failing");
    status.recording("microphone");
    tally.outbox.files = 0;
    await page.until("/Recording from microphone/.test(document.body.innerText)");
    assertMatch(await page.text(), /Microphone lost [\d:]+ to [\d:]+, resolved/);
    await assertCalm(page);
  }
});

Deno.test("the page reports that the recorder stopped, and recovers when it returns", async () => {
  await using browser = await Browser.start();
  const first = startStatusRig();
  const port = first.server?.port ?? 0;
  await using page = await browser.open(first.url, { width: 1180 });
  await page.until(LIVE);
  await first[Symbol.asyncDispose]();
  await page.until("document.documentElement.className === 'lost'");
  assertStringIncludes(await page.text(), "The recorder does not answer. Trying again…");
  await page.screenshot("lost");
  await using second = startStatusRig({ port });
  second.status.schedule(true);
  second.status.recording("the new one");
  await page.until(LIVE);
  await page.until("/Recording from the new one/.test(document.body.innerText)");
  assertEquals(await page.evaluate("document.documentElement.className"), "");
});

Deno.test("without scripting the page is complete, and reloads itself", async () => {
  await using browser = await Browser.start();
  await using rig = startStatusRig();
  fillDay(rig, "microphone");
  await using page = await browser.open(rig.url, { width: 1180, scriptless: true });
  const { root } = await page.call("DOM.getDocument", { depth: -1 });
  const text = JSON.stringify(root);
  assertStringIncludes(text, "Recording from microphone");
  assertStringIncludes(text, "Everything recorded is delivered.");
  assertStringIncludes(text, '"refresh","content","10"');
  assertEquals(page.errors, []);
  await page.screenshot("scriptless");
});

Deno.test("a screen reader can read the page", async () => {
  await using browser = await Browser.start();
  await using rig = startStatusRig();
  fillDay(rig, "microphone");
  await using page = await browser.open(rig.url, { width: 1180 });
  await page.until(LIVE);
  const { nodes } = await page.call("Accessibility.getFullAXTree") as {
    nodes: { role?: { value: string }; name?: { value: string }; ignored: boolean }[];
  };
  const found = nodes.filter(({ ignored }) => !ignored)
    .map(({ role, name }) => `${role?.value} ${name?.value ?? ""}`);
  assertEquals(found.filter((line) => line.startsWith("heading")).join().toLowerCase().split(","), [
    "heading recorder-agent",
    "heading sound",
    "heading today europe/berlin",
    "heading missing sound",
    "heading delivery",
    "heading storage",
    "heading problems",
  ]);
  assert(found.includes("meter Peak level"));
  assert(found.some((line) => /^image Today: recorded 08:00 to/.test(line)), found.join("\n"));
  assert(found.some((line) => line.startsWith("columnheader Cause")));
});

Deno.test("the meter follows a real microphone, and the page shows its loss without a reload", async () => {
  const dir = await Deno.makeTempDir({ prefix: "page-test-" });
  try {
    await using microphone = await PulseMicrophone.start();
    await using ingest = await IngestServer.start({ token: "t-o-k-e-n" });
    await using agent = await AgentProcess.start({
      dir,
      env: microphone.env,
      config: {
        ingest_base_url: ingest.url,
        ingest_token: "t-o-k-e-n",
        audio_device: microphone.device,
        spool_dir: join(dir, "spool"),
        schedule_start: "00:00",
        schedule_end: "00:00",
        chunk_seconds: 2,
        min_free_gb: 0,
      },
    });
    await using browser = await Browser.start();
    const { port } = await agent.said("Health is at");
    await agent.said("Recording.");
    await using page = await browser.open(`http://127.0.0.1:${port}/`, { width: 1180 });
    await page.until(LIVE);
    assertEquals(await page.evaluate(FILL), 0, "no sound was played yet");
    const wav = join(dir, "chirp.wav");
    await makeChirp(wav, 6);
    const played = microphone.play(wav);
    await page.until(`${FILL} > 120`);
    await page.until("/Delivered\\s+[1-9]/.test(document.body.innerText)");
    await page.screenshot("agent");
    await played;
    const html = await fetch(`http://127.0.0.1:${port}/`, { headers: { accept: "text/html" } });
    assert(!(await html.text()).includes("t-o-k-e-n"));
    await microphone.unplug();
    await page.until("/Not recording/.test(document.body.innerText)", LOSS_MS);
    await page.until("document.querySelectorAll('#today .missing').length > 0", LOSS_MS);
    await page.screenshot("agent-unplugged");
    assertEquals(page.errors, []);
    assertEquals(await agent.end("SIGTERM"), 0);
    await page.until("document.documentElement.className === 'lost'");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
