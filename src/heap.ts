// V8's garbage collector, called by hand. The compiled program runs without V8's memory reducer, which
// collects the whole heap whenever little happens, and with a recorder that is always; left alone V8 then
// collects only when the heap has grown to 100 MB.

/** Frees what nobody holds. Without V8's `--expose-gc`, which the compiled program has, it does nothing. */
export function collectGarbage(): void {
  const collect: unknown = Reflect.get(globalThis, "gc");
  if (typeof collect === "function") collect();
}
