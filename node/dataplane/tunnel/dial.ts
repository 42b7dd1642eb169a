import { connect, type Socket } from "node:net";
import type { Permit, UpstreamTunnel } from "../../decision/permit.ts";
import { pinnedLookup } from "./pinned-lookup.ts";

/**
 * Opens the connection that the permit allows, to the addresses that were judged and no other.
 *
 * The permit is consumed in the turn in which the connection is begun. The addresses are tried one
 * after another by the socket itself; no name is looked up.
 *
 * @returns Undefined when the permit was refused: nothing was dialled.
 */
export function dial(permit: Permit<UpstreamTunnel>): Socket | undefined {
  if (!permit.consume()) return undefined;
  const { host, port, addresses } = permit.request;
  return connect({
    host,
    port,
    lookup: pinnedLookup(addresses),
    autoSelectFamily: true,
    allowHalfOpen: true,
    noDelay: true,
  });
}
