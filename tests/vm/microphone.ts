// The virtual USB microphones of a guest (guest/vmic.c), plugged, pulled and broken from outside.

import type { Guest } from "./guest.ts";

export class VirtualMicrophone {
  readonly #guest: Guest;
  readonly #port: number;

  /** `port` 0 is the USB path 1-1, port 1 is 1-2. */
  constructor(guest: Guest, port: number) {
    this.#guest = guest;
    this.#port = port;
  }

  /** Options of vmic for the next time it is plugged in; they stay over a reboot. */
  async configure(options: string): Promise<void> {
    await this.#guest.run(`echo 'OPTIONS="${options}"' > /etc/vmic${this.#port}; sync`);
  }

  /** Whether it is there when the guest boots the next time. */
  async atBoot(isPlugged: boolean): Promise<void> {
    const verb = isPlugged ? "enable" : "disable";
    await this.#guest.run(`systemctl -q ${verb} ${this.#unit}; sync`);
  }

  /** Resolves when the kernel has its card; returns when the plug went in, seconds since boot. */
  async plug(): Promise<number> {
    const statistics = `/run/vmic${this.#port}.statistics`;
    const script = `systemctl start ${this.#unit}; until ${this.#hasCard}; do sleep 0.1; done; ` +
      `grep plugged ${statistics}`;
    return Number(/plugged=([\d.]+)/.exec(await this.#guest.run(script))?.[1]);
  }

  /** Resolves when the kernel's card is gone; returns when it was pulled, seconds since boot. */
  async unplug(): Promise<number> {
    return await this.#timed(
      `systemctl stop ${this.#unit}; while ${this.#hasCard}; do sleep 0.1; done`,
    );
  }

  /** Delivers nothing until it is called again. */
  async toggleHang(): Promise<number> {
    return await this.#signal("USR1");
  }

  /** Delivers nothing until it is opened anew. */
  async hangUntilOpened(): Promise<number> {
    return await this.#signal("ALRM");
  }

  /** Digital silence, until it is called again. */
  async toggleMute(): Promise<number> {
    return await this.#signal("USR2");
  }

  /** An error on every packet, until it is called again. */
  async toggleErrors(): Promise<number> {
    return await this.#signal("HUP");
  }

  /** A shell command that says whether the kernel has a card on this port. */
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
