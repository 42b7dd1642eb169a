import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, test } from "vitest";
import { verifyEd25519 } from "../../../adapters/ed25519.ts";
import { type Authority, isStrictlyLess, meet } from "../../../authority/authority.ts";
import { KnownLinks } from "../../../authority/known-links.ts";
import { type Bucket, RATE_METRICS } from "../../../authority/rate.ts";
import type { Verb } from "../../../authority/tools.ts";
import { validity } from "../../../authority/validity.ts";
import { verifyChain } from "../../../authority/verify-chain.ts";
import {
  type ContractAccount,
  contractAccountName,
} from "../../../coordinator/contract-account.ts";
import { Contracts, type ContractsOptions } from "../../../coordinator/contracts.ts";
import type { LedgerAmounts } from "../../../coordinator/ledger-window.ts";
import { PLACED_EVERYWHERE } from "../../../coordinator/placement.ts";
import { decide } from "../../../node/decision/decide.ts";
import type { ContractFacts } from "../../../node/decision/facts.ts";
import { facts, grant, model, policy, provider, requestFacts } from "../../support/builders.ts";
import {
  AUTHORITY,
  type Changes,
  chainEnv,
  chainText,
  child,
  type Forged,
  HOLDERS,
  MESH,
  NOW_S,
  operatorEntry,
  root,
  testKey,
} from "../../support/contract-forge.ts";
import { proofCount } from "../../support/proof.ts";
import { amountsOf, LedgerWorld } from "../coordinator/ledger-world.ts";
import { anyAuthority, anyName, anyVerb, CODES } from "./arbitrary.ts";

// The whole guarantee in one place. A tree of delegations is grown by holders of whom half lie: they
// ask for more than they have, sign with another key, hang their link below somebody else's, or lie about
// depth, dates and whom they speak for. Its chains go through the product: the coordinator verifies
// them and opens their accounts, the chain of decisions judges requests under them, the ledger lends.
//
// G1. No request is allowed that one of the links, asked by itself, would refuse. The links are asked here by a
//     few lines that share no code with the product and know nothing of meets and normal forms.
// G2. What is lent below a contract is at most its budget, in each unit, whoever borrows on whichever node.
// G3. The rates of a contract's requests and of all below it add up to at most its own.
// G4. Each link that is taken grants strictly less than the one above, is where it says it is and stays in its
//     team.

const LEVELS = ["c4", "x", "y", "z"];
const SCHEME = LEVELS.join(".");
const LABELS = ["pci", "phi", "pii"];
const HOUR_S = 3_600;
const DATES = { notBefore: NOW_S - 60, expires: NOW_S + HOUR_S };
/** Amounts are drawn from 0 to 4, or as much as there can be. */
const UNIT = 250;

const LIES = [
  "none",
  "none",
  "none",
  "greed",
  "thief",
  "splice",
  "depth",
  "subject",
  "team",
  "early",
  "elsewhere",
] as const;

const grantable = anyAuthority.map((any): Authority => {
  const { hours } = any.validity;
  const dated = validity.normal({ ...DATES, hours });
  const { level, compartments } = any.dataClass;
  const scaled = (amount: number) => (amount > 4 ? amount : amount * UNIT);
  const { calls, tok, usd_u } = any.budget;
  return {
    ...any,
    budget: { calls: scaled(calls), tok: scaled(tok), usd_u: scaled(usd_u) },
    validity: dated.expires === 0 ? { ...DATES, hours: [] } : dated,
    dataClass: {
      scheme: SCHEME,
      level: Math.max(0, level),
      compartments: level < 0 ? [] : compartments,
    },
  };
});

/** Grants everything but in up to two dimensions, or hardly a request would pass a whole chain. */
const WIDE: Authority = {
  ...AUTHORITY,
  budget: { calls: 2_000, tok: 2_000, usd_u: 2_000 },
  models: ["a", "a/*", "ab", "ab/*", "b", "b/*"],
  tools: new Map(
    ["a", "a/*", "ab", "ab/*", "b", "b/*"].map((one) => [
      one,
      ["call", "read", "exec", "admin", "write"].sort() as Verb[],
    ]),
  ),
  dataClass: { scheme: SCHEME, level: 3, compartments: LABELS },
  validity: { ...DATES, hours: [] },
  rate: { req: bucket(6_000), tok: bucket(6_000), usd_u: bucket(6_000) },
  geography: { egr: ["DE", "US"], proc: ["DE", "US"], src: ["DE", "US"] },
};

function bucket(burst: number): Bucket {
  return { burst, amount: burst, seconds: 1 };
}

const DIMENSIONS = ["models", "tools", "dataClass", "validity", "geography"] as const;
const anyWish = fc
  .tuple(
    grantable,
    fc.subarray([...DIMENSIONS], { maxLength: 2 }),
    fc.integer({ min: 1, max: 9 }),
    fc.nat({ max: 9 }),
  )
  .map(([of, bounded, money, speed]): Authority => {
    const part = (times: number) => Math.floor((WIDE.budget.calls * times) / 10);
    const bounds = Object.fromEntries(bounded.map((name) => [name, of[name]]));
    const budget = { calls: part(money), tok: part(money), usd_u: part(money) };
    const one = speed === 9 ? of.rate.req : bucket(speed * 300);
    return { ...WIDE, ...bounds, budget, rate: { req: one, tok: one, usd_u: one } };
  });

type Link = {
  readonly parent: number;
  readonly wanted: Authority;
  readonly lie: (typeof LIES)[number];
};
type Ask = {
  readonly of: number;
  readonly model: string;
  readonly tool: string;
  readonly verb: Verb;
  readonly atS: number;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly level: number;
  readonly labels: readonly string[];
  readonly cost: number;
};

const place = fc.constantFrom(...CODES, ...CODES, undefined);
const anyAsk: fc.Arbitrary<Ask> = fc.record({
  of: fc.nat({ max: 9 }),
  model: anyName,
  tool: anyName,
  verb: anyVerb,
  atS: fc.integer({ min: -90, max: HOUR_S + 30 }),
  from: place,
  to: place,
  level: fc.integer({ min: 0, max: 3 }),
  labels: fc.subarray(LABELS),
  cost: fc.integer({ min: 1, max: 900 }),
});
const anyTree = fc.record({
  links: fc.array(
    fc.record({ parent: fc.nat({ max: 7 }), wanted: anyWish, lie: fc.constantFrom(...LIES) }),
    { minLength: 2, maxLength: 8 },
  ),
  asks: fc.array(anyAsk, { minLength: 8, maxLength: 16 }),
});

// --- The oracle: one link, asked by itself -------------------------------------------------------

function linkLets({ authority: of }: { readonly authority: Authority }, ask: Ask): boolean {
  const names = (pattern: string, name: string) =>
    pattern === name || (pattern.endsWith("/*") && name.startsWith(pattern.slice(0, -1)));
  const holds = (codes: readonly string[], code: string | undefined) =>
    code !== undefined && codes.some((one) => code === one || code.startsWith(`${one}-`));
  const { dataClass, geography, budget, rate } = of;
  const { notBefore, expires, hours } = of.validity;
  const atS = NOW_S + ask.atS;
  return (
    of.models.some((pattern) => names(pattern, ask.model)) &&
    [...of.tools].some(
      ([pattern, verbs]) => names(pattern, ask.tool) && verbs.includes(ask.verb),
    ) &&
    dataClass.scheme === SCHEME &&
    ask.level <= dataClass.level &&
    ask.labels.every((label) => dataClass.compartments.includes(label)) &&
    notBefore <= atS &&
    atS < expires &&
    hours.every(({ zone, minutes }) => {
      const minute = minuteShown(zone, atS * 1_000);
      return minutes.some(([from, until]) => from <= minute && minute < until);
    }) &&
    holds(geography.src, ask.from) &&
    holds(geography.proc, ask.to) &&
    holds(geography.egr, ask.to) &&
    Math.min(budget.calls, budget.tok, budget.usd_u) >= ask.cost &&
    rate.req.burst >= 1 &&
    rate.tok.burst >= ask.cost &&
    rate.usd_u.burst >= ask.cost
  );
}

const FORMATS = new Map<string, Intl.DateTimeFormat>();

function minuteShown(timeZone: string, nowMs: number): number {
  const format =
    FORMATS.get(timeZone) ??
    new Intl.DateTimeFormat("en-GB", {
      timeZone,
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
    });
  FORMATS.set(timeZone, format);
  const part = Object.fromEntries(
    format.formatToParts(nowMs).map(({ type, value }) => [type, value]),
  );
  const day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].indexOf(part.weekday ?? "");
  return day * 1_440 + Number(part.hour) * 60 + Number(part.minute);
}

// --- The product under a tree --------------------------------------------------------------------

const KEYS = [...HOLDERS];
const VERIFY = verifyEd25519;
const nodeOf = (of: Forged) => `n${KEYS.indexOf(of.key as (typeof KEYS)[number])}`;
/** What each kind of lie was refused as: that a lie was tried is to be seen. */
const refusals = new Map<string, number>();
const counts = { allowed: 0, refused: 0, taken: 0, short: 0 };

class Tree {
  readonly world = new LedgerWorld(
    ["global", "team/research", "agent/research/planner"].map((account, at, all) => ({
      account,
      parent: all[at - 1],
      limits: [],
    })),
  );
  readonly paths: (readonly Forged[])[] = [];
  readonly lent: { readonly of: string; readonly amount: LedgerAmounts }[] = [];
  readonly #contracts: Contracts;
  readonly #effective = new Map<string, Authority>();
  readonly #links = new KnownLinks();

  constructor() {
    this.world.nowMs = NOW_S * 1_000;
    const { contracts } = this.world.ledger;
    const keyOf = (node: string) => KEYS[Number(node.slice(1))];
    const replica = {
      state: { records: () => [], killed: () => false },
      trust: {
        lookup: operatorEntry,
        nodeKey: keyOf,
        nodeIds: () => KEYS.map((_, at) => `n${at}`),
      },
      onRecord: () => undefined,
    } as unknown as ContractsOptions["replica"];
    const ledger = {
      contracts: async (use) => use(contracts),
      onLed: () => undefined,
    } as ContractsOptions["ledger"];
    const clock = { nowMs: () => NOW_S * 1_000 } as ContractsOptions["clock"];
    this.#contracts = new Contracts({
      mesh: MESH,
      clock,
      replica,
      verify: VERIFY,
      ledger,
      placement: PLACED_EVERYWHERE,
    });
  }

  async plant(): Promise<void> {
    const top = [root({ authority: WIDE })];
    const opened = await this.#contracts.issue(chainText(...top), { node: "" });
    if ("refused" in opened) throw new Error(opened.refused);
    this.paths.push(top);
  }

  /** One delegation, honest or not; it is part of the tree if the coordinator takes it. */
  async grow(link: Link): Promise<void> {
    const above = this.paths[link.parent % this.paths.length] as readonly Forged[];
    const path = [...above, delegated(above, this.paths, link)];
    // The node that serves the delegator asks, or one that has got hold of the chain.
    const asker = link.lie === "elsewhere" ? "n9" : nodeOf(above.at(-1) as Forged);
    const opened = await this.#contracts.carve(chainText(...path), { node: "", asker });
    if ("refused" in opened) {
      const name = `${link.lie} ${opened.refused}`;
      refusals.set(name, (refusals.get(name) ?? 0) + 1);
      return;
    }
    counts.taken += 1;
    this.paths.push(path);
  }

  /** A request under one of the contracts, on its node: judged as a node does, then borrowed for. */
  ask(ask: Ask): boolean {
    const path = this.paths[ask.of % this.paths.length] as readonly Forged[];
    const leaf = path.at(-1) as Forged;
    const effective = this.#effectiveOf(path);
    const account = this.world.ledger.contracts.get(leaf.id) as ContractAccount;
    const rate = this.world.ledger.contracts.ownRate(account);
    const { refusal } = decide(factsOf(ask, { ids: [leaf.id], effective, rate, depthLeft: 0 }));
    if (refusal !== undefined) return false;
    const need = amountsOf({ usd_micros: ask.cost, tokens: ask.cost, calls: 1 });
    const lease = this.world.lease(contractAccountName(leaf.id), need, { node: nodeOf(leaf) });
    if ("refused" in lease) {
      counts.short += 1;
      return false;
    }
    this.lent.push({ of: leaf.id, amount: lease.amount });
    return true;
  }

  /** As a node finds it by verifying the chain; once, since many requests run under one. */
  #effectiveOf(path: readonly Forged[]): Authority {
    const id = path.at(-1)?.id ?? "";
    const known = this.#effective.get(id);
    if (known !== undefined) return known;
    const verified = verifyChain(
      chainText(...path),
      chainEnv({ verify: VERIFY, known: this.#links }),
    );
    if ("refused" in verified) throw new Error(verified.refused);
    this.#effective.set(id, verified.effective);
    return verified.effective;
  }

  /** G2, G3: of every contract and all that hangs below it. */
  mustHold(): void {
    for (const top of this.paths) {
      const { id, claims } = top.at(-1) as Forged;
      const below = this.paths.filter((path) => path.some((link) => link.id === id));
      const ids = new Set(below.map((path) => path.at(-1)?.id));
      const lent = this.lent.filter(({ of }) => ids.has(of));
      const { budget } = claims.authority;
      const sum = (unit: keyof LedgerAmounts) =>
        lent.reduce((all, { amount }) => all + amount[unit], 0);
      assert(sum("usd_micros") <= budget.usd_u, `G2: ${sum("usd_micros")} usd_u below ${id}`);
      assert(sum("tokens") <= budget.tok, `G2: ${sum("tokens")} tok below ${id}`);
      assert(sum("calls") <= budget.calls, `G2: ${sum("calls")} calls below ${id}`);
      this.#ratesMustHold(claims.authority, [...ids] as string[]);
    }
  }

  #ratesMustHold({ rate }: Authority, ids: readonly string[]): void {
    const { contracts } = this.world.ledger;
    const own = ids.map((id) => contracts.ownRate(contracts.get(id) as ContractAccount));
    for (const metric of RATE_METRICS) {
      const buckets = own.map((each) => each[metric]).filter(({ burst }) => burst > 0);
      const bursts = buckets.reduce((all, { burst }) => all + burst, 0);
      assert(bursts <= rate[metric].burst, `G3: bursts of ${metric} are ${bursts}`);
      const refill = buckets.reduce((all, { amount, seconds }) => all + amount / seconds, 0);
      const { amount, seconds } = rate[metric];
      assert(refill <= (amount / seconds) * (1 + 1e-9), `G3: ${metric} refills by ${refill}/s`);
    }
  }
}

/** What the holder of the path's last link signs; and how it lies. */
function delegated(
  above: readonly Forged[],
  paths: readonly (readonly Forged[])[],
  { wanted, lie }: Link,
): Forged {
  const parent = above.at(-1) as Forged;
  const honest = meet(wanted, parent.claims.authority);
  const isSpellable = honest.validity.expires > 0;
  const authority = lie === "greed" || !isSpellable ? wanted : honest;
  const changes: Changes = { authority, agent: "research/planner" };
  switch (lie) {
    case "thief":
      return child(parent, { ...changes, signedBy: testKey(66) });
    case "splice":
      return child(
        (paths.find((path) => path.at(-1) !== parent) ?? above).at(-1) as Forged,
        changes,
      );
    case "depth":
      return child(parent, { ...changes, depth: parent.claims.depth });
    case "subject":
      return child(parent, { ...changes, subject: "user:other" });
    case "team":
      return child(parent, { ...changes, agent: "billing/planner" });
    case "early":
      return child(parent, { ...changes, issuedAt: parent.claims.issuedAt - 1 });
    default:
      return child(parent, changes);
  }
}

/** The request as a node judges it. Policy grants all of it, so that the contract alone decides. */
function factsOf(ask: Ask, contract: ContractFacts) {
  const cost = BigInt(ask.cost);
  const labelled = ask.labels.map((label) => ({
    id: label,
    pattern: label,
    detector: undefined,
    direction: "both" as const,
    action: "label" as const,
    severity: "low" as const,
    label,
  }));
  return facts({
    nowMs: (NOW_S + ask.atS) * 1_000,
    identity: { agentId: "research/worker-1", keyId: "k1234567", contractId: contract.ids.at(-1) },
    contract,
    nodeRegion: ask.from,
    model: model({ id: ask.model, provider: { ...provider({ clearance: 3 }), region: ask.to } }),
    request: requestFacts({ tools: [{ name: ask.tool, verb: ask.verb }] }),
    grant: EVERYTHING,
    policy: policy({
      content: labelled,
      classification: {
        levels: LEVELS,
        labels: new Map(LABELS.map((label) => [label, 0])),
        defaultLevel: ask.level,
      },
    }),
    scan: {
      hits: ask.labels.map((ruleId) => ({ ruleId, end: 1 })),
      scannedBytes: 1,
      complete: true,
    },
    cost: {
      worst: { usdMicros: cost, tokens: cost, calls: 1n },
      overrunMicros: 0n,
      outputTokensSet: undefined,
    },
  });
}

const EVERYTHING = grant({
  clearance: 3,
  models: ["a", "a/*", "ab", "ab/*", "b", "b/*"],
  tools: new Map(WIDE.tools),
});

const { count, seed } = proofCount("delegation trees", { small: 60, full: 100_000 });

test("G1 to G4: no tree, however its holders lie, lets through or spends more than its links", async () => {
  await fc.assert(
    fc.asyncProperty(anyTree, async ({ links, asks }) => {
      const tree = new Tree();
      await tree.plant();
      for (const link of links) await tree.grow(link);
      for (const path of tree.paths) mustNarrow(path);
      for (const ask of asks) {
        const path = tree.paths[ask.of % tree.paths.length] as readonly Forged[];
        const isAllowed = tree.ask(ask);
        counts[isAllowed ? "allowed" : "refused"] += 1;
        if (!isAllowed) continue;
        const no = path.find(({ claims }) => !linkLets(claims, ask));
        assert(no === undefined, `G1: link ${no?.claims.depth} refuses ${JSON.stringify(ask)}`);
      }
      tree.mustHold();
    }),
    { numRuns: count, seed },
  );
  // What never happened would show nothing.
  expect(Math.min(...Object.values(counts))).toBeGreaterThan(0);
  const tried = [...refusals.keys()].map((name) => name.split(" ")[0]);
  expect(new Set(tried)).toEqual(new Set(LIES));
  expect([...refusals.keys()]).toContain("elsewhere contract_elsewhere");
}, 1_800_000);

/** G4. */
function mustNarrow(path: readonly Forged[]): void {
  path.forEach(({ claims }, at) => {
    const parent = path[at - 1];
    assert(claims.depth === at && claims.parent === (parent?.id ?? ""), "G4: not where it says");
    if (parent === undefined) return;
    assert(isStrictlyLess(claims.authority, parent.claims.authority), `G4: link ${at} is no less`);
    assert(claims.subject === parent.claims.subject, "G4: on another's behalf");
    assert(claims.agent.startsWith("research/"), "G4: of another team");
  });
}
