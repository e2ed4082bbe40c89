// The account of single packets: which of them no end of the program may take away any more, and how
// much was lost to those that may take a little.

/** How a run of the program ended. */
export type Stop = "kill" | "power cut" | "end";

/** 1 s of sound: what a kill may cost. */
const KILL_PACKETS = 50;
/** 5 s of sound: what a power cut may cost (sync_interval_s). */
const POWER_CUT_PACKETS = 250;

interface Packet {
  /** In a file, as processes see it: a kill does not take it. */
  isWritten: boolean;
  /** On the disk. */
  isDurable: boolean;
  /** A disk that failed kept it from becoming durable when it should have. */
  isExcused: boolean;
  isLost: boolean;
}

export class Packets {
  readonly #packets: Packet[] = [];
  /** The first of this run of the program. */
  #runStart = 0;
  #written = 0;
  #durable = 0;
  #failedSinceStart = false;
  #failedSinceWritten = false;
  /** The largest loss that no failing disk explains, packets. */
  readonly largestLoss: Record<Stop, number> = { "kill": 0, "power cut": 0, "end": 0 };

  get count(): number {
    return this.#packets.length;
  }

  /** All that was lost, within the bounds or because the disk failed. */
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

  /** The start is done with recording/; `isEmpty` says whether nothing had to stay there. */
  recovered(isEmpty: boolean): void {
    const isDurable = isEmpty && !this.#failedSinceStart;
    for (const packet of this.#packets.slice(0, this.#runStart)) {
      if (isDurable) packet.isDurable = true;
      else packet.isExcused = true;
    }
  }

  /** Everything that the chunker has given out was written, and synced when it was time. */
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
   * After an end of the program: `found` are the numbers of all packets that are somewhere. Returns
   * what is missing and must not be, in words.
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
