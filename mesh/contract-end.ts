import { ROOT_LIFE_S_MAX, SKEW_S_MAX } from "../authority/contract-limits.ts";
import type { ReadRecord } from "./record-form.ts";

const ROOT_LIFE_MS = (ROOT_LIFE_S_MAX + SKEW_S_MAX) * 1000;
/** How far clocks of a mesh may differ for a revocation to be taken by all of it. */
const CLOCKS_APART_MS = 24 * 3_600_000;
/** So far ahead of anybody's clock a contract's end lies at most. */
export const CONTRACT_END_AHEAD_MS = ROOT_LIFE_MS + CLOCKS_APART_MS;

/**
 * When the contract has ended for certain that a record revokes, ms since the Unix epoch: its end, where whoever signed
 * knew it, and else the latest that a contract of that time can have. `undefined`: it revokes no contract.
 */
export function contractEndOf(
  record: Pick<ReadRecord, "parsed" | "op" | "issuedAtMs">,
): number | undefined {
  const { parsed, op, issuedAtMs } = record;
  if (parsed.kind !== "contract" || op.case !== "kill") return undefined;
  const { contractEndMs } = op.value;
  return contractEndMs === 0n ? issuedAtMs + ROOT_LIFE_MS : Number(contractEndMs);
}
