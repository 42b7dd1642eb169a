import { credentialName } from "./credential-name.ts";
import { upstreamBytes } from "./dataplane/judged-body.ts";
import { passedHeaders } from "./dataplane/passed-headers.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { UpstreamRequest } from "./decision/permit.ts";
import type { Asked } from "./gather.ts";
import { SESSION_HEADER } from "./mcp-session.ts";

/**
 * What would go upstream, serialised from the judged value: there is one reading of it.
 *
 * @returns Undefined for a route that the node answers itself.
 */
export function upstreamRequest(asked: Asked, facts: Facts): UpstreamRequest | undefined {
  const { found, body, read, exchange } = asked;
  const { model, cost, identity } = facts;
  if (isMissing(found) || body === undefined || read === undefined) return undefined;
  if (model === undefined || isMissing(model) || isMissing(identity)) return undefined;
  const { dialect, route } = found;
  const maxOutputTokens = cost === undefined || isMissing(cost) ? undefined : cost.outputTokensSet;
  const set = { model: model.upstreamName, maxOutputTokens };
  const path = dialect.upstreamPath?.(route, model.upstreamName) ?? route.path;
  const sent = route.bodyless ? NO_BYTES : upstreamBytes(dialect, route, body, set);
  return {
    requestId: exchange.requestId,
    origin: model.provider.origin,
    method: route.method,
    path: model.provider.basePath + path || "/",
    headers: [
      ...(route.bodyless ? [] : bodyHeaders(sent.length)),
      ...passedHeaders(exchange.head.rawHeaders, dialect.passedHeaders),
      ...(asked.session === undefined ? [] : [SESSION_HEADER, asked.session]),
    ],
    body: sent,
    credential: {
      name: credentialName(model.provider, identity.agentId),
      dialect: dialect.family,
    },
  };
}

const NO_BYTES = new Uint8Array(0);

function bodyHeaders(bytes: number): readonly string[] {
  return ["content-type", "application/json", "content-length", String(bytes)];
}
