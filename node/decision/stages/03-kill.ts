import type { Reason } from "../../../proto/reasons.ts";
import type { Facts, KilledBy } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

const REASON_OF: Record<KilledBy, Reason> = {
  global: "killed_global",
  team: "killed_team",
  agent: "killed_agent",
  contract: "killed_contract",
};

/** The reason for a kill of that scope. */
export function killReason(by: KilledBy): Reason {
  return REASON_OF[by];
}

/** The scope behind a kill's reason; undefined for any other reason. */
export function killedScopeOf(reason: Reason | undefined): KilledBy | undefined {
  return reason === undefined ? undefined : SCOPE_OF.get(reason);
}

/** Looked up in every request, twice. */
const SCOPE_OF: ReadonlyMap<Reason, KilledBy> = new Map(
  (Object.keys(REASON_OF) as KilledBy[]).map((by) => [REASON_OF[by], by]),
);

/**
 * Is anything here killed, or might it be without our hearing?
 *
 * A kill that is known stands whatever the age of our knowledge; that nothing is killed can only be
 * said while the mesh is fresh.
 */
export function checkKill(facts: Facts): RowOutcome {
  const { killedBy, fresh } = facts.kill;
  if (killedBy !== undefined) return { reason: killReason(killedBy) };
  return fresh ? "pass" : { reason: "mesh_stale" };
}
