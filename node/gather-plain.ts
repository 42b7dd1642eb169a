import { carriesKey } from "./credential.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import type { ConnectTarget } from "./dataplane/tunnel/connect-head.ts";
import { type Identity, isMissing, type Missing, type RequestFacts } from "./decision/facts.ts";
import type { WantedDestination } from "./destination.ts";
import type { Asked } from "./gather.ts";
import { identifyNamed } from "./identify.ts";
import type { LoopContext } from "./loop-context.ts";
import { type NamedKey, namedProxyKey } from "./named-key.ts";
import type { RowGrant } from "./thread-messages.ts";

/** What is known of a request over plain HTTP to a host that is no provider's. */
export type AskedPlain = Asked & {
  readonly destination: WantedDestination;
  /** The key that was sent to the proxy. */
  readonly named: NamedKey | Missing;
};

const METHODS: ReadonlySet<string> = new Set([
  ...["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
]);

/** What the head alone says. Claims the exchange for its agent before any cell is read. */
export async function gatherPlain(
  exchange: Exchange,
  to: ConnectTarget,
  loop: LoopContext,
): Promise<AskedPlain> {
  const named = namedProxyKey(exchange.head.rawHeaders);
  const { identity, row } = await identifyPlain(exchange, named, loop);
  return {
    exchange,
    named,
    destination: { scheme: "http", ...to, as: "plain", original: undefined },
    // It is no request of any dialect.
    found: { missing: "route_unknown" },
    clientRequestId: undefined,
    row,
    identity,
    bodyBytes: 0,
    scan: { hits: [], scannedBytes: 0, complete: true },
    request: plainRequest(exchange.head.method),
  };
}

async function identifyPlain(
  exchange: Exchange,
  named: NamedKey | Missing,
  loop: LoopContext,
): Promise<{ readonly identity: Identity | Missing; readonly row: RowGrant | undefined }> {
  const { rawHeaders, target } = exchange.head;
  if (isMissing(named)) return { identity: named, row: undefined };
  const { identity, row } = await identifyNamed(named, exchange, loop);
  // What a request says to its host is its own affair, unless that would hand a key of ours to it.
  const isLeaked = carriesKey(target, rawHeaders);
  return { identity: isLeaked ? KEY_FOR_HOST : identity, row };
}

const KEY_FOR_HOST: Missing = {
  missing: "credentials_conflict",
  detail: "an Altrace key is for the proxy, not for the host behind it",
};

function plainRequest(method: string): RequestFacts | Missing {
  if (!METHODS.has(method)) return { missing: "method_not_allowed" };
  return {
    route: "http",
    dialect: undefined,
    method,
    stream: false,
    bodyBytes: 0,
    model: undefined,
    tools: [],
    unpricedParameter: undefined,
  };
}
