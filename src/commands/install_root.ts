// Paths of the system that `install` and `uninstall` work in: "/" or an image mounted somewhere. Each path
// is resolved as that system would: an absolute link and ".." begin at its root, not at that of this
// machine, so that no command ever leaves the image. It only looks; it changes nothing.

import { join } from "@std/path/join";

/** As many as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;
/** The files that userdel(8) opens for writing. */
const BESIDE_ACCOUNTS = /^(passwd|g?shadow|group|sub[ug]id)([-+.]|$)/;

/**
 * The path on this machine of `path` in the system below `root`. Links in its folders are followed inside
 * the root; its last part is the thing itself, also if it is a link. What does not exist yet is kept.
 * @throws if a link on the way belongs to another user than root: it could lead root anywhere.
 */
export function under(root: string, path: string): string {
  return join(root, resolve(root, path, false));
}

/** As `under`, but a link in the last part is followed, too: where the contents are. */
export function contentsOf(root: string, path: string): string {
  return join(root, pathIn(root, path));
}

/** The path in the system below `root` itself, free of links and "..". */
export function pathIn(root: string, path: string): string {
  return resolve(root, path, true);
}

/**
 * An account file of an image that is behind a link or no file, or null. The programs that write accounts would
 * follow it on this machine; also what lies where they put a backup, a draft or a lock: `passwd-`, `passwd+`.
 */
export function linkedAccounts(root: string): string | null {
  if (root === "/") return null;
  const files = ["passwd", "shadow", "group", "gshadow"].map((name) => `/etc/${name}`);
  const linked = files.find((path) => pathIn(root, path) !== path);
  if (linked !== undefined) return linked;
  const other = entriesOf(join(root, "etc"))
    .find(({ name, isFile, isDirectory }) => !isFile && !isDirectory && BESIDE_ACCOUNTS.test(name));
  return other === undefined ? null : `/etc/${other.name}`;
}

function entriesOf(dir: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(dir)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function resolve(root: string, path: string, followsLast: boolean): string {
  const rest = partsOf(path);
  let done: string[] = [];
  let links = 0;
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === "..") {
      done.pop();
      continue;
    }
    const isLast = rest.length === 0;
    const target = isLast && !followsLast ? null : readLink(root, [...done, part], path);
    if (target === null) {
      done.push(part);
      continue;
    }
    if (++links > MAX_LINKS) throw new Error(`Cannot use ${path} as its links lead in a circle`);
    if (target.startsWith("/")) done = [];
    rest.unshift(...partsOf(target));
  }
  return `/${done.join("/")}`;
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** Where a link leads; null: it is not a link, or does not exist. */
function readLink(root: string, parts: readonly string[], path: string): string | null {
  const here = join(root, ...parts);
  try {
    const { isSymlink, uid } = Deno.lstatSync(here);
    if (!isSymlink) return null;
    if (uid === 0) return Deno.readLinkSync(here);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (error instanceof Deno.errors.NotADirectory) return null; // the next step says so
    throw error;
  }
  throw new Error(
    `Cannot use ${path} as links on the way must belong to root: ${here} belongs to another user`,
  );
}
