import type { MeshRecord, OpenContext } from "../../mesh/record.ts";
import { seal } from "../../mesh/sealed.ts";
import { stillCounts } from "../../mesh/still-counts.ts";
import { coordinatorMaySign } from "../../mesh/trust.ts";
import type { Bus } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Signer } from "../../ports/keys.ts";
import { healSubject } from "../../proto/subjects.ts";

export type OfferRecordDeps = Pick<OpenContext, "trust" | "verify"> & {
  readonly node: string;
  readonly pin: { readonly mesh: string };
  readonly bus: Pick<Bus, "send">;
  readonly clock: Clock;
  /** The node's own key. */
  readonly signer: Signer;
};

/**
 * Offers coordinators what they do not have.
 *
 * A record speaks for itself while its key counts. For one whose coordinator was removed since, the node
 * vouches that it took it before: nobody else may have heard it, and it is a kill.
 */
export function offerRecord(record: MeshRecord, deps: OfferRecordDeps): void {
  const { node, pin, bus, clock, signer, trust, verify } = deps;
  const { bytes, op, parsed } = record;
  const context = { mesh: pin.mesh, nowMs: clock.nowMs(), trust, verify };
  const isKept = coordinatorMaySign(op.case, parsed) && !stillCounts(record, context);
  bus.send(healSubject(node), isKept ? seal("kept", bytes, signer) : bytes);
}
