import { DELEGATIONS_ROUTE, type Missing } from "../../decision/facts.ts";
import type { RelayDialect } from "./answer-part.ts";
import { ANTHROPIC_COUNT_TOKENS } from "./anthropic-count-tokens.ts";
import { ANTHROPIC_MESSAGES } from "./anthropic-messages.ts";
import type { DialectName, Route } from "./dialect.ts";
import { GEMINI_GENERATE } from "./gemini-generate.ts";
import { MCP } from "./mcp.ts";
import { OPENAI_CHAT } from "./openai-chat.ts";
import { OPENAI_EMBEDDINGS } from "./openai-embeddings.ts";
import { OPENAI_REALTIME, REALTIME } from "./openai-realtime.ts";
import { OPENAI_RESPONSES } from "./openai-responses.ts";

/** Every dialect this gateway speaks, by its name. */
export const DIALECTS: Readonly<Record<DialectName, RelayDialect>> = {
  openai: OPENAI_CHAT,
  "openai-responses": OPENAI_RESPONSES,
  "openai-embeddings": OPENAI_EMBEDDINGS,
  anthropic: ANTHROPIC_MESSAGES,
  "anthropic-count-tokens": ANTHROPIC_COUNT_TOKENS,
  gemini: GEMINI_GENERATE,
  mcp: MCP,
};

/** A path that dialects share belongs to the one whose own header a request has, else to the first. */
const OWN_HEADERS: readonly (readonly [dialect: DialectName, header: string])[] = [
  ["anthropic", "anthropic-version"],
  ["gemini", "x-goog-api-key"],
];

/** Queries that are accepted, whole, by route. None is passed on: dialects make their own. */
const QUERIES: Readonly<Record<string, RegExp>> = {
  // Anthropic's SDKs mark calls of their beta part so; what is beta is said in a header.
  "anthropic.messages": /^beta=true$/,
  "anthropic.count_tokens": /^beta=true$/,
  // The answer is the whole list all the same, and says that there is no more.
  "anthropic.models": /^(?:beta=true|limit=\d{1,4})$/,
  // The model of a session stands here and nowhere else.
  "openai.realtime": /^model=[A-Za-z0-9._-]{1,64}$/,
  "gemini.models.v1": /^pageSize=\d{1,4}$/,
  "gemini.models.v1beta": /^pageSize=\d{1,4}$/,
  "gemini.stream.v1": /^alt=sse$/,
  "gemini.stream.v1beta": /^alt=sse$/,
};

/** The node's own route. Refusals of it are worded as OpenAI's are. */
const DELEGATIONS: Route = {
  id: DELEGATIONS_ROUTE,
  method: "POST",
  path: "/altrace/v1/delegations",
  kind: "delegate",
};

/** Routes that are another API without their query. */
const QUERY_NEEDED: Readonly<Record<string, string>> = {
  "openai.realtime": "a session names its model",
  "gemini.stream.v1": "streams are served with alt=sse only",
  "gemini.stream.v1beta": "streams are served with alt=sse only",
};

export type FoundRoute = {
  readonly dialect: RelayDialect;
  readonly route: Route;
  /** The model that the path or its query names, where it names one. */
  readonly model: string | undefined;
};

/**
 * The route of a request target in origin form.
 *
 * Paths are compared as they came: nothing is decoded or normalised, so there is no second spelling
 * that a provider would read as another path.
 *
 * @param rawHeaders Flat name, value, ...; they tell two dialects apart that share a path.
 * @param family The one whose routes alone there are; all, where nothing is said.
 */
export function findRoute(
  method: string,
  target: string,
  rawHeaders: readonly string[],
  family?: RelayDialect["family"],
): FoundRoute | Missing {
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  const all = EXACT_ROUTES.get(path) ?? routeWithModel(path);
  const found = family === undefined ? all : all.filter((one) => one.dialect.family === family);
  if (found.length === 0) return { missing: "route_unknown" };
  const methods = found.filter(({ route }) => route.method === method);
  if (methods.length === 0) return { missing: "method_not_allowed" };
  const one = methods.length > 1 ? ownedBy(methods, rawHeaders) : (methods[0] as FoundRoute);
  const { route } = one;
  if (question >= 0 && !QUERIES[route.id]?.test(target.slice(question + 1))) {
    return { missing: "route_unknown", detail: "this path takes no such query" };
  }
  const needed = QUERY_NEEDED[route.id];
  if (question < 0 && needed !== undefined) return { missing: "route_unknown", detail: needed };
  return route.isSession ? { ...one, model: target.slice(question + "?model=".length) } : one;
}

function ownedBy(found: readonly FoundRoute[], rawHeaders: readonly string[]): FoundRoute {
  const owner = OWN_HEADERS.find(([, header]) => hasHeader(rawHeaders, header))?.[0];
  return found.find(({ dialect }) => dialect.name === owner) ?? (found[0] as FoundRoute);
}

const ALL_ROUTES: readonly FoundRoute[] = [
  ...Object.values(DIALECTS).flatMap((dialect) =>
    dialect.routes.map((route) => ({ dialect, route, model: undefined })),
  ),
  { dialect: DIALECTS.openai, route: DELEGATIONS, model: undefined },
  { dialect: OPENAI_REALTIME, route: REALTIME, model: undefined },
];

const EXACT_ROUTES = Map.groupBy(
  ALL_ROUTES.filter(({ route }) => !route.path.includes("*")),
  ({ route }) => route.path,
);

/** As policy names models: a name, or a provider and a name. Nothing that has to be decoded. */
const MODEL_NAME = /^[A-Za-z0-9._-]{1,64}(?:\/[A-Za-z0-9._-]{1,64})?$/;

function routeWithModel(path: string): readonly FoundRoute[] {
  return ALL_ROUTES.flatMap((one) => {
    const [start, end] = one.route.path.split("*");
    if (end === undefined || !path.startsWith(start as string) || !path.endsWith(end)) return [];
    const model = path.slice((start as string).length, path.length - end.length);
    return MODEL_NAME.test(model) ? [{ ...one, model }] : [];
  });
}

function hasHeader(rawHeaders: readonly string[], name: string): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if ((rawHeaders[index] as string).toLowerCase() === name) return true;
  }
  return false;
}
