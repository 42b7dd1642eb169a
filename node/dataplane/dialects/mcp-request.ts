import type { Missing } from "../../decision/facts.ts";
import { callArguments } from "../call-arguments.ts";
import { collectTexts } from "./collect-texts.ts";
import type { JsonObject, ReadRequest, Route, ToolUse } from "./dialect.ts";
import { foldedName } from "./folded-names.ts";
import { asObject } from "./json-shape.ts";
import { plainName, resourceName } from "./mcp-names.ts";
import { printable } from "./request-reading.ts";
import { WORDLESS_REQUEST } from "./wordless-request.ts";

/** What a request uses, by its parameters; an empty list where it uses nothing. */
type UsesOf = (params: JsonObject) => readonly ToolUse[];

const readsResource: UsesOf = ({ uri }) => [{ name: resourceName(uri), verb: "read" }];

/** What a client may ask or tell. All else reaches for what no grant speaks of. */
const METHODS: ReadonlyMap<string, UsesOf | undefined> = new Map([
  ["initialize", undefined],
  ["ping", undefined],
  ["tools/list", undefined],
  [
    "tools/call",
    ({ name, arguments: given }) => [{ name: plainName(name), arguments: callArguments(given) }],
  ],
  ["resources/list", undefined],
  ["resources/templates/list", undefined],
  ["resources/read", readsResource],
  ["resources/subscribe", readsResource],
  ["resources/unsubscribe", readsResource],
  ["prompts/list", undefined],
  ["prompts/get", ({ name }) => [{ name: plainName(name), verb: "read" }]],
  ["notifications/initialized", undefined],
  ["notifications/cancelled", undefined],
  ["notifications/progress", undefined],
]);

const MEMBERS: ReadonlySet<string> = new Set(["jsonrpc", "id", "method", "params"]);

/** Parameters that say what is used, in the only spelling that is let pass. */
const READ_PARAMS: ReadonlySet<string> = new Set(["name", "arguments", "uri", "task"]);

/**
 * Reads a JSON-RPC message of a client. Answers to questions of a server are malformed here: no
 * question of a server is let through that could be answered. Batches, which the protocol has given up,
 * are refused before they are read.
 *
 * @see https://modelcontextprotocol.io/specification/2025-06-18/basic
 */
export function readMcpRequest(body: JsonObject): ReadRequest | Missing {
  const { jsonrpc, id, method, params } = body;
  if (jsonrpc !== "2.0") return malformed("jsonrpc");
  if (typeof method !== "string") return malformed("method");
  if (id !== undefined && typeof id !== "string" && !Number.isSafeInteger(id)) {
    return malformed("id");
  }
  const members = asObject(params ?? {});
  if (members === undefined) return malformed("params");
  const otherwise = foldedName(Object.keys(members), READ_PARAMS);
  if (otherwise !== undefined) return malformed(`params.${printable(otherwise)}`);
  const { arguments: given } = members;
  if (given !== undefined && asObject(given) === undefined) return malformed("params.arguments");
  const unknown = Object.keys(body).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined) return malformed(printable(unknown));
  const uses = METHODS.get(method);
  // What nobody waits for could not be refused by name.
  if (uses !== undefined && id === undefined) return malformed("id");
  const texts: string[] = [];
  collectTexts(body, texts);
  return {
    model: "",
    stream: true,
    tools: uses?.(members) ?? [],
    texts,
    messages: 1,
    maxOutputTokens: 0,
    choices: 1,
    unpricedParameter: unpricedIn(method, members),
    wantsUsage: false,
    unbilled: true,
    ...(id !== undefined && { answersTo: id as string | number }),
  };
}

/**
 * A call that is to run on as a task ends with no answer that could be read here: what it finds is asked for
 * later, by methods that reach for what another agent may have begun.
 */
function unpricedIn(method: string, params: JsonObject): string | undefined {
  if (!METHODS.has(method)) return `method ${printable(method)}`;
  return params.task === undefined ? undefined : "params.task";
}

/** A request without a message: the server's own stream (GET), or the end of a session (DELETE). */
export function readMcpBodyless({ method }: Route): ReadRequest {
  return method === "GET"
    ? { ...WORDLESS_REQUEST, openEnded: true }
    : { ...WORDLESS_REQUEST, stream: false };
}

function malformed(detail: string): Missing {
  return { missing: "malformed_request", detail };
}
