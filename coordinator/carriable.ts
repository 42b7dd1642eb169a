import { COORDINATOR_VERSION_MAX, type MeshRecord } from "../mesh/record.ts";
import { REDACTION_FRESH_MS } from "../mesh/redaction.ts";
import type { Clock } from "../ports/clock.ts";
import { errorMessage } from "../ports/error-message.ts";
import type { Policy, Redact } from "../proto/gen/altrace/v1/record_pb.ts";
import type { AccountLimits } from "./account-limits.ts";
import { CommandRefused } from "./command-refused.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import type { Replica } from "./replica.ts";

export type CarriableDeps = {
  readonly clock: Pick<Clock, "nowMs">;
  readonly replica: Pick<Replica, "state" | "counts">;
  readonly policy: Pick<PolicyInHand, "bundleOf">;
  readonly limitsOf: (bundle: Uint8Array) => AccountLimits;
  readonly readAhead: (bundle: Uint8Array) => Promise<unknown>;
};

/**
 * What a record that somebody else signed must be beyond its signature, before it is accepted.
 *
 * @throws CommandRefused
 */
export async function mustBeCarriable(deps: CarriableDeps, record: MeshRecord): Promise<void> {
  const { op, parsed } = record;
  if (op.case === "policy") return mustBeReadable(deps, op.value);
  if (op.case === "redact") return mustBeOfNow(deps, record, op.value);
  if (op.case !== "kill" || parsed.kind === "key" || parsed.kind === "node") return;
  // Beyond what a coordinator may number a thief of its key has been, and nodes take an operator's
  // kill alone: a scope that can be revived must be one that can be killed.
  if (record.v > COORDINATOR_VERSION_MAX) return;
  const before = deps.replica.state.get(record.scope);
  // The kill stands, but whoever has never seen it could not check it: an operator renews it.
  if (before?.op.case === "kill" && !deps.replica.counts(before)) return;
  throw new CommandRefused("op_not_allowed", `${record.scope} is killed by Kill`);
}

async function mustBeReadable(
  { limitsOf, readAhead, policy }: CarriableDeps,
  value: Policy,
): Promise<void> {
  try {
    const bundle = await policy.bundleOf(value);
    if (bundle === undefined) {
      throw new CommandRefused("policy_part_missing", "not all of its parts were handed over");
    }
    await readAhead(bundle);
    limitsOf(bundle);
  } catch (cause) {
    if (cause instanceof CommandRefused) throw cause;
    const message = errorMessage(cause);
    throw new CommandRefused("policy_malformed", message, { cause });
  }
}

/** An order of the past leaves keys, and one of the future takes keys of whoever comes back until then. */
function mustBeOfNow(
  { clock, replica }: CarriableDeps,
  { scope }: MeshRecord,
  { madeByMs, person }: Redact,
): void {
  const before = replica.state.get(scope)?.op;
  const isRenewal =
    before?.case === "redact" &&
    before.value.madeByMs === madeByMs &&
    Buffer.compare(before.value.person, person) === 0;
  if (isRenewal || Math.abs(clock.nowMs() - Number(madeByMs)) <= REDACTION_FRESH_MS) return;
  throw new CommandRefused(
    "redaction_expired",
    "it was signed too long ago, or a clock is wrong: sign another one",
  );
}
