// Joins byte arrays into one. Pure.

/** Returns the parts in one array. A single part is returned itself, without a copy. */
export function concatBytes<T extends Uint8Array>(
  parts: readonly T[],
): T | Uint8Array<ArrayBuffer> {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
