/**
 * The phase of a till: what keeps a fleet whose schedules begin in the same minute from sealing and sending
 * in step. It follows from the id alone, so that each till keeps it. Pure.
 */

/** The golden ratio: multiples of it, modulo 1, are spread evenly, however many there are. */
const GOLDEN = 0.6180339887498949;

/**
 * From 0 up to, not including, 1. Random ids are spread at random, and consecutive ones, whichever of their
 * groups counts, evenly.
 */
export function phaseOf(deviceId: string): number {
  const words = deviceId.replaceAll("-", "").match(/.{1,8}/g) ?? [];
  const sum = words.reduce((sum, word) => sum + Number.parseInt(word, 16), 0);
  return sum * GOLDEN % 1;
}

/** What is left of the first of many equal intervals: all of it for the phase 0, nearly nothing for 1. */
export function firstInterval(interval: number, phase: number): number {
  return interval * (1 - phase);
}
