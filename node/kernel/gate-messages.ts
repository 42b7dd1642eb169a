import type { KernelFault } from "../../proto/kernel-faults.ts";

/** What a node says to the enforcer of its machine. `n` numbers the questions of one connection. */
export type GateQuestion =
  /** Everything that is killed; sent first on every connection. */
  | { readonly t: "killed"; readonly n: number; readonly scopes: readonly string[] }
  | { readonly t: "kill" | "revive"; readonly n: number; readonly scope: string };

/** What the enforcer says. */
export type GateAnswer =
  /** The kernel's sets were changed, or why they were not. */
  | { readonly t: "done"; readonly n: number; readonly error?: string }
  /**
   * Sockets that led to a killed scope were looked for, and so many were ended; microseconds of the machine's
   * monotonic clock.
   */
  | { readonly t: "swept"; readonly scope: string; readonly count: number; readonly atUs: number }
  /** Who has which address; sent on every connection, and again on each change. */
  | { readonly t: "pods"; readonly pods: readonly GatePod[] }
  /** Why nothing must be relied on; empty when all is well. */
  | { readonly t: "state"; readonly wrong: readonly KernelFault[] };

export type GatePod = {
  readonly address: string;
  readonly namespace: string;
  readonly name: string;
  /** `team/agent`; absent for a pod that nobody registered. */
  readonly agent?: string;
};

const SCOPES_MAX = 100_000;

/** Reads one message of a node; undefined for anything else. */
export function readGateQuestion(message: unknown): GateQuestion | undefined {
  const { t, n, scope, scopes } = (message ?? {}) as Readonly<Record<string, unknown>>;
  if (!Number.isSafeInteger(n)) return undefined;
  if ((t === "kill" || t === "revive") && typeof scope === "string")
    return { t, n: n as number, scope };
  const isList = Array.isArray(scopes) && scopes.every((one) => typeof one === "string");
  if (t === "killed" && isList && scopes.length <= SCOPES_MAX) return { t, n: n as number, scopes };
  return undefined;
}
