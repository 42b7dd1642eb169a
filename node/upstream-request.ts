import { upstreamBytes } from "./dataplane/judged-body.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { UpstreamRequest } from "./decision/permit.ts";
import type { Asked } from "./gather.ts";

/**
 * What would go upstream, serialised from the judged value: there is one reading of it.
 *
 * @returns Undefined for a route that the node answers itself.
 */
export function upstreamRequest(asked: Asked, facts: Facts): UpstreamRequest | undefined {
  const { found, body, read, exchange } = asked;
  const { model, cost } = facts;
  if (isMissing(found) || body === undefined || read === undefined) return undefined;
  if (model === undefined || isMissing(model)) return undefined;
  const { dialect, route } = found;
  const maxOutputTokens = cost === undefined || isMissing(cost) ? undefined : cost.outputTokensSet;
  const set = { model: model.upstreamName, maxOutputTokens };
  const path = dialect.upstreamPath?.(route, model.upstreamName) ?? route.path;
  const sent = upstreamBytes(dialect, route, body, set);
  return {
    requestId: exchange.requestId,
    origin: model.provider.origin,
    method: route.method,
    path: model.provider.basePath + path || "/",
    headers: passedHeaders(exchange.head.rawHeaders, dialect.passedHeaders, sent.length),
    body: sent,
    credential: { name: model.provider.credential, dialect: dialect.family },
  };
}

function passedHeaders(
  rawHeaders: readonly string[],
  allowed: readonly string[],
  bodyBytes: number,
): string[] {
  const headers = ["content-type", "application/json", "content-length", String(bodyBytes)];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (allowed.includes(name)) headers.push(name, rawHeaders[i + 1] as string);
  }
  return headers;
}
