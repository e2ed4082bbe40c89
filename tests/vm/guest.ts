// A guest under qemu, from power-on to power-off: it boots, runs commands over ssh, unplugs its network
// cable and cuts its power. It knows nothing about the tests inside.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";

export type Arch = "amd64" | "arm64";

export interface GuestOptions {
  readonly arch: Arch;
  /** Folder with kernel, initrd and ssh key. */
  readonly images: string;
  /** Folder for logs and sockets. */
  readonly dir: string;
  /** The disk (qcow2), which keeps all writes. */
  readonly disk: string;
  /** Folder that the guest mounts at /share. */
  readonly share: string;
  /** Port on the loopback of this machine that the guest reaches at `INGEST_ADDRESS`. */
  readonly ingestPort: number;
  /** The clock of the guest at power-on. */
  readonly clock: { readonly unixMs: number; readonly synced: boolean };
}

/** The only address outside the guest that it can reach. */
export const INGEST_ADDRESS = "10.0.2.100:8443";

/** `-icount shift=1`: each instruction takes 2 ns of guest time. */
export const NS_PER_INSTRUCTION = 2;

/** A second of guest time may take this many seconds here; a slower guest counts as dead. */
export const SLOWEST = 20;
const BOOT_LIMIT_MS = 60_000 * SLOWEST;
const COMMAND_LIMIT_MS = 60_000 * SLOWEST;
const POWER_OFF_LIMIT_MS = 30_000 * SLOWEST;

const MACHINES: Readonly<Record<Arch, { console: string; command: readonly string[] }>> = {
  amd64: {
    console: "ttyS0",
    // Not "max": with emulated AVX libopus takes 26 s for 20 s of sound, with SSE4 5.7 s.
    command: ["qemu-system-x86_64", "-M", "q35", "-cpu", "Westmere"],
  },
  arm64: {
    console: "ttyAMA0",
    command: ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"],
  },
};

export class Guest implements AsyncDisposable {
  /** `performance.now()` at power-on. */
  readonly switchedOnMs = performance.now();
  readonly #options: GuestOptions;
  readonly #qemu: Deno.ChildProcess;
  readonly #sshArgs: readonly string[];
  #hasEnded = false;

  private constructor(options: GuestOptions, sshPort: number, run: string) {
    this.#options = options;
    const { images } = options;
    this.#sshArgs = [
      ...["-q", "-i", join(images, "key"), "-p", String(sshPort)],
      ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"],
      ...["-o", "ConnectTimeout=60", "-o", "ControlMaster=auto", "-o", "ControlPersist=600"],
      ...["-o", `ControlPath=${join(options.dir, `ssh-${run}`)}`, "root@127.0.0.1"],
    ];
    const [program = "", ...args] = qemuCommand(options, sshPort);
    this.#qemu = new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    this.#qemu.status.then(() => this.#hasEnded = true);
  }

  /** Powers it on and waits until it accepts commands. @throws with the end of its console. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(options, freePort(), crypto.randomUUID().slice(0, 8));
    try {
      await guest.#takesCommands();
      return guest;
    } catch (error) {
      await guest.cutPower();
      const log = await Deno.readTextFile(join(options.dir, "console.log")).catch(() => "");
      throw new Error(`The guest did not boot: ${error}\n${log.slice(-2000)}`);
    }
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Runs a shell command as root. Returns its standard output. @throws if it fails. */
  async run(script: string, limitMs = COMMAND_LIMIT_MS): Promise<string> {
    const { stdout, stderr, code } = await this.#ssh(script, limitMs);
    if (code === 0) return stdout;
    throw new Error(`Cannot run in the guest (exit ${code}): ${script}\n${stderr}${stdout}`);
  }

  /** Like `run`, but accepts any exit code. */
  async try(script: string, limitMs = COMMAND_LIMIT_MS): Promise<string> {
    return (await this.#ssh(script, limitMs)).stdout;
  }

  /** Starts a command that keeps running; its output is read as it arrives. */
  start(script: string): Deno.ChildProcess {
    return new Deno.Command("ssh", {
      args: [...this.#sshArgs, script],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
  }

  /** Seconds since boot, on the clock of the monotonic times of the journal. */
  async uptimeS(): Promise<number> {
    return Number((await this.run("cut -d' ' -f1 /proc/uptime")).trim());
  }

  /** Waits by the clock of the guest, which falls behind real time while the guest is busy. */
  async pass(seconds: number): Promise<void> {
    await this.run(`sleep ${seconds}`, (10 + seconds) * 1000 * SLOWEST);
  }

  /** Like `pass`, without network cable. Returns when the cable was plugged in again, seconds since boot. */
  async passWithoutNetwork(seconds: number): Promise<number> {
    const over = join(this.#options.share, "over");
    await Deno.remove(over).catch(() => {});
    const script =
      `sleep ${seconds}; cut -d" " -f1 /proc/uptime >/share/now; mv /share/now /share/over`;
    await this.run(`systemd-run -q sh -c '${script}'`);
    await this.plugNetwork(false);
    const endMs = performance.now() + (10 + seconds) * 1000 * SLOWEST;
    while (performance.now() < endMs) {
      const text = await Deno.readTextFile(over).catch(() => null);
      if (text === null) {
        await delay(100);
        continue;
      }
      await this.plugNetwork(true);
      return Number(text.trim());
    }
    throw new Error(`The guest did not pass ${seconds} s without network`);
  }

  /** Unplugs the network cable or plugs it in; no command reaches the guest without it. */
  async plugNetwork(isPlugged: boolean): Promise<void> {
    const path = join(this.#options.dir, "qmp.sock");
    using connection = await Deno.connect({ transport: "unix", path });
    const commands = [
      { execute: "qmp_capabilities" },
      { execute: "set_link", arguments: { name: "net0", up: isPlugged } },
    ];
    const reader = connection.readable.pipeThrough(new TextDecoderStream()).getReader();
    let answers = "";
    for (const command of [null, ...commands]) { // the first answer is a greeting
      if (command !== null) {
        await connection.write(new TextEncoder().encode(JSON.stringify(command)));
      }
      answers += (await reader.read()).value ?? "";
    }
    await reader.cancel().catch(() => {});
    if (answers.includes('"error"')) throw new Error(`Cannot set the link: ${answers}`);
  }

  /** Stops the guest at once, like a power failure: unwritten data is lost. */
  async cutPower(): Promise<void> {
    if (!this.#hasEnded) this.#qemu.kill("SIGKILL");
    await this.#qemu.status;
  }

  /** `systemctl poweroff` or `reboot`; resolves when the machine is off. A reboot ends qemu, too. */
  async shutDown(how: "poweroff" | "reboot" = "poweroff"): Promise<void> {
    await this.try(`systemctl ${how}`).catch(() => "");
    const isOff = await Promise.race([
      this.#qemu.status.then(() => true),
      delay(POWER_OFF_LIMIT_MS, { persistent: false }).then(() => false),
    ]);
    if (isOff) return;
    await this.cutPower();
    throw new Error(`The guest did not end within ${POWER_OFF_LIMIT_MS} ms of ${how}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cutPower();
  }

  async #takesCommands(): Promise<void> {
    const endMs = this.switchedOnMs + BOOT_LIMIT_MS;
    while (performance.now() < endMs && !this.#hasEnded) {
      const { code } = await this.#ssh("true", 60_000).catch(() => ({ code: 1 }));
      if (code === 0) return;
      await delay(300);
    }
    throw new Error(this.#hasEnded ? "qemu ended" : `no answer within ${BOOT_LIMIT_MS} ms`);
  }

  async #ssh(script: string, limitMs: number) {
    const signal = AbortSignal.timeout(limitMs);
    const { stdout, stderr, code } = await new Deno.Command("ssh", {
      args: [...this.#sshArgs, script],
      stdin: "null",
      signal,
    }).output();
    if (signal.aborted) throw new Error(`No end within ${limitMs} ms in the guest: ${script}`);
    const decoder = new TextDecoder();
    return { stdout: decoder.decode(stdout), stderr: decoder.decode(stderr), code };
  }
}

function qemuCommand(options: GuestOptions, sshPort: number): string[] {
  const { arch, images, dir, disk, share, ingestPort, clock } = options;
  const { console, command } = MACHINES[arch];
  const synced = clock.synced ? "synced" : "unsynced";
  const kernel = [
    ...[`console=${console}`, "root=/dev/vda", "rw", "quiet", "loglevel=3", "net.ifnames=0"],
    ...["mitigations=off", "panic=-1", "systemd.show_status=0"],
    `vm.clock=${(clock.unixMs / 1000).toFixed(3)},${synced}`,
  ];
  // restrict: only the forwarded addresses are reachable. What socat says would reach the guest as an answer.
  const network = [
    ...["user", "id=net0", "restrict=on", `hostfwd=tcp:127.0.0.1:${sshPort}-:22`],
    `guestfwd=tcp:${INGEST_ADDRESS}-cmd:socat -lf/dev/null - TCP:127.0.0.1:${ingestPort}`,
  ];
  return [
    // One processor with 500 million instructions per second of guest time, however long they take
    // here: on a busy machine a run lasts longer, but nothing in the guest is late.
    ...[...command, "-accel", "tcg,tb-size=512", "-icount", "shift=1,sleep=on", "-m", "1024"],
    ...["-nodefaults", "-nographic", "-no-reboot", "-serial", `file:${join(dir, "console.log")}`],
    ...["-kernel", join(images, "vmlinuz"), "-initrd", join(images, "initrd.img")],
    ...["-append", kernel.join(" ")],
    // writeback: data that the guest has flushed survives the end of qemu.
    ...["-drive", `file=${disk},format=qcow2,if=none,id=disk0,cache=writeback`],
    ...["-device", "virtio-blk-pci,drive=disk0", "-device", "virtio-rng-pci"],
    ...["-netdev", network.join(","), "-device", "virtio-net-pci,netdev=net0,romfile="],
    ...["-fsdev", `local,id=share,path=${share},security_model=none`],
    ...["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"],
    ...["-qmp", `unix:${join(dir, "qmp.sock")},server=on,wait=off`],
  ];
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
