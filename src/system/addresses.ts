// Connects to the first address of a name that answers ("happy eyeballs", RFC 8305): both families take
// turns, the next address begins when the one before has failed or has not answered for a moment, each has
// a limit of its own, and the losers are closed. It neither looks names up nor knows what a connection is.

import type { Clock } from "./clock.ts";
import { onAbort, untilAborted } from "./on_abort.ts";
import { aborted } from "./window.ts";

/** RFC 8305, section 5: "Connection Attempt Delay". */
const STAGGER_MS = 250;
/** How long one address may take. */
const LIMIT_MS = 10_000;

/** One address that could not be reached. */
export interface AddressFailure {
  readonly address: string;
  readonly error: unknown;
}

/** No address answered. */
export class NoAddress extends Error {
  constructor(readonly failures: readonly AddressFailure[]) {
    super("no address answers");
    this.name = "NoAddress";
  }
}

/** The addresses with the families taking turns, the family of the first one first. */
export function inTurns(addresses: readonly string[]): string[] {
  const isSix = (address: string) => address.includes(":");
  const first = addresses.filter((address) => isSix(address) === isSix(addresses[0] ?? ""));
  const second = addresses.filter((address) => !first.includes(address));
  const turns = Array.from(
    { length: Math.max(first.length, second.length) },
    (_, at) => [first[at], second[at]],
  );
  return [...new Set(turns.flat())].filter((address) => address !== undefined);
}

/**
 * The first connection that is made. `connect` should reject soon after its signal aborts; a connection
 * that it returns too late is closed.
 * @throws {NoAddress} if all fail; the reason of `signal` when it aborts.
 */
export async function connectFirst<T extends { close(): void }>(
  addresses: readonly string[],
  connect: (address: string, signal: AbortSignal) => Promise<T>,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<{ readonly address: string; readonly connection: T }> {
  signal.throwIfAborted();
  const failures: AddressFailure[] = [];
  const waiting = inTurns(addresses);
  const running = new Set<Promise<void>>();
  const over = new AbortController();
  using _ = onAbort(signal, () => over.abort(signal.reason));
  const won: { address: string; connection: T }[] = [];

  const attempt = async (address: string) => {
    const own = new AbortController();
    using _ = onAbort(over.signal, () => own.abort(over.signal.reason));
    const limit = clock.sleep(LIMIT_MS, own.signal).then(() =>
      own.abort(new DOMException(`no answer for ${LIMIT_MS / 1000} s`, "TimeoutError"))
    );
    const connecting = connect(address, own.signal);
    // The limit holds even for a `connect` that does not heed its signal.
    connecting.then((late) => own.signal.aborted && late.close(), () => {});
    try {
      const connection = await untilAborted(connecting, own.signal);
      if (won.length === 0 && !own.signal.aborted) won.push({ address, connection });
      else connection.close();
    } catch (error) {
      failures.push({ address, error });
    } finally {
      own.abort();
      await limit;
    }
  };

  try {
    while (won.length === 0 && (waiting.length > 0 || running.size > 0)) {
      signal.throwIfAborted();
      const next = waiting.shift();
      if (next !== undefined) {
        const task: Promise<void> = attempt(next).finally(() => running.delete(task));
        running.add(task);
      }
      const pause = new AbortController();
      const rest = waiting.length > 0 ? [clock.sleep(STAGGER_MS, pause.signal)] : [];
      await Promise.race([...running, ...rest, aborted(over.signal)]);
      pause.abort();
    }
    signal.throwIfAborted();
    const [winner] = won;
    if (winner !== undefined) return winner;
    throw new NoAddress(failures);
  } finally {
    over.abort();
  }
}
