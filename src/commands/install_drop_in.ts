// The drop-in that lets the service write to a spool elsewhere than below StateDirectory= of its unit. Text only.

/** The drop-in for this folder. */
export function dropInOf(spoolDir: string): string {
  // Writable, but nothing in it can be started: NoExecPaths=/ does not reach it (see the unit).
  const lines = ["ReadWritePaths", "NoExecPaths"].map((key) => `${key}=${quoteForUnit(spoolDir)}`);
  return ["[Service]", ...lines, ""].join("\n");
}

/** The folder of a drop-in that `dropInOf` has written, or a release before 0.3.0, which did not quote it; or null. */
export function folderOf(dropIn: string): string | null {
  const word = /^ReadWritePaths=(.+)$/m.exec(dropIn)?.[1];
  if (word === undefined) return null;
  const escaped = word.startsWith('"') ? word.slice(1, -1).replaceAll(/\\(.)/g, "$1") : word;
  return escaped.replaceAll("%%", "%");
}

/** A path as a word in a unit: quoted, with its escapes and specifiers (systemd.syntax(7), systemd.unit(5)). */
export function quoteForUnit(path: string): string {
  const escaped = path.replaceAll("%", "%%");
  if (/^[\w./%+:@,-]+$/.test(escaped)) return escaped;
  return `"${escaped.replaceAll(/["\\]/g, "\\$&")}"`;
}
