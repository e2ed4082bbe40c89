// The rig: an ingest server on this machine, a guest with recorder-agent installed and a virtual
// microphone. It boots, breaks and mends as a scenario asks, and keeps what the server received.

import { delay } from "@std/async/delay";
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
  /** Folder with the image and everything a run leaves. */
  readonly folder: string;
  /** The compiled program for `arch`. */
  readonly binary: string;
}

/** The guest as it is between being switched on and off. */
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
  /** So many restarts of the unit were provoked since it was started. */
  expectedRestarts = 0;
  readonly #options: RigOptions;
  readonly #log: Deno.FsFile;
  #running: Running | null = null;

  private constructor(options: RigOptions, ingest: IngestServer, log: Deno.FsFile) {
    this.#options = options;
    this.ingest = ingest;
    this.#log = log;
  }

  /** A new disk, the program installed, and the microphone plugged in. The image has to be there. */
  static async start(options: RigOptions): Promise<Rig> {
    const { folder, binary } = options;
    await Deno.mkdir(join(folder, "share"), { recursive: true });
    const { caFile, certPem, keyPem } = await makeCertificates(folder);
    const ingest = await IngestServer.start({
      tls: { certPem, keyPem },
      token: TOKEN,
    });
    const log = await Deno.create(join(folder, "agent.log"));
    const rig = new Rig(options, ingest, log);
    try {
      const [disk, image] = [join(folder, "disk.qcow2"), join(folder, "rootfs.ext4")];
      await run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, disk]);
      const { microphone, service } = await rig.boot();
      await microphone.atBoot(true);
      await microphone.plug();
      await service.install(join(folder, "share"), binary, caFile);
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
    return rig;
  }

  /** @throws if the guest is off. */
  get running(): Running {
    if (this.#running === null) throw new Error("The guest is off");
    return this.#running;
  }

  /** Switches the guest on, on the disk as it was left. */
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

  /** Off, in one of the ways that a machine goes off. */
  async switchOff(how: "poweroff" | "reboot" | "cut"): Promise<void> {
    const { guest, journal } = this.running;
    this.#running = null;
    if (how === "cut") await guest.cutPower();
    else await guest.shutDown(how);
    await journal[Symbol.asyncDispose]();
    this.#write(`---- ${how}`);
  }

  /**
   * Waits so long by the guest's clock for a health of which this is true, looking every half second.
   * @throws with the last one.
   */
  async healthy(
    what: string,
    fits: (health: HealthReport) => boolean,
    limitS = 60,
  ): Promise<HealthReport> {
    const { guest, service } = this.running;
    const endS = await guest.uptimeS() + limitS;
    while (true) {
      const health = await service.health();
      if (health !== null && fits(health)) return health;
      if (await guest.uptimeS() >= endS) {
        throw new Error(`Not ${what} within ${limitS} s; /health: ${JSON.stringify(health)}`);
      }
      await delay(500);
    }
  }

  /** Waits until all is as it should be on a quiet day. */
  async settled(limitS = 90): Promise<HealthReport> {
    const health = await this.healthy(
      "settled",
      ({ recording, problems, queue_size }) =>
        recording && problems.length === 0 && queue_size === 0,
      limitS,
    );
    // Sound comes a moment before the service says that it is ready.
    await this.running.guest.try(
      `timeout 15 sh -c 'until systemctl -q is-active ${UNIT}; do sleep 0.5; done'`,
    );
    return health;
  }

  /** After a scenario that failed: everything back to what the next one expects. */
  async mend(): Promise<void> {
    this.ingest.goOnline();
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
