// What the server must have got at the end of a scenario in which one program takes over from another: each chunk
// once, whole, under its own time, and no sound missing but at the takeovers. It only compares; the scenario says
// what is owed.

import type { ReceivedChunk } from "../fixtures/ingest_server.ts";
import { faultOf, keyIn, type Names, type Owed } from "../releases/stock.ts";
import type { Report } from "./scenario.ts";
import { endS, inOrder, startS, worstOverlapS } from "./sound.ts";

/** A moment at which one program takes over from another. */
export interface Takeover {
  readonly what: string;
  readonly unixS: number;
  /** What it may cost, in seconds of sound; null if the scenario itself keeps the programs from recording. */
  readonly limitS: number | null;
}

/** A shorter pause between two chunks comes from the estimate of their times. */
const PAUSE_S = 0.05;

export class Deliveries {
  readonly takeovers: Takeover[] = [];
  /** By key. */
  readonly #owed = new Map<string, Owed>();
  readonly #names: Names;
  readonly #bootId: string;

  /** @param bootId of the guest. */
  constructor(names: Names, bootId: string) {
    this.#names = names;
    this.#bootId = bootId;
  }

  /** Chunks that were put into the spool. */
  owe(owed: readonly Owed[]): void {
    for (const one of owed) this.#owed.set(one.name.key, one);
  }

  /**
   * @param chunks what has arrived. @param recorded the names of the chunks that the programs have recorded until then.
   * @param later names of others, which may have arrived.
   */
  judge(
    { chunks, recorded, later }: {
      chunks: readonly ReceivedChunk[];
      recorded: readonly string[];
      later: readonly string[];
    },
    report: Report,
  ): void {
    const arrived = new Map(chunks.map((chunk) => [chunk.key, chunk]));
    const stock = [...this.#owed.values()].filter(({ isTimeRight }) => isTimeRight);
    this.owe(recorded.map((file) => this.#recordedChunk(file, arrived)));
    const faults = [...this.#owed.values()].flatMap((owed) => {
      const fault = faultOf(owed, arrived.get(owed.name.key), this.#bootId);
      return fault === null ? [] : [`${owed.name.key} ${fault}`];
    });
    if (faults.length === 0) { for (const { name } of stock) report.compared.add(name.key); }
    const lost = [...this.#owed.keys()].filter((key) => !arrived.has(key)).length;
    report.holds("chunks lost", lost === 0, `${lost} of ${this.#owed.size}`);
    const others = faults.length - lost;
    report.holds("chunks with another time, length or content", others === 0, others);
    for (const fault of faults.slice(0, 10)) report.holds(fault, false);
    const known = new Set([...this.#owed.keys(), ...later.map(keyIn)]);
    const unknown = chunks.filter(({ key }) => !known.has(key)).length;
    report.holds("chunks under a second key", unknown === 0, unknown);
    const keys = new Set(recorded.map(keyIn));
    this.#judgePauses(inOrder(chunks.filter(({ key }) => keys.has(key))), report);
  }

  /** A chunk of which only the name is known: that it is a whole file is checked after every scenario. */
  #recordedChunk(file: string, arrived: ReadonlyMap<string, ReceivedChunk>): Owed {
    const name = this.#names.parseChunkName(file);
    if (name === null) throw new Error(`The old release cannot read the name ${file}`);
    const bytes = arrived.get(name.key)?.bytes ?? new Uint8Array();
    return { name, bytes, isTimeRight: name.provisional === undefined };
  }

  /** Where sound is missing between the chunks that the programs recorded: at the takeovers, and nowhere else. */
  #judgePauses(chunks: readonly ReceivedChunk[], report: Report): void {
    const pauses = chunks.slice(1).flatMap((chunk, at) => {
      const before = chunks[at];
      const pauseS = before === undefined ? NaN : startS(chunk) - endS(before);
      return pauseS < PAUSE_S ? [] : [{ atS: startS(chunk) - pauseS, pauseS }];
    });
    let found = 0;
    for (const [at, { what, unixS, limitS }] of this.takeovers.entries()) {
      const nextS = this.takeovers[at + 1]?.unixS ?? Infinity;
      const here = pauses.filter(({ atS }) => atS >= unixS - 1 && atS < nextS - 1);
      found += here.length;
      const missingS = here.reduce((sum, { pauseS }) => sum + pauseS, 0);
      if (limitS !== null) report.atMost(`${what}: sound missing`, missingS, limitS);
      report.holds(`${what}: it is one pause`, here.length === 1, here.length);
    }
    const elsewhere = pauses.length - found;
    report.holds("pauses elsewhere", elsewhere === 0, elsewhere);
    const overlapS = worstOverlapS(chunks);
    report.holds("no sound is there twice", overlapS < PAUSE_S, `${overlapS.toFixed(3)} s`);
  }
}
