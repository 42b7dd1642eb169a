import { stageOf } from "../proto/reasons.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { UpstreamTunnel } from "./decision/permit.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";
import type { HeldFor, Shadowed, StagedRefusal } from "./hold.ts";
import { holdUnpriced, type Unpriced } from "./hold-unpriced.ts";
import type { LoopContext } from "./loop-context.ts";

export type HeldTunnel =
  /** TLS ends here: nothing goes upstream but the requests within, each with a permit of its own. */
  | { readonly facts: Facts; readonly inspect: true; readonly wouldRefuse: Shadowed }
  | HeldFor<UpstreamTunnel>;

/** Decides and commits. */
export function holdTunnel(
  asked: AskedTunnel,
  loop: LoopContext,
): Promise<Unpriced<UpstreamTunnel>> {
  return holdUnpriced(asked, upstreamTunnel, loop);
}

/** A stage in shadow lets pass what it objects to, but it opens no way to an address that is none. */
function upstreamTunnel({
  requestId,
  destination,
}: Facts): UpstreamTunnel | { readonly inspect: true } | StagedRefusal {
  if (destination === undefined) throw new Error("invariant broken: a tunnel has a destination");
  const { host, port, mode, addresses } = destination;
  if (mode === "inspect") return { inspect: true };
  if (mode !== "tunnel") return { reason: "not_inspectable", stage: stageOf("not_inspectable") };
  if (addresses !== undefined && !isMissing(addresses)) return { requestId, host, port, addresses };
  const reason = addresses?.missing ?? "name_unresolved";
  return { reason, stage: stageOf(reason), detail: host };
}
