import { accountLimitsOf } from "../mesh/account-limits-of.ts";
import { COORDINATOR_VERSION_MAX, type MeshRecord } from "../mesh/record.ts";
import { REDACTION_FRESH_MS } from "../mesh/redaction.ts";
import type { Clock } from "../ports/clock.ts";
import { errorMessage } from "../ports/error-message.ts";
import type { Limit, Policy, Redact } from "../proto/gen/altrace/v1/record_pb.ts";
import type { AccountLimits } from "./account-limits.ts";
import { readUnit } from "./amounts.ts";
import { CommandRefused } from "./command-refused.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import type { Replica } from "./replica.ts";

export type CarriableDeps = {
  readonly clock: Pick<Clock, "nowMs">;
  readonly replica: Pick<Replica, "state" | "counts">;
  readonly policy: Pick<PolicyInHand, "bundleOf">;
  readonly ledger: Pick<LedgerDoor, "contractGrant">;
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
  if (op.case === "limit" && parsed.kind === "budget") {
    return mustBeWithinGrant(deps, {
      scope: record.scope,
      account: parsed.account,
      limit: op.value,
    });
  }
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

/**
 * The ledger lends no more than a contract was granted, whatever a record says (C6 of its contracts); here whoever asks for
 * it is told. What stands already may be said again: other limits are set beside it, and other keys sign it.
 */
function mustBeWithinGrant(
  { ledger, replica }: CarriableDeps,
  {
    scope,
    account,
    limit,
  }: { readonly scope: string; readonly account: string; readonly limit: Limit },
): void {
  const [kind, id = ""] = account.split("/");
  if (kind !== "contract") return;
  const before = replica.state.get(scope)?.op;
  const known = before?.case === "limit" ? accountLimitsOf(before.value) : [];
  const granted = ledger.contractGrant(id);
  for (const { unit: wireUnit, window, limit: asked } of accountLimitsOf(limit)) {
    const unit = readUnit(wireUnit);
    const isSaid = known.some(
      (one) => one.unit === wireUnit && one.window === window && one.limit === asked,
    );
    if (unit === undefined || isSaid) continue;
    if (granted === undefined) throw new CommandRefused("contract_unknown", account);
    if (window !== "total" || asked <= BigInt(granted[unit])) continue;
    throw new CommandRefused(
      "limit_above_grant",
      `${account} was granted ${granted[unit]} ${unit}: it can have less, and for more it takes another contract`,
    );
  }
}
