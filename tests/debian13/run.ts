// deno-lint-ignore-file no-console -- a person runs this
// Runs the tests of capture with the ffmpeg and the alsa-lib of Debian 13 (ffmpeg 7.1), which debootstrap installs
// into a folder of its own. Needs root and debootstrap; nothing outside that folder changes, because the mounts are
// those of a private namespace.
//
// `tests/debian13/run.ts [DIR]`; DIR is kept, so that the next run does not install again.

import { join } from "@std/path/join";
import { exists } from "../../src/system/disk.ts";

const TESTS = ["tests/integration/capture/zoo_test.ts", "tests/integration/capture/ffmpeg_test.ts"];

async function call(program: string, args: readonly string[], env = {}): Promise<void> {
  const { success } = await new Deno.Command(program, {
    args: [...args],
    env,
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${program} failed`);
}

/** Installs Debian 13 with ffmpeg into this folder, unless it is there. */
async function install(root: string): Promise<void> {
  if (await exists(join(root, "usr/bin/ffmpeg"))) return;
  const packages = "--include=ffmpeg,libasound2-plugins";
  await call("debootstrap", ["--variant=minbase", packages, "trixie", root]);
}

const root = Deno.args[0] ?? "/tmp/recorder-agent-debian13";
await install(root);
const bin = await Deno.makeTempDir({ prefix: "debian13-" });
try {
  // Below the same /tmp, which both share: the sockets, the plugin and its configuration.
  const script = `#!/bin/sh\nexec /usr/sbin/chroot ${root} /usr/bin/ffmpeg "$@"\n`;
  await Deno.writeTextFile(join(bin, "ffmpeg"), script, { mode: 0o755 });
  await call("chroot", [root, "/usr/bin/ffmpeg", "-hide_banner", "-version"]);
  const mounts = `mount --bind /tmp ${root}/tmp && mount -t proc proc ${root}/proc`;
  const tests = `exec "${Deno.execPath()}" test -A ${TESTS.join(" ")}`;
  await call("unshare", ["--mount", "sh", "-c", `${mounts} && ${tests}`], {
    PATH: `${bin}:${Deno.env.get("PATH") ?? ""}`,
  });
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  Deno.exitCode = 1;
} finally {
  await Deno.remove(bin, { recursive: true });
}
