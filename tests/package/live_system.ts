// A Debian whose systemd runs, in namespaces and a control group of its own, so that units and maintainer scripts are
// tried without a virtual machine. It has no network and no devices of its own, and cannot set the clock. Needs root.

import { delay } from "@std/async/delay";
import { run } from "../fixtures/command.ts";

const BOOT_MS = 120_000;

/** What becomes the first process of the system. SYSTEM, FILES, LAYER and GROUP are variables. */
const BOOT = `set -e
mount -t tmpfs tmpfs $LAYER
root=$LAYER/root
mkdir -p $root $LAYER/upper $LAYER/work $LAYER/groups
mount -t overlay overlay -o lowerdir=$SYSTEM,upperdir=$LAYER/upper,workdir=$LAYER/work $root
mkdir -p $root/old $root/files
cp $FILES/* $root/files
for dir in run tmp; do mount -t tmpfs tmpfs $root/$dir; done
# It would replace the binary formats of the machine, which are in no namespace.
mkdir -p $root/run/systemd/system
ln -s /dev/null $root/run/systemd/system/systemd-binfmt.service
mount --rbind /dev $root/dev
mount --make-rprivate $root/dev
mount -t cgroup2 cgroup2 $LAYER/groups
mkdir -p $LAYER/groups/$GROUP
echo $$ > $LAYER/groups/$GROUP/cgroup.procs
umount $LAYER/groups
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -ec '
  root=$LAYER/root
  mount -t proc proc $root/proc
  mount -t sysfs sysfs $root/sys
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
  cd $root
  pivot_root . old
  mount --make-rprivate /old
  umount -l /old
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin
  exec setpriv --bounding-set=-sys_time --inh-caps=-sys_time \\
    env -i container=other PATH=$PATH /lib/systemd/systemd --log-target=null --show-status=0
'`;

export class LiveSystem implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #layer: string;

  private constructor(child: Deno.ChildProcess, layer: string) {
    this.#child = child;
    this.#layer = layer;
  }

  /**
   * Boots a system that debootstrap has installed; nothing changes in its folder.
   * @param files a folder whose files are in /files there.
   */
  static async boot(system: string, files: string): Promise<LiveSystem> {
    const layer = await Deno.makeTempDir({ prefix: "live-system-" });
    const child = new Deno.Command("unshare", {
      args: ["--mount", "sh", "-c", BOOT],
      env: { SYSTEM: system, FILES: files, LAYER: layer, GROUP: groupOf(layer) },
      stdin: "null",
      stdout: "null",
    }).spawn();
    const live = new LiveSystem(child, layer);
    try {
      const endMs = performance.now() + BOOT_MS;
      while (!await live.#isUp()) {
        if (performance.now() > endMs) throw new Error(`systemd of ${system} does not start`);
        await delay(200);
      }
      return live;
    } catch (error) {
      await live[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #isUp(): Promise<boolean> {
    const state = await this.run("systemctl is-system-running || true").catch(() => "");
    return /^(running|degraded)$/m.test(state);
  }

  /** Runs a script in it. Returns the output. @throws if it fails. */
  async run(script: string): Promise<string> {
    // The only child of "unshare --fork".
    const { pid } = this.#child;
    const children = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
    const enter = ["-t", children.trim(), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w"];
    const { stdout } = await run("nsenter", [...enter, "bash", "-euo", "pipefail", "-c", script]);
    return new TextDecoder().decode(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL"); // --kill-child
    } catch { /* it has ended */ }
    await this.#child.status;
    const remove = `mount -t cgroup2 cgroup2 ${this.#layer}
cd ${this.#layer}
until find ${
      groupOf(this.#layer)
    } -depth -type d -exec rmdir {} + 2> /dev/null; do sleep 0.2; done`;
    await run("unshare", ["--mount", "timeout", "20", "sh", "-c", remove]).catch(() => {});
    await Deno.remove(this.#layer, { recursive: true });
  }
}

/** The control group of a system. */
function groupOf(layer: string): string {
  return layer.split("/").at(-1) ?? "";
}
