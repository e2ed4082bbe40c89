// A separate file system in an image file, so that the kernel counts only the bytes written to it. It needs
// root, and a kernel with loop devices.

import { join } from "@std/path/join";
import { run } from "../tests/fixtures/command.ts";

const SECTOR_BYTES = 512; // in /sys/block/*/stat, whatever sectors the device has

/** A directory on its own ext4. It is removed with its scope. */
export class LoopDisk implements AsyncDisposable {
  readonly dir: string;
  readonly #image: string;
  readonly #device: string;

  private constructor(dir: string, image: string, device: string) {
    this.dir = dir;
    this.#image = image;
    this.#device = device;
  }

  /** @throws Error if this user may not mount, or the kernel has no loop device. */
  static async open(dir: string, name: string, sizeMb: number): Promise<LoopDisk> {
    const image = join(dir, `${name}.ext4`);
    await Deno.writeFile(image, new Uint8Array(0));
    await Deno.truncate(image, sizeMb * 1e6);
    // Otherwise ext4 would initialize its tables during the measurement.
    const whole = "lazy_itable_init=0,lazy_journal_init=0";
    await run("mkfs.ext4", ["-q", "-E", whole, image]);
    const { stdout } = await run("losetup", ["--find", "--show", image]);
    const device = new TextDecoder().decode(stdout).trim();
    const mounted = join(dir, name);
    await Deno.mkdir(mounted);
    await run("mount", [device, mounted]);
    return new LoopDisk(mounted, image, device);
  }

  /** Bytes that the file system has written to the block device, after a sync. */
  async writtenBytes(): Promise<number> {
    await run("sync", ["--file-system", this.dir]);
    const name = this.#device.slice("/dev/".length);
    const fields = (await Deno.readTextFile(`/sys/block/${name}/stat`)).trim().split(/\s+/);
    return Number(fields[6]) * SECTOR_BYTES;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", ["--lazy", this.dir]);
    await run("losetup", ["--detach", this.#device]);
    await Deno.remove(this.#image);
  }
}
