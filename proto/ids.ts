/** The names of the mesh and their one spelling each: agents, scopes, accounts. */

const NAME = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const NAME_PATTERN = new RegExp(`^${NAME}$`);
const AGENT_PATTERN = new RegExp(`^(${NAME})/(${NAME})$`);
const CONTRACT_ID_PATTERN = /^[A-Za-z0-9_-]{43}$/;
/** SHA-256 of a certificate. */
const FINGERPRINT_PATTERN = /^[0-9a-f]{64}$/;
const KEY_ID_PATTERN = /^[a-z0-9]{8,32}$/;
/** A UUID: each order has a scope of its own. */
const ORDER_ID_PATTERN = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MODEL_PATTERN = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** A team's or an agent's own name: one DNS label, so it also is a NATS token and a SPIFFE segment. */
export function isName(text: string): boolean {
  return NAME_PATTERN.test(text);
}

/**
 * The name that a machine has as a node of the mesh: its own, with hyphens for dots, because a node's name is one NATS
 * token. `undefined` for what makes no name.
 */
export function nodeNameOf(machine: string): string | undefined {
  const name = machine.replaceAll(".", "-");
  return isName(name) ? name : undefined;
}

/** An agent's id in its two parts. */
export type AgentId = { readonly team: string; readonly agent: string };

/** Reads `team/agent`; `undefined` when it is not one. */
export function parseAgentId(text: string): AgentId | undefined {
  const match = AGENT_PATTERN.exec(text);
  return match ? { team: match[1] as string, agent: match[2] as string } : undefined;
}

/** The agent's name in the SPIFFE spelling that the audit log uses. */
export function spiffeId(mesh: string, agentId: string): string {
  return `spiffe://${mesh}/agent/${agentId}`;
}

/** What a record of the mesh speaks of. */
export type Scope =
  | { readonly kind: "global" }
  | { readonly kind: "team"; readonly team: string }
  | { readonly kind: "agent"; readonly team: string; readonly agent: string }
  | { readonly kind: "contract"; readonly id: string }
  | { readonly kind: "certificate"; readonly id: string }
  | { readonly kind: "policy" }
  | { readonly kind: "trust" }
  | { readonly kind: "budget"; readonly account: string }
  | { readonly kind: "key"; readonly id: string }
  | { readonly kind: "node"; readonly id: string }
  | { readonly kind: "redaction"; readonly id: string }
  | { readonly kind: "distrust"; readonly provider: string; readonly model: string };

/** Reads a scope; `undefined` when it is malformed. Doubt is a refusal: there is no second spelling. */
export function parseScope(text: string): Scope | undefined {
  if (text === "global" || text === "policy" || text === "trust") return { kind: text };
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const rest = text.slice(slash + 1);
  switch (text.slice(0, slash)) {
    case "team":
      return isName(rest) ? { kind: "team", team: rest } : undefined;
    case "agent": {
      const id = parseAgentId(rest);
      return id ? { kind: "agent", ...id } : undefined;
    }
    case "contract":
      return CONTRACT_ID_PATTERN.test(rest) ? { kind: "contract", id: rest } : undefined;
    case "certificate":
      return FINGERPRINT_PATTERN.test(rest) ? { kind: "certificate", id: rest } : undefined;
    case "budget":
      return isAccount(rest) ? { kind: "budget", account: rest } : undefined;
    case "key":
      return KEY_ID_PATTERN.test(rest) ? { kind: "key", id: rest } : undefined;
    case "node":
      return isName(rest) ? { kind: "node", id: rest } : undefined;
    case "redaction":
      return ORDER_ID_PATTERN.test(rest) ? { kind: "redaction", id: rest } : undefined;
    case "distrust":
      return parseDistrust(rest);
    default:
      return undefined;
  }
}

function parseDistrust(rest: string): Scope | undefined {
  const slash = rest.indexOf("/");
  const provider = rest.slice(0, slash);
  const model = rest.slice(slash + 1);
  if (slash < 0 || !MODEL_PATTERN.test(provider) || !MODEL_PATTERN.test(model)) return undefined;
  return { kind: "distrust", provider, model };
}

/** True for `team/<t>`, `agent/<t>/<a>`, `contract/<id>` and `overrun`. */
export function isAccount(text: string): boolean {
  if (text === "overrun") return true;
  const scope = parseScope(text);
  return scope?.kind === "team" || scope?.kind === "agent" || scope?.kind === "contract";
}

/** Scopes that can be killed and revived by an operator. Contracts and certificates are revoked: killed, once. */
export function isKillScope(scope: Scope): boolean {
  return scope.kind === "global" || scope.kind === "team" || scope.kind === "agent";
}

/** What is killed once and never revived. */
export function isRevocable(scope: Scope): boolean {
  return scope.kind === "contract" || scope.kind === "certificate";
}

/** A kill scope covers an agent when it names the agent, its team or everybody. */
export function scopesOfAgent(id: AgentId): readonly [string, string, string] {
  return ["global", `team/${id.team}`, `agent/${id.team}/${id.agent}`];
}
