// A moment as the wall clock of a zone shows it. Pure.

/**
 * "2026-11-29 15:40:00", or up to another unit.
 * @param unixMs is rounded. @param timeZone an IANA name. @throws RangeError if the zone is unknown.
 */
export function wallTime(
  unixMs: number,
  timeZone: string,
  smallestUnit: "minute" | "second" = "second",
): string {
  return Temporal.Instant.fromEpochMilliseconds(Math.round(unixMs)).toZonedDateTimeISO(timeZone)
    .toPlainDateTime().toString({ smallestUnit }).replace("T", " ");
}
