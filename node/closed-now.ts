import type { Reason } from "../proto/reasons.ts";
import { killReason } from "./decision/stages/03-kill.ts";
import type { LoopContext } from "./loop-context.ts";
import { killedBy } from "./table/scope-cells.ts";
import { isFresh } from "./table/table.ts";

/** What the cells say in this instant against going on. */
export function closedNow(loop: LoopContext, row: number): Reason | undefined {
  const by = killedBy(loop.table, row);
  if (by !== undefined) return killReason(by);
  return isFresh(loop.table, loop.clock.monoNs()) ? undefined : "mesh_stale";
}

/** Why a permit was refused where it was to be used. */
export function unusableBecause(loop: LoopContext, row: number): Reason {
  const isLogged = loop.log.canAllow(loop.clock.monoNs());
  return closedNow(loop, row) ?? (isLogged ? "mesh_stale" : "audit_unavailable");
}
