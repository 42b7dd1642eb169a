import { stageOf } from "../proto/reasons.ts";
import { commit, commitLocal } from "./decision/commit.ts";
import { decide } from "./decision/decide.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { UpstreamTunnel } from "./decision/permit.ts";
import type { Verdict } from "./decision/verdict.ts";
import { factsNow } from "./gather.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";
import {
  type HeldFor,
  onRecord,
  type RefusedVerdict,
  recordContext,
  refused,
  type Shadowed,
  type StagedRefusal,
} from "./hold.ts";
import type { LoopContext } from "./loop-context.ts";

export type HeldTunnel =
  /** TLS ends here: nothing goes upstream but the requests within, each with a permit of its own. */
  | { readonly facts: Facts; readonly inspect: true; readonly wouldRefuse: Shadowed }
  | HeldFor<UpstreamTunnel>;

export type TunnelHold = HeldTunnel | { readonly facts: Facts; readonly refused: RefusedVerdict };

/** Decides and commits; once more where the policy moved meanwhile. */
export async function holdTunnel(asked: AskedTunnel, loop: LoopContext): Promise<TunnelHold> {
  let held = holdOnce(asked, loop);
  if ("moved" in held) held = holdOnce(asked, loop);
  const { facts, verdict } = held;
  if ("moved" in held) {
    const refusal = { reason: "policy_changed", stage: stageOf("policy_changed") } as const;
    return refused(facts, verdict, refusal, false);
  }
  return "permit" in held ? onRecord(asked, facts, verdict, held, loop) : held;
}

type Once = (TunnelHold | { readonly facts: Facts; readonly moved: true }) & {
  readonly verdict: Verdict;
};

function holdOnce(asked: AskedTunnel, loop: LoopContext): Once {
  const { row } = asked;
  const facts = factsNow(asked, loop, "full");
  const verdict = decide(facts);
  if (verdict.refusal !== undefined) return { facts, verdict, refused: verdict };
  if (row === undefined) throw new Error("invariant broken: an allowed tunnel has a row");
  const { wouldRefuse } = verdict;
  const upstream = upstreamTunnel(facts);
  if ("reason" in upstream) return { verdict, ...refused(facts, verdict, upstream, false) };
  const input = { facts, verdict, row: row.row, context: recordContext(asked, loop) };
  const deps = { table: loop.table, log: loop.log, nowNs: () => loop.clock.monoNs() };
  const result =
    "inspect" in upstream ? commitLocal(input, deps) : commit({ ...input, upstream }, deps);
  if ("permit" in result) return { facts, verdict, wouldRefuse, ...result };
  if ("local" in result) return { facts, verdict, wouldRefuse, inspect: true };
  if ("moved" in result) return { facts, verdict, moved: true };
  if ("refusal" in result) {
    return { verdict, ...refused(facts, verdict, result.refusal, result.recorded) };
  }
  throw new Error("invariant broken: a tunnel costs nothing that could be short");
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
