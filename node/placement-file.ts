import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { recordable } from "../audit/record.ts";
import type { Clock } from "../ports/clock.ts";
import { parseAgentId } from "../proto/ids.ts";

/** Which agent has which address on this machine. */
export type Placement = {
  /** `undefined`: nobody, or more than one. */
  agentAt(address: string): string | undefined;
  /** `namespace/name` of the pod there, registered or not; just its name where there are no namespaces. */
  podAt(address: string): string | undefined;
  /** Pods of this machine that nobody has registered. */
  unregistered(): readonly PlacedPod[];
};

export type PlacedPod = { readonly pod: string; readonly addresses: readonly string[] };

export const NO_PLACEMENT: Placement = {
  agentAt: () => undefined,
  podAt: () => undefined,
  unregistered: () => [],
};

/** One that cannot be read is tried again so much later. */
const RETRY_NS = 1_000_000_000n;

/**
 * Reads who is where from a file: a JSON array of `{agent: "team/agent", addresses: [...]}`, and of
 * `{name, namespace?, addresses}` for pods that nobody has registered; other members are not read. Looked at for each
 * question, some microseconds, and read again when it has changed: an address may be another pod's a moment after it was one's, and
 * the list is there before that pod's packets pass. While it cannot be read nobody is anywhere, so captured connections are refused.
 */
export function openPlacementFile(of: {
  readonly path: string;
  readonly clock: Clock;
  readonly onProblem: (why: string) => void;
}): Placement {
  const { path, clock, onProblem } = of;
  let placed = NOBODY;
  let stamp = "";
  let retryAtNs: bigint | undefined;
  const look = (): void => {
    try {
      const { mtimeMs, size, ino } = statSync(path);
      const now = `${mtimeMs}:${size}:${ino}`;
      if (now === stamp) return;
      stamp = now;
      placed = parsePlacement(readFileSync(path, "utf8"));
      retryAtNs = undefined;
    } catch (error) {
      if (placed.agents.size > 0 || stamp !== "bad") onProblem(String(error));
      placed = NOBODY;
      stamp = "bad";
      retryAtNs = clock.monoNs() + RETRY_NS;
    }
  };
  const now = (): Placed => {
    if (retryAtNs === undefined || clock.monoNs() >= retryAtNs) look();
    return placed;
  };
  return {
    agentAt: (address) => now().agents.get(address),
    podAt: (address) => now().pods.get(address),
    unregistered: () => now().unregistered,
  };
}

export type Placed = {
  /** By address. */
  readonly agents: ReadonlyMap<string, string>;
  readonly pods: ReadonlyMap<string, string>;
  readonly unregistered: readonly PlacedPod[];
};

const NOBODY: Placed = { agents: new Map(), pods: new Map(), unregistered: [] };

/** @throws Error The text is not of that form. */
export function parsePlacement(text: string): Placed {
  const rows: unknown = JSON.parse(text);
  if (!Array.isArray(rows)) throw new Error("not a list");
  const agents = new Map<string, string>();
  const pods = new Map<string, string>();
  const strangers = new Map<string, string[]>();
  const doubtful = new Set<string>();
  for (const row of rows as Partial<Record<string, unknown>>[]) {
    const { agent, addresses } = row;
    const pod = podName(row);
    const listed = Array.isArray(addresses) ? addresses.map((one) => canonical(String(one))) : [];
    if (pod !== undefined) for (const address of listed) pods.set(address, pod);
    if (agent === undefined) {
      // A pod that nobody has registered is listed without an agent, one address a row.
      if (pod !== undefined) strangers.set(pod, [...(strangers.get(pod) ?? []), ...listed]);
      continue;
    }
    if (typeof agent !== "string" || parseAgentId(agent) === undefined) {
      throw new Error("an agent is team/agent");
    }
    if (!Array.isArray(addresses)) throw new Error(`${agent} has no list of addresses`);
    for (const known of listed) {
      if (agents.has(known) && agents.get(known) !== agent) doubtful.add(known);
      agents.set(known, agent);
    }
  }
  for (const address of doubtful) agents.delete(address);
  const unregistered = [...strangers].map(([pod, all]) => ({ pod, addresses: all }));
  return { agents, pods, unregistered };
}

function podName({ name, namespace }: Partial<Record<string, unknown>>): string | undefined {
  if (typeof name !== "string" || name === "") return undefined;
  const isIn = typeof namespace === "string" && namespace !== "";
  return recordable(isIn ? `${namespace}/${name}` : name, POD_NAME_CHARS_MAX);
}

/** Of a namespace, a slash and a pod's name, as Kubernetes bounds them. */
const POD_NAME_CHARS_MAX = 63 + 1 + 253;

/** As sockets name the address of their peer. */
function canonical(address: string): string {
  const family = isIP(address);
  if (family === 0) throw new Error(`${address} is no address`);
  if (family === 4) return address;
  return URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1) ?? address;
}
