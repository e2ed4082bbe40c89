// The virtual USB microphones of a guest (guest/vmic.c): plugs them in, unplugs and breaks them.

import type { Guest } from "./guest.ts";

export class VirtualMicrophone {
  readonly #guest: Guest;
  readonly #port: number;

  /** `port` 0 is the USB path 1-1, port 1 is 1-2. */
  constructor(guest: Guest, port: number) {
    this.#guest = guest;
    this.#port = port;
  }

  /** Options of vmic for the next plug; they survive a reboot. */
  async configure(options: string): Promise<void> {
    await this.#guest.run(`echo 'OPTIONS="${options}"' > /etc/vmic${this.#port}; sync`);
  }

  /** Whether it is plugged in at the next boot of the guest. */
  async atBoot(isPlugged: boolean): Promise<void> {
    const verb = isPlugged ? "enable" : "disable";
    await this.#guest.run(`systemctl -q ${verb} ${this.#unit}; sync`);
  }

  /** Resolves when the kernel has its card; returns the time of the plug, seconds since boot. */
  async plug(): Promise<number> {
    const statistics = `/run/vmic${this.#port}.statistics`;
    const script = `systemctl start ${this.#unit}; until ${this.#hasCard}; do sleep 0.1; done; ` +
      `grep plugged ${statistics}`;
    return Number(/plugged=([\d.]+)/.exec(await this.#guest.run(script))?.[1]);
  }

  /** Resolves when the kernel has removed its card; returns the time of the unplug, seconds since boot. */
  async unplug(): Promise<number> {
    return await this.#timed(
      `systemctl stop ${this.#unit}; while ${this.#hasCard}; do sleep 0.1; done`,
    );
  }

  /** Makes it deliver nothing until the next call. */
  async toggleHang(): Promise<number> {
    return await this.#signal("USR1");
  }

  /** Makes it deliver nothing until it is opened again. */
  async hangUntilOpened(): Promise<number> {
    return await this.#signal("ALRM");
  }

  /** Makes it deliver digital silence until the next call. */
  async toggleMute(): Promise<number> {
    return await this.#signal("USR2");
  }

  /** Makes it return an error for every packet until the next call. */
  async toggleErrors(): Promise<number> {
    return await this.#signal("HUP");
  }

  /** A shell command that succeeds if the kernel has a card on this port. */
  get #hasCard(): string {
    return `grep -qs 'usb-vhci_hcd.0-${this.#port + 1},' /proc/asound/cards`;
  }

  get #unit(): string {
    return `vmic@${this.#port}.service`;
  }

  async #signal(signal: string): Promise<number> {
    return await this.#timed(`systemctl kill -s ${signal} ${this.#unit}`);
  }

  async #timed(script: string): Promise<number> {
    return Number((await this.#guest.run(`cut -d' ' -f1 /proc/uptime; ${script}`)).trim());
  }
}
