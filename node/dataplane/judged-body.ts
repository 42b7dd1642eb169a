import type { RelayDialect } from "./dialects/answer-part.ts";
import type { JsonObject, JsonValue, Route } from "./dialects/dialect.ts";

/**
 * A request's body as it was judged, on its way upstream.
 *
 * The members that are set before it is sent are apart; the others, which may be megabytes, are
 * JSON text already, made from the judged value where it was read. A loop never walks them.
 */
export type JudgedBody = {
  /** The members that a dialect sets: model, output limit, stream options. */
  readonly head: JsonObject;
  /**
   * All others as JSON text without the braces around them; empty when there are none. UTF-8 where it is to be
   * another thread's.
   */
  readonly bulk: string | Uint8Array;
};

/** What is set in a body before it goes upstream. */
export type BodySettings = Parameters<RelayDialect["upstreamBody"]>[2];

/** Takes a judged value apart. */
export function judgedBody(dialect: RelayDialect, value: JsonObject): JudgedBody {
  const head: Record<string, JsonValue> = {};
  let bulk = "";
  for (const name of Object.keys(value)) {
    const member = value[name] as JsonValue;
    if (dialect.settableMembers.includes(name)) head[name] = member;
    else bulk += `${bulk === "" ? "" : ","}${JSON.stringify(name)}:${JSON.stringify(member)}`;
  }
  return { head, bulk };
}

/** The same body in memory of its own, which can be handed to another thread. */
export function apart({ head, bulk }: JudgedBody) {
  return { head, bulk: typeof bulk === "string" ? ENCODER.encode(bulk) : bulk };
}

/** Bytes of all but what is set. */
export function bulkBytes({ bulk }: JudgedBody): number {
  return typeof bulk === "string" ? Buffer.byteLength(bulk) : bulk.length;
}

/** The bytes that go upstream: the judged members, with the dialect's settings among them. */
export function upstreamBytes(
  dialect: RelayDialect,
  route: Route,
  body: JudgedBody,
  set: BodySettings,
): Buffer {
  const head = JSON.stringify(dialect.upstreamBody(route, body.head, set)).slice(1, -1);
  const separator = head === "" || body.bulk.length === 0 ? "" : ",";
  if (typeof body.bulk === "string") return Buffer.from(`{${head}${separator}${body.bulk}}`);
  return Buffer.concat([Buffer.from(`{${head}${separator}`), body.bulk, CLOSING_BRACE]);
}

// Its arrays are its own, so they can be handed to another thread; a Buffer's may be a shared pool.
const ENCODER = new TextEncoder();
const CLOSING_BRACE = Buffer.from("}");
