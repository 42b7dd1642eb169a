/**
 * Why a machine's kernel layer must not be relied on: one closed list that enforcer, node and audit log
 * share. Names are on the wire and in logs for as long as logs are kept; never rename.
 */
export const KERNEL_FAULTS = {
  kernel_bypass: "A canary got out: something lets packets past the rules of this machine.",
  kernel_canary_silent: "No canary tries to get out, or it does not answer, so nothing is proven.",
  kernel_rules_down: "Rules or routes were changed or removed, or could not be loaded.",
  kernel_pods_stale: "The list of this machine's pods may be out of date.",
  kernel_gate_lost: "The node does not hear the machine's enforcer.",
} as const;

export type KernelFaultCode = keyof typeof KERNEL_FAULTS;

/** One fault, with what was seen in words. */
export type KernelFault = { readonly rc: KernelFaultCode; readonly what: string };

/** Reads faults that another process tells; undefined for anything that is no list of them. */
export function readKernelFaults(value: unknown): readonly KernelFault[] | undefined {
  if (!Array.isArray(value) || value.length > FAULTS_MAX) return undefined;
  const isFault = (one: Partial<KernelFault> | null) =>
    typeof one?.rc === "string" &&
    Object.hasOwn(KERNEL_FAULTS, one.rc) &&
    typeof one.what === "string";
  return value.every(isFault) ? (value as KernelFault[]) : undefined;
}

const FAULTS_MAX = 1_024;
