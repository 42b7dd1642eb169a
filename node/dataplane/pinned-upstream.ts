import type { Clock } from "../../ports/clock.ts";
import type { DialAddress } from "../decision/facts.ts";
import { originDial } from "./origin/dial-origin.ts";
import { OriginPool } from "./origin-pool.ts";
import { pinnedLookup } from "./tunnel/pinned-lookup.ts";
import { CONNECT_TIMEOUT_MS } from "./upstream-pools.ts";

/**
 * A connection for one request to the addresses that were judged for it. It is never used again: a
 * later request is judged by what the name resolves to then. To be destroyed when the request is over.
 */
export function pinnedUpstream(
  origin: string,
  addresses: readonly DialAddress[],
  clock: Pick<Clock, "after">,
): Pick<OriginPool, "dispatch" | "destroy"> {
  return new OriginPool({
    dial: originDial(origin, { lookup: pinnedLookup(addresses) }),
    clock,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    ageMsMax: CONNECT_TIMEOUT_MS,
    keepMs: 0,
  });
}
