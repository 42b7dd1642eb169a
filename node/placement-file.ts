import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import type { Clock } from "../ports/clock.ts";
import { parseAgentId } from "../proto/ids.ts";

/** Which agent has which address on this machine. */
export type Placement = {
  /** `undefined`: nobody, or more than one. */
  agentAt(address: string): string | undefined;
};

export const NO_PLACEMENT: Placement = { agentAt: () => undefined };

const CHECK_NS = 1_000_000_000n;

/**
 * Reads who is where from a file: a JSON array of `{agent: "team/agent", addresses: [...]}`; other
 * members are not read. Looked at once a second, and read again when it has changed. While it cannot
 * be read nobody is anywhere, so captured connections are refused.
 */
export function openPlacementFile(of: {
  readonly path: string;
  readonly clock: Clock;
  readonly onProblem: (why: string) => void;
}): Placement {
  const { path, clock, onProblem } = of;
  let agents: ReadonlyMap<string, string> = new Map();
  let stamp = "";
  let checkAtNs = clock.monoNs();
  const look = (): void => {
    try {
      const { mtimeMs, size, ino } = statSync(path);
      const now = `${mtimeMs}:${size}:${ino}`;
      if (now === stamp) return;
      stamp = now;
      agents = parsePlacement(readFileSync(path, "utf8"));
    } catch (error) {
      if (agents.size > 0 || stamp !== "bad") onProblem(String(error));
      agents = new Map();
      stamp = "bad";
    }
  };
  return {
    agentAt: (address) => {
      if (clock.monoNs() >= checkAtNs) {
        checkAtNs = clock.monoNs() + CHECK_NS;
        look();
      }
      return agents.get(address);
    },
  };
}

/** @throws Error The text is not of that form. */
export function parsePlacement(text: string): ReadonlyMap<string, string> {
  const rows: unknown = JSON.parse(text);
  if (!Array.isArray(rows)) throw new Error("not a list");
  const agents = new Map<string, string>();
  const doubtful = new Set<string>();
  for (const { agent, addresses } of rows as Partial<Record<string, unknown>>[]) {
    // A pod that nobody has registered is listed without an agent.
    if (agent === undefined) continue;
    if (typeof agent !== "string" || parseAgentId(agent) === undefined) {
      throw new Error("an agent is team/agent");
    }
    if (!Array.isArray(addresses)) throw new Error(`${agent} has no list of addresses`);
    for (const address of addresses) {
      const known = canonical(String(address));
      if (agents.has(known) && agents.get(known) !== agent) doubtful.add(known);
      agents.set(known, agent);
    }
  }
  for (const address of doubtful) agents.delete(address);
  return agents;
}

/** As sockets name the address of their peer. */
function canonical(address: string): string {
  const family = isIP(address);
  if (family === 0) throw new Error(`${address} is no address`);
  if (family === 4) return address;
  return URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1) ?? address;
}
