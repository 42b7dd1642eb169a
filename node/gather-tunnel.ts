import type { TunnelExchange } from "./dataplane/tunnel/tunnel-exchange.ts";
import { isMissing, type RequestFacts } from "./decision/facts.ts";
import type { WantedDestination } from "./destination.ts";
import type { Asked } from "./gather.ts";
import { identifyBy, identifyNamed, type WhoAsks } from "./identify.ts";
import type { LoopContext } from "./loop-context.ts";
import { namedProxyKey } from "./named-key.ts";
import { agentHandle } from "./thread-messages.ts";

/** What is known of a tunnel that is asked for. */
export type AskedTunnel = Asked<TunnelExchange> & {
  readonly destination: WantedDestination;
  /** What names its key: SHA-256 of it, or the key's id for a placed address. */
  readonly keyHandle: string | undefined;
  /** That key is a contract's. */
  readonly isContract: boolean;
};

/** What the head alone says. Claims the tunnel for its agent before any cell is read. */
export async function gatherTunnel(
  exchange: TunnelExchange,
  loop: LoopContext,
): Promise<AskedTunnel> {
  const { head, target, original } = exchange;
  const { identity, row, keyHandle, isContract = false } = await identifyTunnel(exchange, loop);
  return {
    exchange,
    destination: { scheme: "https", ...target, as: "connection", original },
    keyHandle,
    isContract,
    // A tunnel is no request of any dialect.
    found: { missing: "route_unknown" },
    clientRequestId: undefined,
    row,
    identity,
    bodyBytes: 0,
    scan: { hits: [], scannedBytes: 0, complete: true },
    request: tunnelRequest(head.method),
  };
}

type WhoAsksTunnel = WhoAsks & {
  readonly keyHandle: string | undefined;
  readonly isContract?: boolean;
};

async function identifyTunnel(exchange: TunnelExchange, loop: LoopContext): Promise<WhoAsksTunnel> {
  if (exchange.door === "transparent") return identifySource(exchange, loop);
  const named = namedProxyKey(exchange.head.rawHeaders);
  if (isMissing(named)) return { identity: named, row: undefined, keyHandle: undefined };
  const { handle: keyHandle, isContract } = named;
  return { ...(await identifyNamed(named, exchange, loop)), keyHandle, isContract };
}

/** Nobody sends a credential with what is captured: who asks follows from where it comes from. */
async function identifySource(exchange: TunnelExchange, loop: LoopContext): Promise<WhoAsksTunnel> {
  const agentId = loop.placement.agentAt(exchange.head.peer);
  if (agentId === undefined) {
    return { identity: { missing: "source_unknown" }, row: undefined, keyHandle: undefined };
  }
  const keyHandle = agentHandle(agentId);
  const { identity, row } = await identifyBy(keyHandle, exchange, loop);
  const isUnknown = isMissing(identity) && identity.missing === "key_unknown";
  return { identity: isUnknown ? { missing: "source_unknown" } : identity, row, keyHandle };
}

function tunnelRequest(method: string): RequestFacts {
  return {
    route: method.toLowerCase(),
    dialect: undefined,
    method,
    stream: true,
    bodyBytes: 0,
    model: undefined,
    tools: [],
    unpricedParameter: undefined,
  };
}
