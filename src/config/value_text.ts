/**
 * The values of keys as JSON, so that they can be kept and compared: also those that hold a Map. Pure.
 */

/** The same text for the same value. */
export function encodeValue(value: unknown, indent = 0): string {
  const replace = (_: string, part: unknown) =>
    part instanceof Map ? { map: [...part].sort() } : part;
  return JSON.stringify(value, replace, indent);
}

/** @throws SyntaxError if it is not JSON */
export function decodeValue(text: string): unknown {
  return JSON.parse(text, (_, part) => {
    const isMap = typeof part === "object" && part !== null && Object.keys(part).join() === "map" &&
      Array.isArray(part.map);
    return isMap ? new Map(part.map) : part;
  });
}
