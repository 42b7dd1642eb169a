import { accountLimitsOf } from "../mesh/account-limits-of.ts";
import type { MeshRecord } from "../mesh/record.ts";
import type { Clock } from "../ports/clock.ts";
import type { AccountLimits } from "./account-limits.ts";
import { readUnit } from "./amounts.ts";
import type { Tell } from "./events.ts";
import { LedgerFault } from "./ledger-actor.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { Replica } from "./replica.ts";

export type LimitSyncOptions = {
  readonly replica: Replica;
  readonly ledger: LedgerDoor;
  readonly clock: Clock;
  readonly tell: Tell;
  readonly limitsOf: (bundle: Uint8Array) => AccountLimits;
};

const RETRY_MS = 1_000;

/** Keeps the ledger's limits to what the current `policy` and `budget/...` records say. */
export function followLimits(options: LimitSyncOptions): void {
  const { replica, ledger } = options;
  const applyAll = (): void => {
    for (const record of replica.state.records()) apply(options, record);
  };
  applyAll();
  replica.onRecord((record) => apply(options, record));
  // What was said while another led is in its ledger, unless it was said in between.
  ledger.onLed(applyAll);
}

function apply(options: LimitSyncOptions, record: MeshRecord): void {
  if (record.op.case === "policy") applyPolicy(options, record, record.op.value.body);
  else if (record.parsed.kind === "budget") void override(options, record);
}

/** A policy that cannot be read changes nothing: the limits before it are the operator's last word. */
function applyPolicy(options: LimitSyncOptions, record: MeshRecord, body: Uint8Array): void {
  try {
    options.ledger.setLimits(options.limitsOf(body));
  } catch (error) {
    options.tell("policy_unusable", { v: record.v, hash: record.hashHex, error: String(error) });
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
