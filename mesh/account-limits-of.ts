import type { AccountLimit, Limit } from "../proto/gen/altrace/v1/record_pb.ts";

/** The limits that a `limit` record of an account carries: all that an operator has set there. */
export function accountLimitsOf({ of }: Limit): readonly AccountLimit[] {
  if (of.case === "accounts") return of.value.limits;
  // The first form of the record, which had room for one.
  return of.case === "account" ? [of.value] : [];
}
