import type { Missing } from "../../decision/facts.ts";
import type { RelayDialect } from "./answer-part.ts";
import { ANTHROPIC_MESSAGES } from "./anthropic-messages.ts";
import type { Route } from "./dialect.ts";
import { OPENAI_CHAT } from "./openai-chat.ts";

/** Every dialect this gateway speaks, by its name. */
export const DIALECTS: Readonly<Record<"openai" | "anthropic", RelayDialect>> = {
  openai: OPENAI_CHAT,
  anthropic: ANTHROPIC_MESSAGES,
};

/** A path that two dialects share is Anthropic's when the request names a version of its API. */
const ANTHROPIC_HEADER = "anthropic-version";

/** Queries that are accepted, whole, by route. None is passed on: routes go upstream bare. */
const QUERIES: Readonly<Record<string, RegExp>> = {
  // Anthropic's SDKs mark calls of their beta part so; what is beta is said in a header.
  "anthropic.messages": /^beta=true$/,
  // The answer is the whole list all the same, and says that there is no more.
  "anthropic.models": /^(?:beta=true|limit=\d{1,4})$/,
};

export type FoundRoute = { readonly dialect: RelayDialect; readonly route: Route };

/**
 * The route of a request target in origin form.
 *
 * Paths are compared as they came: nothing is decoded or normalised, so there is no second spelling
 * that a provider would read as another path.
 *
 * @param rawHeaders Flat name, value, ...; they tell two dialects apart that share a path.
 */
export function findRoute(
  method: string,
  target: string,
  rawHeaders: readonly string[],
): FoundRoute | Missing {
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  const found = routesOf(path);
  if (found.length === 0) return { missing: "route_unknown" };
  const methods = found.filter(({ route }) => route.method === method);
  if (methods.length === 0) return { missing: "method_not_allowed" };
  const one =
    methods.length > 1 && hasHeader(rawHeaders, ANTHROPIC_HEADER)
      ? methods.find(({ dialect }) => dialect.name === "anthropic")
      : methods[0];
  const { route } = one as FoundRoute;
  if (question >= 0 && !QUERIES[route.id]?.test(target.slice(question + 1))) {
    return { missing: "route_unknown", detail: "this path takes no such query" };
  }
  return one as FoundRoute;
}

function routesOf(path: string): readonly FoundRoute[] {
  return Object.values(DIALECTS).flatMap((dialect) =>
    dialect.routes.filter((route) => route.path === path).map((route) => ({ dialect, route })),
  );
}

function hasHeader(rawHeaders: readonly string[], name: string): boolean {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if ((rawHeaders[index] as string).toLowerCase() === name) return true;
  }
  return false;
}
