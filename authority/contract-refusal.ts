import type { Reason } from "../proto/reasons.ts";

/** Why a contract does not count: a reason of the registry, and what exactly was wrong. */
export type ContractRefusal = { readonly refused: ContractReason; readonly detail: string };

export type ContractReason = Extract<Reason, `contract_${string}`>;

/** Thrown inside this room alone; whoever calls in from outside is given the value. */
export class RefusedContract extends Error {
  readonly refusal: ContractRefusal;

  constructor(refused: ContractReason, detail: string) {
    super(`${refused}: ${detail}`);
    this.refusal = { refused, detail };
  }
}

/** What `read` returns, or the refusal that it threw. Anything else that is thrown is a bug of ours. */
export function orRefusal<T>(read: () => T): T | ContractRefusal {
  try {
    return read();
  } catch (error) {
    return refusalOf(error);
  }
}

/** @throws The error itself, where it is no refusal. */
export function refusalOf(error: unknown): ContractRefusal {
  if (error instanceof RefusedContract) return error.refusal;
  throw error;
}
