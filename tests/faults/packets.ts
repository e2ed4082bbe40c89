// The account of single packets: which of them must survive every end of the program, and how many were
// lost in ends that may lose some.

/** How a run of the program ended. */
export type Stop = "kill" | "power cut" | "end";

/** 1 s of sound: the most that a kill may lose. */
const KILL_PACKETS = 50;
/** 5 s of sound: the most that a power cut may lose (sync_interval_s). */
const POWER_CUT_PACKETS = 250;

interface Packet {
  /** In a file, as processes see it: it survives a kill. */
  isWritten: boolean;
  /** On the disk: it survives a power cut. */
  isDurable: boolean;
  /** A disk failure prevented that it became durable in time. */
  isExcused: boolean;
  isLost: boolean;
}

export class Packets {
  readonly #packets: Packet[] = [];
  /** The number of the first packet of this run of the program. */
  #runStart = 0;
  #written = 0;
  #durable = 0;
  #failedSinceStart = false;
  #failedSinceWritten = false;
  /** The largest loss without a disk failure, packets. */
  readonly largestLoss: Record<Stop, number> = { "kill": 0, "power cut": 0, "end": 0 };

  get count(): number {
    return this.#packets.length;
  }

  /** The number of all lost packets, within the bounds or because the disk failed. */
  get lost(): number {
    return this.#packets.filter(({ isLost }) => isLost).length;
  }

  heard(): number {
    const packet = { isWritten: false, isDurable: false, isExcused: false, isLost: false };
    return this.#packets.push(packet) - 1;
  }

  started(): void {
    this.#runStart = this.#written = this.#durable = this.count;
    this.#failedSinceStart = this.#failedSinceWritten = false;
  }

  diskFailed(): void {
    this.#failedSinceStart = this.#failedSinceWritten = true;
  }

  /** The start has recovered recording/; `isEmpty` says whether no file had to stay there. */
  recovered(isEmpty: boolean): void {
    const isDurable = isEmpty && !this.#failedSinceStart;
    for (const packet of this.#packets.slice(0, this.#runStart)) {
      if (isDurable) packet.isDurable = true;
      else packet.isExcused = true;
    }
  }

  /** Everything from the chunker was written, and synced when it was due. */
  written(): void {
    this.#failedSinceWritten = false;
    for (; this.#written < this.count - KILL_PACKETS; this.#written++) {
      const packet = this.#packets[this.#written];
      if (packet) packet.isWritten = true;
    }
    for (; this.#durable < this.count - POWER_CUT_PACKETS; this.#durable++) {
      const packet = this.#packets[this.#durable];
      if (packet) packet.isDurable = true;
    }
  }

  /**
   * Call it after an end of the program: `found` are the numbers of all packets that exist somewhere.
   * Describes each missing packet that must not be missing.
   */
  account(stop: Stop, found: ReadonlySet<number>): string[] {
    const complaints: string[] = [];
    let loss = 0;
    for (const [number, packet] of this.#packets.entries()) {
      if (packet.isLost) continue;
      if (found.has(number)) {
        packet.isWritten = true;
        packet.isExcused ||= this.#failedSinceWritten;
        if (stop === "power cut") packet.isDurable = true;
        continue;
      }
      packet.isLost = true;
      const isExcused = this.#failedSinceWritten || (packet.isExcused && stop === "power cut");
      if (this.#mayLose(stop, number, packet, isExcused)) {
        if (!isExcused) loss++;
        continue;
      }
      complaints.push(`packet ${number} of ${this.count}, ${JSON.stringify(packet)}, ${stop}`);
    }
    this.largestLoss[stop] = Math.max(this.largestLoss[stop], loss);
    return complaints;
  }

  #mayLose(stop: Stop, number: number, packet: Packet, isExcused: boolean): boolean {
    const age = this.count - number;
    if (stop === "power cut") return !packet.isDurable && (isExcused || age <= POWER_CUT_PACKETS);
    if (packet.isWritten) return false;
    return isExcused || (stop === "kill" && age <= KILL_PACKETS);
  }
}
