// Notices that files have changed. It reads none of them, and asks only when it is asked.

export class FileWatch {
  readonly #paths: readonly string[];
  #state: string;

  constructor(...paths: readonly string[]) {
    this.#paths = paths;
    this.#state = stateOf(paths);
  }

  /** Whether one of them has changed since the last call. */
  hasChanged(): boolean {
    const before = this.#state;
    this.#state = stateOf(this.#paths);
    return this.#state !== before;
  }
}

function stateOf(paths: readonly string[]): string {
  return paths.map((path) => {
    try {
      const { mtime, size, ino } = Deno.statSync(path);
      return `${mtime?.getTime()} ${size} ${ino}`;
    } catch (error) {
      return String(error);
    }
  }).join("\n");
}
