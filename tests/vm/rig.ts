// The rig: an ingest server on this machine, a guest with recorder-agent installed and virtual
// microphones. It boots and breaks the guest for scenarios, restores it, and keeps the received chunks.

import { join } from "@std/path/join";
import type { HealthReport } from "../../src/status/status.ts";
import { makeCertificates } from "../fixtures/certificates.ts";
import { run } from "../fixtures/command.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { type Arch, Guest, type GuestOptions } from "./guest.ts";
import { Journal } from "./journal.ts";
import { VirtualMicrophone } from "./microphone.ts";
import { Service, TOKEN, UNIT } from "./service.ts";

export interface RigOptions {
  readonly arch: Arch;
  /** Folder with the image and the results of a run. */
  readonly folder: string;
  /** The compiled program for `arch`. */
  readonly binary: string;
}

/** The guest between power-on and power-off. */
export interface Running {
  readonly guest: Guest;
  readonly journal: Journal;
  readonly service: Service;
  /** In port 0, which is the USB path 1-1. */
  readonly microphone: VirtualMicrophone;
  /** In port 1, which is the USB path 1-2. */
  readonly second: VirtualMicrophone;
}

export class Rig implements AsyncDisposable {
  readonly ingest: IngestServer;
  /** The number of restarts of the unit that a scenario provoked since its start. */
  expectedRestarts = 0;
  readonly #options: RigOptions;
  readonly #log: Deno.FsFile;
  #running: Running | null = null;
  #disks = 0;

  private constructor(options: RigOptions, ingest: IngestServer, log: Deno.FsFile) {
    this.#options = options;
    this.ingest = ingest;
    this.#log = log;
  }

  /** Makes a new disk, installs the program and plugs in the microphone. The image must exist. */
  static async start(options: RigOptions): Promise<Rig> {
    const { folder, binary } = options;
    await Deno.mkdir(join(folder, "share"), { recursive: true });
    const { caFile, certPem, keyPem } = await makeCertificates(folder);
    const ingest = await IngestServer.start({
      tls: { certPem, keyPem },
      token: TOKEN,
    });
    const log = await Deno.create(join(folder, "agent.log"));
    await Deno.copyFile(binary, join(folder, "share/recorder-agent"));
    await Deno.copyFile(caFile, join(folder, "share/ca.pem"));
    const rig = new Rig(options, ingest, log);
    try {
      await rig.renew();
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
    return rig;
  }

  /** A guest with a new disk, on which this file of the share is installed; the present one, if any, ends. */
  async renew(program = "recorder-agent"): Promise<void> {
    if (this.#running !== null) await this.switchOff("cut");
    this.#disks++;
    const { folder } = this.#options;
    const [disk, image] = [join(folder, "disk.qcow2"), join(folder, "rootfs.ext4")];
    await run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, disk]);
    const { microphone, service } = await this.boot();
    await microphone.atBoot(true);
    await microphone.plug();
    await service.install(program);
  }

  /** How many disks the guest has had: nothing is left of what ran on an earlier one. */
  get disks(): number {
    return this.#disks;
  }

  get arch(): Arch {
    return this.#options.arch;
  }

  /** Folder that the guest has at /share. */
  get share(): string {
    return join(this.#options.folder, "share");
  }

  /** @throws if the guest is off. */
  get running(): Running {
    if (this.#running === null) throw new Error("The guest is off");
    return this.#running;
  }

  /** Powers on the guest with the present disk. */
  async boot(clock?: GuestOptions["clock"]): Promise<Running> {
    const { arch, folder } = this.#options;
    const guest = await Guest.boot({
      arch,
      images: folder,
      dir: folder,
      disk: join(folder, "disk.qcow2"),
      share: join(folder, "share"),
      ingestPort: Number(new URL(this.ingest.url).port),
      clock: clock ?? { unixMs: Date.now(), synced: true },
    });
    this.expectedRestarts = 0;
    this.#running = {
      guest,
      journal: new Journal(
        guest,
        UNIT,
        ({ atS, line }) => this.#write(`${atS.toFixed(3)} ${line}`),
      ),
      service: new Service(guest),
      microphone: new VirtualMicrophone(guest, 0),
      second: new VirtualMicrophone(guest, 1),
    };
    return this.#running;
  }

  /** Powers off the guest in one of the possible ways. */
  async switchOff(how: "poweroff" | "reboot" | "cut"): Promise<void> {
    const { guest, journal } = this.running;
    this.#running = null;
    if (how === "cut") await guest.cutPower();
    else await guest.shutDown(how);
    await journal[Symbol.asyncDispose]();
    this.#write(`---- ${how}`);
  }

  /**
   * Polls /health every second by the clock of the guest until this is true: on a busy machine, a poll
   * by the clock here would leave the guest no idle time.
   * @throws with the last report after `limitS`.
   */
  async healthy(
    what: string,
    fits: (health: HealthReport) => boolean,
    limitS = 60,
  ): Promise<HealthReport> {
    const { service } = this.running;
    let endS: number | null = null;
    while (true) {
      const { atS, health } = await service.healthAt(endS === null ? 0 : 1);
      if (health !== null && fits(health)) return health;
      endS ??= atS + limitS;
      if (atS >= endS) {
        throw new Error(`Not ${what} within ${limitS} s; /health: ${JSON.stringify(health)}`);
      }
    }
  }

  /** Waits for the normal state of a quiet day. */
  async settled(limitS = 90): Promise<HealthReport> {
    const health = await this.healthy(
      "settled",
      ({ recording, problems, queue_size }) =>
        recording && problems.length === 0 && queue_size === 0,
      limitS,
    );
    // Sound arrives a moment before the service reports that it is ready.
    await this.running.guest.try(
      `timeout 15 sh -c 'until systemctl -q is-active ${UNIT}; do sleep 0.5; done'`,
    );
    return health;
  }

  /** Runs something with "recorder-agent check" in it, whose requests without a chunk the server objects to. */
  async whileChecked<T>(work: () => Promise<T>): Promise<T> {
    const before = this.ingest.violations.length;
    const result = await work();
    this.ingest.violations.splice(before);
    return result;
  }

  /** Restores the state that the next scenario expects, after a failed one: with a new disk if need be. */
  async restore(): Promise<void> {
    this.ingest.goOnline();
    this.ingest.violations.splice(0);
    await this.#putBack().catch(async (error) => {
      this.note(`A new disk, as the old one cannot be used: ${error}`);
      await this.renew();
    });
  }

  async #putBack(): Promise<void> {
    if (this.#running?.guest.hasEnded) await this.switchOff("cut");
    if (this.#running === null) await this.boot();
    const { guest, microphone, second, service } = this.running;
    await guest.plugNetwork(true);
    await guest.try("pkill arecord; rm -f /filling");
    await second.unplug();
    await microphone.unplug();
    await microphone.atBoot(true);
    await microphone.plug();
    await service.configure({});
    this.expectedRestarts = 0;
    await this.settled();
  }

  note(line: string): void {
    this.#write(`==== ${line}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running !== null) {
      await this.#running.guest.cutPower();
      await this.#running.journal[Symbol.asyncDispose]();
    }
    await this.ingest[Symbol.asyncDispose]();
    this.#log.close();
  }

  #write(line: string): void {
    this.#log.writeSync(new TextEncoder().encode(`${line}\n`));
  }
}
