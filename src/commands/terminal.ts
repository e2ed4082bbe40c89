// deno-lint-ignore-file no-console -- this is where the commands talk to a person
// Prints for the person at the terminal, and asks. It neither knows the questions nor checks the answers.

import { writeAll } from "../system/disk.ts";
import { visible } from "../system/printable.ts";
import type { Ask } from "./install_settings.ts";

/** Prints text for a person. Foreign text in it cannot command the terminal. */
export function printText(text: string): void {
  console.log(visible(text));
}

/**
 * Prints what a command changes. A terminal that is gone, a pipe that nobody reads and a full disk do not end it
 * halfway.
 */
export function reportText(text: string): void {
  try {
    printText(text);
  } catch {
    // Its exit code still says how it ended.
  }
}

/** Rows in columns, each as wide as its widest cell. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const lengthOf = (text = "") => [...text].length;
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, at) => widths[at] = Math.max(widths[at] ?? 0, lengthOf(cell)));
  }
  return rows.map((row) =>
    row.map((cell, at) => cell + " ".repeat((widths[at] ?? 0) - lengthOf(cell)))
      .join("  ").trimEnd()
  ).join("\n");
}

/** The same on standard error. */
export function printError(text: string): void {
  console.error(visible(text));
}

/** Asks on the terminal; null if there is none. */
export function askOnTerminal(): Ask | null {
  if (!Deno.stdin.isTerminal() || !Deno.stdout.isTerminal()) return null;
  return async (question, { suggestion, secret = false }) => {
    const hint = suggestion === undefined ? "" : ` [${suggestion}]`;
    await write(`${question}${hint}: `);
    const answer = secret ? await readHidden() : await readUntilReturn(null);
    return answer === "" && suggestion !== undefined ? suggestion : answer;
  };
}

async function write(text: string): Promise<void> {
  await writeAll(Deno.stdout, new TextEncoder().encode(text));
}

/** One line that is not shown while it is typed; null at Ctrl-C, Ctrl-D or the end of the input. */
async function readHidden(): Promise<string | null> {
  Deno.stdin.setRaw(true);
  try {
    return await readUntilReturn({ backspace: [0x7f, 0x08], cancel: [0x03, 0x04] });
  } finally {
    Deno.stdin.setRaw(false);
    await write("\n");
  }
}

/**
 * One line, without its end; null at the end of the input. In raw mode the keys that a terminal otherwise handles
 * itself arrive as bytes; `keys` lists them.
 */
async function readUntilReturn(
  keys: { backspace: readonly number[]; cancel: readonly number[] } | null,
): Promise<string | null> {
  const typed: number[] = [];
  const byte = new Uint8Array(1);
  while (await Deno.stdin.read(byte) !== null) {
    const [key = 0] = byte;
    if (key === 0x0a || key === 0x0d) return new TextDecoder().decode(new Uint8Array(typed));
    if (keys?.cancel.includes(key)) return null;
    if (keys?.backspace.includes(key)) typed.pop();
    else typed.push(key);
  }
  return null;
}
