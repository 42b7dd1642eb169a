import { accountLimitsOf } from "../mesh/account-limits-of.ts";
import type { MeshRecord } from "../mesh/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { AccountLimits } from "./account-limits.ts";
import { readUnit } from "./amounts.ts";
import type { Tell } from "./events.ts";
import { LedgerFault } from "./ledger-actor.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { PolicyInHand, PolicyNow } from "./policy-in-hand.ts";
import type { Replica } from "./replica.ts";

export type LimitSyncOptions = {
  readonly replica: Replica;
  readonly policy: Pick<PolicyInHand, "now" | "onChange">;
  readonly ledger: LedgerDoor;
  readonly clock: Clock;
  readonly tell: Tell;
  readonly limitsOf: (bundle: Uint8Array) => AccountLimits;
};

const RETRY_MS = 1_000;

/** Keeps the ledger's limits to what the policy in hand and the current `budget/...` records say. */
export function followLimits(options: LimitSyncOptions): void {
  const { replica, policy, ledger } = options;
  const applyAll = (): void => {
    if (policy.now !== undefined) applyPolicy(options, policy.now);
    for (const record of replica.state.records()) {
      if (record.parsed.kind === "budget") void override(options, record);
    }
  };
  applyAll();
  policy.onChange((now) => applyPolicy(options, now));
  replica.onRecord((record) => {
    if (record.parsed.kind === "budget") void override(options, record);
  });
  // What was said while another led is in its ledger, unless it was said in between.
  ledger.onLed(applyAll);
}

/** A policy that cannot be read changes nothing: the limits before it are the operator's last word. */
function applyPolicy(options: LimitSyncOptions, { v, hashHex, bundle }: PolicyNow): void {
  try {
    options.ledger.setLimits(options.limitsOf(bundle));
  } catch (error) {
    options.tell("policy_unusable", { v, hash: hashHex, error: String(error) });
  }
}

async function override(options: LimitSyncOptions, record: MeshRecord): Promise<void> {
  const { replica, ledger, clock } = options;
  if (record.op.case !== "limit") return;
  if (record.parsed.kind !== "budget" || !ledger.isLed) return;
  if (replica.state.get(record.scope)?.hashHex !== record.hashHex) return;
  const limits = accountLimitsOf(record.op.value).flatMap(({ unit: wireUnit, window, limit }) => {
    const unit = readUnit(wireUnit);
    return unit === undefined ? [] : [{ unit, window, limit: Number(limit) }];
  });
  const { account } = record.parsed;
  try {
    await ledger.override(account, limits, record.v);
  } catch (error) {
    if (!(error instanceof LedgerFault)) throw error;
    clock.after(RETRY_MS, () => void override(options, record));
  }
}
