// The page docs/reference/ingest-api.md from the OpenAPI file beside it: headers, fields, answers and examples
// of each operation. It knows the parts of OpenAPI that this file uses, and refuses the others. Pure.

import { table, wrap } from "./markdown.ts";

interface Schema {
  readonly type: string;
  readonly description?: string;
  readonly format?: string;
  readonly const?: string;
  readonly enum?: readonly string[];
  readonly contentMediaType?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

interface Content {
  readonly schema: Schema;
  readonly example?: unknown;
  readonly examples?: Readonly<
    Record<string, { readonly summary: string; readonly value: Readonly<Record<string, string>> }>
  >;
}

interface Answer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, { readonly description: string }>>;
  readonly content?: Readonly<Record<string, Content>>;
}

interface Operation {
  readonly summary: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly description: string;
    readonly schema: Schema;
    readonly example?: string;
  }[];
  readonly requestBody: { readonly content: Readonly<Record<string, Content>> };
  readonly responses: Readonly<Record<string, Answer | { readonly $ref: string }>>;
}

/** The part of an OpenAPI file that the page shows. */
export interface Api {
  readonly info: { readonly title: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly responses: Readonly<Record<string, Answer>> };
}

const INTRODUCTION =
  "Made from [ingest-api.yaml](ingest-api.yaml) (OpenAPI 3.1) by `deno task generate`. " +
  "[Protocol](protocol.md) says what the fields mean and what follows from an answer; " +
  "[`conform`](command-line.md#conform) tests a server.";

/** The page as `deno fmt` leaves it. */
export function apiPage(api: Api): string {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => section(api, method, path, operation))
  );
  return `${[`# ${api.info.title}`, wrap(INTRODUCTION), ...operations].join("\n\n")}\n`;
}

function section(api: Api, method: string, path: string, operation: Operation): string {
  const { summary, parameters, requestBody, responses } = operation;
  const [[mediaType = "", body] = []] = Object.entries(requestBody.content);
  if (body === undefined) throw new Error(`Cannot show ${path} as it has no body`);
  const headers = parameters.map(({ name, description, schema, example }) => [
    `\`${name}\``,
    description,
    values(schema, example),
  ]);
  const { properties = {}, required = [] } = body.schema;
  const fields = Object.entries(properties).map(([name, schema]) => [
    `\`${name}\`${required.includes(name) ? "" : " (optional)"}`,
    schema.description ?? "",
    values(schema),
  ]);
  const answers = new Map<string, string[]>();
  for (const [status, response] of Object.entries(responses)) {
    const { description, headers = {}, content = {} } = resolved(api, response);
    const more = Object.entries(headers).map(([name, header]) =>
      ` \`${name}\`: ${header.description}`
    );
    const examples = Object.values(content).map(({ example }) => code(JSON.stringify(example)));
    const row = JSON.stringify([description + more.join(""), examples.join(" ")]);
    answers.set(row, [...answers.get(row) ?? [], status]);
  }
  const rows = [...answers].map(([row, statuses]): string[] => [
    statuses.join(", "),
    ...JSON.parse(row),
  ]);
  const examples = Object.values(body.examples ?? {}).map(({ summary, value }) =>
    `${summary}:\n\n\`\`\`sh\n${curl(path, parameters, value)}\n\`\`\``
  );
  return [
    `## \`${method.toUpperCase()} ${path}\``,
    wrap(`${summary} With \`Authorization: Bearer TOKEN\`.`),
    "### Headers",
    table([["header", "meaning", "example"], ...headers]),
    `### Form, \`${mediaType}\``,
    table([["field", "meaning", "values"], ...fields]),
    "### Answers",
    table([["status", "meaning", "body"], ...rows]),
    "### Examples",
    ...examples,
  ].join("\n\n");
}

function resolved(api: Api, answer: Answer | { readonly $ref: string }): Answer {
  if (!("$ref" in answer)) return answer;
  const found = api.components.responses[answer.$ref.replace("#/components/responses/", "")];
  if (found === undefined) throw new Error(`Cannot show ${answer.$ref} as it is not in the file`);
  return found;
}

function values(schema: Schema, example?: string): string {
  const { enum: all, const: only, format, contentMediaType } = schema;
  const listed = all ?? (only === undefined ? [] : [only]);
  if (example !== undefined) return code(example);
  if (listed.length > 0) return listed.map(code).join(", ");
  return format === "uuid" ? "UUID" : contentMediaType ?? "text";
}

/** The request as a command. The file is in the current folder. */
function curl(
  path: string,
  parameters: Operation["parameters"],
  fields: Readonly<Record<string, string>>,
): string {
  const key = parameters.find(({ name }) => name === "Idempotency-Key")?.example ?? "";
  const lines = Object.entries(fields).map(([name, value]) =>
    name === "chunk_file" ? `-F "chunk_file=@${value};type=audio/ogg"` : `-F ${name}=${value}`
  );
  return [
    'curl -H "Authorization: Bearer $TOKEN" \\',
    `  -H "Idempotency-Key: ${key}" \\`,
    ...lines.map((line) => `  ${line} \\`),
    `  "$INGEST_BASE_URL${path}"`,
  ].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}
