// Small faults that can be planted in a source file: an operator that is another, a constant that is off,
// a condition that is negated, a statement that is missing. Pure: it takes text and returns text. It
// reads tokens and no syntax tree, and relies on the code being formatted by `deno fmt`.

export interface Mutant {
  /** From the project's root. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly kind: "operator" | "constant" | "condition" | "statement";
  /** What was replaced, and what by; each on one line. */
  readonly before: string;
  readonly after: string;
  /** The whole file with the fault in it. */
  readonly text: string;
}

interface Token {
  readonly kind: "word" | "number" | "operator" | "string";
  readonly text: string;
  readonly at: number;
}

const OPERATORS: Readonly<Record<string, string>> = {
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "===": "!==",
  "!==": "===",
  "&&": "||",
  "||": "&&",
  "+": "-",
  "-": "+",
  "*": "/",
  "/": "*",
  "%": "*",
  "+=": "-=",
  "-=": "+=",
};
/** Words that another takes the place of. */
const WORDS: Readonly<Record<string, string>> = {
  true: "false",
  false: "true",
  min: "max",
  max: "min",
  some: "every",
  every: "some",
  floor: "ceil",
  ceil: "floor",
};
const TOKEN =
  /\s+|\/\/.*|\/\*[^]*?\*\/|[\p{L}_$#][\p{L}\p{N}_$]*|0x[\da-f]+n?|\d[\d_]*(?:\.\d+)?(?:e-?\d+)?n?|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[=!]==|\.\.\.|\?\?=|&&=|\|\|=|=>|[<>+\-*/%!=]=|\?\?|\?\.|&&|\|\||\*\*|\+\+|--|<<|>>>?|[^]/yu;
/** A slash behind one of these begins a regular expression. */
const BEFORE_REGEXP = /^(?:[([{,;=:!?|&]|&&|\|\||\?\?|=>|return)$/;
const REGEXP = /\/(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\n])+\/[a-z]*/y;
/** No statement that could be left out begins with one of these. */
const KEYWORDS = new Set(
  ("abstract async case catch class const default do else enum export extends for function get if " +
    "implements import interface let new private readonly return set static switch throw try type " +
    "using var while yield").split(" "),
);
const BEHIND_NAME = new Set([
  ".",
  "?.",
  "(",
  "[",
  "=",
  "+=",
  "-=",
  "??=",
  "||=",
  "&&=",
  "++",
  "--",
]);

/** All faults that can be planted in a file, in the order of its lines. */
export function findMutants(file: string, source: string): Mutant[] {
  const tokens = readTokens(source);
  const found: Mutant[] = [];
  const add = (kind: Mutant["kind"], at: number, end: number, after: string) => {
    const inOneLine = (text: string) => text.replaceAll(/\s+/g, " ").trim();
    found.push({
      file,
      line: source.slice(0, at).split("\n").length,
      kind,
      before: inOneLine(source.slice(at, end)),
      after: inOneLine(after),
      text: source.slice(0, at) + after + source.slice(end),
    });
  };
  const isType = typeTokens(tokens);
  for (const [index, token] of tokens.entries()) {
    if (isType.has(index)) continue;
    const { kind, text, at } = token;
    const end = at + text.length;
    const isSpaced = source[at - 1] === " " || source[at - 1] === "\n";
    if (kind === "operator" && isSpaced && /\s/.test(source[end] ?? "")) {
      const other = OPERATORS[text];
      if (other !== undefined) add("operator", at, end, other);
    }
    if (text === "!" && /[\w(]/.test(source[end] ?? "") && /[\s(!]/.test(source[at - 1] ?? "")) {
      add("condition", at, end, "");
    }
    if (kind === "word") {
      const other = Object.hasOwn(WORDS, text) ? WORDS[text] : undefined;
      const isConstant = text === "true" || text === "false";
      const isMember = tokens[index - 1]?.text === "." && tokens[index + 1]?.text === "(";
      const isValue = isConstant && tokens[index + 1]?.text !== ":";
      if (other !== undefined && (isValue || (!isConstant && isMember))) {
        add(isConstant ? "constant" : "operator", at, end, other);
      }
      if ((text === "if" || text === "while") && tokens[index + 1]?.text === "(") {
        const close = closing(tokens, index + 1);
        const [from, to] = [(tokens[index + 1]?.at ?? 0) + 1, tokens[close]?.at ?? 0];
        const condition = source.slice(from, to);
        if (!isSingle(condition)) add("condition", from, to, `!(${condition})`);
      }
    }
    if (kind === "number" && !text.endsWith("n")) {
      for (const other of otherNumbers(Number(text.replaceAll("_", "")))) {
        add("constant", at, end, String(other));
      }
    }
  }
  for (const { from, to } of statements(tokens, isType)) add("statement", from, to, ";");
  return found.sort((a, b) => a.line - b.line);
}

/** Whether another fault negates it, too: that of its only operator. */
function isSingle(condition: string): boolean {
  return condition === "true" || /^![^&|?]*$/.test(condition) ||
    /^[^&|?]* [=!]== [^&|?]*$/.test(condition);
}

/** One more is a fault for a small number; a large one is often a limit that must only be about right. */
function otherNumbers(value: number): number[] {
  return Math.abs(value) < 10 ? [value === 1 ? 0 : value + 1] : [value * 2, Math.floor(value / 2)];
}

function readTokens(source: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < source.length;) {
    const text = tokenAt(source, at, tokens.at(-1)?.text ?? ";");
    const [first = ""] = text;
    const kind = /[\p{L}_$#]/u.test(first)
      ? "word"
      : /\d/.test(first)
      ? "number"
      : /["'`]/.test(first) || (first === "/" && text.length > 2)
      ? "string"
      : "operator";
    if (!/^(?:\s|\/\/|\/\*)/.test(text)) tokens.push({ kind, text, at });
    at += text.length;
  }
  return tokens;
}

function tokenAt(source: string, at: number, before: string): string {
  if (source[at] === "`") return source.slice(at, endOfTemplate(source, at));
  const isComment = source[at + 1] === "/" || source[at + 1] === "*";
  if (source[at] === "/" && !isComment && BEFORE_REGEXP.test(before)) {
    REGEXP.lastIndex = at;
    const [text] = REGEXP.exec(source) ?? ["/"];
    return text;
  }
  TOKEN.lastIndex = at;
  const [text] = TOKEN.exec(source) ?? [source.slice(at, at + 1)];
  return text;
}

/** A template is left alone, with the expressions in it: most are words for people. */
function endOfTemplate(source: string, at: number): number {
  for (let end = at + 1; end < source.length; end++) {
    if (source[end] === "\\") end++;
    else if (source[end] === "`") return end + 1;
    else if (source.startsWith("${", end)) {
      let depth = 1;
      for (end += 2; depth > 0; end++) {
        if (source[end] === "`") end = endOfTemplate(source, end) - 1;
        else if (source[end] === "{") depth++;
        else if (source[end] === "}") depth--;
      }
      end--;
    }
  }
  return source.length;
}

/** The bracket that closes the one at `index`. */
function closing(tokens: readonly Token[], index: number): number {
  let depth = 0;
  for (let at = index; at < tokens.length; at++) {
    const { text = "" } = tokens[at] ?? {};
    if ("([{".includes(text)) depth++;
    if (")]}".includes(text) && --depth === 0) return at;
  }
  return tokens.length - 1;
}

/** Indexes of the tokens in imports, interfaces and type aliases, and in types that are values. */
function typeTokens(tokens: readonly Token[]): Set<number> {
  const within = new Set<number>();
  for (let index = 0; index < tokens.length; index++) {
    const { text = "", kind } = tokens[index] ?? {};
    const begins = index === 0 || [";", "}", "export"].includes(tokens[index - 1]?.text ?? "");
    const isBraced = tokens[index]?.text === "export" && tokens[index + 1]?.text === "{";
    if (kind !== "word" || !begins || !(/^(import|interface|type)$/.test(text) || isBraced)) {
      continue;
    }
    let end = index;
    while (end < tokens.length && tokens[end]?.text !== ";") {
      end = tokens[end]?.text === "{" ? closing(tokens, end) : end;
      if (text === "interface" && tokens[end]?.text === "}") break;
      end++;
    }
    for (let at = index; at <= end; at++) within.add(at);
    index = end;
  }
  for (let index = 0; index < tokens.length; index++) {
    const end = endOfType(tokens, index);
    for (; index < end; index++) within.add(index);
  }
  return within;
}

/** Where a type of values ends that begins at `index`, as in `readonly status: 400 | 413`; else `index`. */
function endOfType(tokens: readonly Token[], index: number): number {
  const isValue = (at: number) => {
    const { kind, text = "" } = tokens[at] ?? {};
    return kind === "number" || kind === "string" || /^(?:true|false|null|undefined)$/.test(text);
  };
  if (![":", "as", "<"].includes(tokens[index - 1]?.text ?? "") || !isValue(index)) return index;
  let end = index + 1;
  while (tokens[end]?.text === "|" && isValue(end + 1)) end += 2;
  return end > index + 1 || isSingleType(tokens, index) ? end : index;
}

/** Whether this value alone is a type, as in `Promise<false>`, `readonly is?: true` or `): 1 {`. */
function isSingleType(tokens: readonly Token[], index: number): boolean {
  const [before, name, first] = [1, 2, 3].map((back) => tokens[index - back]);
  if (before?.text === "as") return true;
  if (before?.text === "<") return tokens[index + 1]?.text === ">";
  // The colon of a condition has a space before it.
  const isCondition = name === undefined || before?.at !== name.at + name.text.length;
  if (isCondition) return false;
  return [")", "?"].includes(name.text) || ["readonly", "const", "let"].includes(first?.text ?? "");
}

/** Statements that can be left out: calls, assignments, jumps. */
function* statements(
  tokens: readonly Token[],
  isType: ReadonlySet<number>,
): Generator<{ from: number; to: number }> {
  const braces: string[] = [];
  let isClass = false;
  for (const [index, { text, at }] of tokens.entries()) {
    if (isType.has(index)) continue;
    const before = tokens[index - 1]?.text ?? ";";
    if (text === "class") isClass = true;
    const isInClass = braces.at(-1) === "class";
    if (!isInClass && [";", "{", "}", ")", "else"].includes(before) && isLeft(tokens, index)) {
      const end = endOfStatement(tokens, index);
      if (end !== null) yield { from: at, to: (tokens[end]?.at ?? at) + 1 };
    }
    if (text === "{") {
      braces.push(isClass ? "class" : "block");
      isClass = false;
    }
    if (text === "}") braces.pop();
  }
}

/** Whether a statement begins here that the program could be without. */
function isLeft(tokens: readonly Token[], index: number): boolean {
  const { text = "", kind } = tokens[index] ?? {};
  const next = tokens[index + 1]?.text ?? "";
  if (kind !== "word" || KEYWORDS.has(text)) return text === "return" && next === ";";
  if (["await", "void", "this"].includes(text)) return next !== "using";
  if (["break", "continue"].includes(text)) return true;
  return BEHIND_NAME.has(next);
}

function endOfStatement(tokens: readonly Token[], index: number): number | null {
  for (let at = index; at < tokens.length; at++) {
    const { text = "" } = tokens[at] ?? {};
    if (text === ";") return at;
    if (")]}".includes(text)) return null;
    if ("([{".includes(text)) at = closing(tokens, at);
  }
  return null;
}
