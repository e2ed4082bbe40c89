// The text of a file of variables, as systemd reads it for EnvironmentFile= (systemd.exec(5)): only the RA_
// variables and those that name a proxy, one on a line; of those that a person writes: comments, quotes, and
// lines that continue. Pure.

const LINE = /^\s*(RA_\w+|(?:HTTPS?|ALL|NO)_PROXY|(?:https?|all|no)_proxy)\s*=(.*)$/;

/** The RA_ variables of the text, and the variables that name a proxy. Other lines are skipped. */
export function parseEnvironmentFile(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of text.replaceAll(/\\\r?\n/g, "").split(/\r?\n/)) {
    const [, name, value = ""] = LINE.exec(line) ?? [];
    if (name !== undefined) variables[name] = unquote(value.trim());
  }
  return variables;
}

function unquote(value: string): string {
  const [, single] = /^'([^']*)'$/.exec(value) ?? [];
  if (single !== undefined) return single;
  const [, double] = /^"((?:[^"\\]|\\.)*)"$/.exec(value) ?? [];
  return double === undefined
    ? value.replaceAll(/\\(.)/g, "$1")
    : double.replaceAll(/\\(["\\$`])/g, "$1");
}
