import {
  type Authority,
  type DimensionName,
  isStrictlyLess,
  meet,
  widerDimension,
} from "./authority.ts";
import { type DIMENSIONS, readGrant, writeAuthority } from "./authority-json.ts";
import { claims, readCount, readEntries, readPassing } from "./closed-json.ts";
import { orRefusal } from "./contract-refusal.ts";
import { publicKeyOf } from "./holder-key.ts";
import { areOfOneTeam } from "./one-team.ts";

/** Life of a delegated contract that says nothing else, seconds. */
export const CHILD_LIFE_S_DEFAULT = 15 * 60;

/** What a delegator has. */
export type Delegator = {
  readonly agent: string;
  readonly effective: Authority;
  readonly depthLeft: number;
};

/** What is to be delegated: strictly less than the delegator has. */
export type Delegation = {
  /** `team/agent` of the new holder. */
  readonly agent: string;
  /** The node that is to serve it, by whose key it is held unless `holder` is said; empty: this one. */
  readonly node: string;
  /** Base64url of the public key that its agent holds by itself; empty: a node holds it. */
  readonly holder: string;
  /** The one address that its key counts from; empty for any. */
  readonly source: string;
  readonly authority: Authority;
};

export type NotDelegated = {
  readonly refused:
    | "malformed_request"
    | "delegation_widens"
    | "delegation_not_narrower"
    | "delegation_too_deep"
    | "delegation_holder";
  readonly detail: string;
};

const MEMBERS = ["agent", "grant", "holder", "node", "source", "ttl_s"];
/** What moves has to be said: whoever left it out would give everything away. */
const MOVED = ["budget", "rate"] as const;
const NAMES: { readonly [D in DimensionName]: (typeof DIMENSIONS)[number] } = {
  budget: "budget",
  models: "models",
  tools: "tools",
  dataClass: "class",
  validity: "time",
  rate: "rate",
  geography: "geo",
};

/**
 * Reads a wish to delegate, and holds it against what the delegator has.
 *
 * `grant` names dimensions as a contract does; one that it leaves out is the delegator's own, but for
 * budget and rate, which are moved and not copied. A wish that is too wide is refused whole, with
 * what would have fitted: nothing is ever delegated that was not asked for.
 */
export function planDelegation(
  wish: unknown,
  delegator: Delegator,
  nowS: number,
): Delegation | NotDelegated {
  const read = orRefusal(() => readWish(wish, delegator, nowS));
  if ("refused" in read) return { refused: "malformed_request", detail: read.detail };
  if (delegator.depthLeft < 1) {
    return { refused: "delegation_too_deep", detail: "del_max_depth is reached" };
  }
  if (!areOfOneTeam(read.agent, delegator.agent)) {
    return { refused: "delegation_holder", detail: `${read.agent} is of another team` };
  }
  const wider = widerDimension(read.authority, delegator.effective);
  if (wider !== undefined) return tooWide(wider, read.authority, delegator.effective);
  if (!isStrictlyLess(read.authority, delegator.effective)) {
    return { refused: "delegation_not_narrower", detail: "nothing is left out" };
  }
  return read;
}

function readWish(wish: unknown, { agent, effective }: Delegator, nowS: number): Delegation {
  const members = new Map(readEntries(wish, "the request"));
  const extra = [...members.keys()].find((name) => !MEMBERS.includes(name));
  if (extra !== undefined) throw claims(`${extra.slice(0, 64)} is not known`);
  const text = (name: string, fallback: string) =>
    members.has(name) ? readPassing(members.get(name), isShort, name) : fallback;
  const lifeS = members.has("ttl_s") ? readCount(members.get("ttl_s"), "ttl_s") : undefined;
  const { notBefore, expires } = effective.validity;
  const dates = {
    notBefore: Math.max(notBefore, nowS),
    expires: lifeS === undefined ? Math.min(expires, nowS + CHILD_LIFE_S_DEFAULT) : nowS + lifeS,
  };
  if (dates.expires <= dates.notBefore) throw claims("ttl_s leaves no time");
  const holder = members.has("holder") ? readPassing(members.get("holder"), mayHold, "holder") : "";
  return {
    holder,
    agent: text("agent", agent),
    node: text("node", ""),
    source: text("source", ""),
    authority: readGrant(completed(members.get("grant"), effective), dates),
  };
}

function completed(grant: unknown, effective: Authority): Record<string, unknown> {
  const asked = Object.fromEntries(readEntries(grant, "grant"));
  const missing = MOVED.find((name) => asked[name] === undefined);
  if (missing !== undefined) throw claims(`grant.${missing} is missing: it is moved, not copied`);
  const { type: _type, ...own } = writeAuthority(effective);
  return { ...own, ...asked };
}

function tooWide(name: DimensionName, asked: Authority, has: Authority): NotDelegated {
  const spelt = (of: Authority) => {
    const { notBefore, expires } = of.validity;
    const written = writeAuthority(of)[NAMES[name]];
    return JSON.stringify(
      name === "validity" ? { nbf: notBefore, exp: expires, time: written } : written,
    );
  };
  const fits = spelt(meet(asked, has));
  const detail = `${NAMES[name]}: asked ${spelt(asked)}, ${fits} would have fitted`;
  return { refused: "delegation_widens", detail };
}

function isShort(text: string): boolean {
  return /^[a-z0-9:./-]{1,129}$/.test(text);
}

function mayHold(x: string): boolean {
  return publicKeyOf({ crv: "Ed25519", kty: "OKP", x }) !== undefined;
}
