import type { Missing } from "../../decision/facts.ts";
import { collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue, ReadRequest } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import { printable } from "./request-reading.ts";

const CALL = "tools/call";

/** What a client may ask or tell. All else reaches for what no grant speaks of. */
const METHODS: ReadonlySet<string> = new Set([
  "initialize",
  "ping",
  "tools/list",
  CALL,
  "notifications/initialized",
  "notifications/cancelled",
  "notifications/progress",
]);

const MEMBERS: ReadonlySet<string> = new Set(["jsonrpc", "id", "method", "params"]);

/**
 * Reads a JSON-RPC message of a client. Answers to questions of a server are malformed here: no
 * question of a server is let through that could be answered. So are batches, which the protocol has
 * given up.
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
  const unknown = Object.keys(body).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined) return malformed(printable(unknown));
  const isCall = method === CALL;
  // A call that nobody waits for could not be refused by name.
  if (isCall && id === undefined) return malformed("id");
  const texts: string[] = [];
  collectTexts(body, texts);
  return {
    model: "",
    stream: true,
    tools: isCall ? [{ name: nameOf(members.name) }] : [],
    texts,
    messages: 1,
    maxOutputTokens: 0,
    choices: 1,
    unpricedParameter: METHODS.has(method) ? undefined : `method ${printable(method)}`,
    wantsUsage: false,
    unbilled: true,
    ...(id !== undefined && { answersTo: id as string | number }),
  };
}

function nameOf(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function malformed(detail: string): Missing {
  return { missing: "malformed_request", detail };
}
