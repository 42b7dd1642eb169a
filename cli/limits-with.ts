import { create } from "@bufbuild/protobuf";
import { accountLimitsOf } from "../mesh/account-limits-of.ts";
import type { MeshRecord } from "../mesh/record.ts";
import type { RecordOp } from "../mesh/record-op.ts";
import {
  type AccountLimit,
  AccountLimitsSchema,
  LimitSchema,
} from "../proto/gen/altrace/v1/record_pb.ts";

/**
 * An account's record that says all that stands: the new limits, and the others whose window goes on.
 *
 * @param nowMs Wall clock, ms since the Unix epoch.
 */
export function limitsWith(
  own: readonly AccountLimit[],
  current: Pick<MeshRecord, "op"> | undefined,
  nowMs: number,
): RecordOp {
  const before = current?.op;
  const known = before?.case === "limit" ? accountLimitsOf(before.value) : [];
  const others = known.filter(({ unit, window }) => {
    const isOwn = own.some((one) => one.unit === unit && one.window === window);
    return !isOwn && !isWindowOver(window, nowMs);
  });
  const value = create(AccountLimitsSchema, { limits: [...others, ...own] });
  return { case: "limit", value: create(LimitSchema, { of: { case: "accounts", value } }) };
}

/** Windows are named by the start of an ISO timestamp in UTC, so their names are in order of time. */
function isWindowOver(window: string, nowMs: number): boolean {
  const [, instance] = window.split(":", 2);
  const now = new Date(nowMs).toISOString();
  return instance !== undefined && instance < now.slice(0, instance.length);
}
