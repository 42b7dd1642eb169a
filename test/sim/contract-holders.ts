import type { ContractOffice, Grant, HeldContract, OwnContract } from "./contract-office.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Draw } from "./draw.ts";
import { SimAgent } from "./sim-agent.ts";
import type { SimNode } from "./sim-node.ts";
import { type Budgets, PACED_TEAM } from "./sim-policy.ts";
import type { Surroundings } from "./surroundings.ts";

const MICROS = 1_000_000;
const ISSUE_MS = { min: 200, max: 5_000 };
const DELEGATE_MS = { min: 200, max: 3_500 };
const REVOKE_MS = { min: 3_000, max: 20_000 };
const LIVES_MS = { short: { min: 8_000, max: 40_000 }, long: { min: 3_600_000, max: 9_000_000 } };
const ROOTS_MAX = 4;
/** Issued, and delegated from once, before anything breaks. */
const ROOTS_AT_FIRST = 2;
const HELD_MAX = 14;
/** Of them, those that ask faster than their rate. */
const PACED_MAX = 6;
const PACED_USD = 20;
/** Requests in ten seconds. Of a rate that is said by less than that, a small part costs as much as a large one. */
const PACES = [11, 13, 17, 19, 23, 29, 31, 37] as const;
/** Contracts that are delegated from one in the same moment: together more than it has, at times. */
const AT_ONCE = [1, 1, 2, 3] as const;
/** Of what a contract was granted. All but a last bit is a share like any other. */
const SHARES = [0.1, 0.3, 0.5, 0.8, 0.999] as const;
const RATE_SHARES = [0.05, 0.2, 0.5] as const;

/** A contract's agent, and where it asks. */
export type Holder = { readonly contract: HeldContract; readonly agent: SimAgent };

/**
 * Agents that work under contracts, and pass on as much of them as they can: to themselves and to
 * others of their team, on their node and on others, to several at once. They spend on all the same.
 */
export class ContractHolders {
  readonly #world: Surroundings;
  readonly #nodes: readonly SimNode[];
  readonly #office: ContractOffice;
  readonly #plane: ControlPlane;
  readonly #budgets: Budgets;
  readonly #draw: Draw;
  readonly #holders: Holder[] = [];
  readonly #owned: OwnContract[] = [];
  #roots = 0;
  #paced = 0;
  #isOver = true;

  constructor(
    world: Surroundings,
    of: {
      readonly nodes: readonly SimNode[];
      readonly office: ContractOffice;
      readonly plane: ControlPlane;
      readonly budgets: Budgets;
      readonly draw: Draw;
    },
  ) {
    this.#world = world;
    this.#nodes = of.nodes;
    this.#office = of.office;
    this.#plane = of.plane;
    this.#budgets = of.budgets;
    this.#draw = of.draw;
  }

  get all(): readonly Holder[] {
    return this.#holders;
  }

  /**
   * Has a few ask faster than a root's rate, under it and under parts of it that move from one to another meanwhile.
   *
   * @param first Waits for a call.
   * @returns Whether anybody does, in this world.
   */
  async hurry(first: (call: Promise<void>) => Promise<void>): Promise<boolean> {
    if (!this.#budgets.has(PACED_TEAM)) return false;
    this.#isOver = false;
    await first(this.#issuePaced());
    for (const holder of [...this.#holders]) await first(this.#delegateOne(holder));
    return this.#holders.length > 0;
  }

  /** @param first Waits for a call; what is done so is done before anything breaks. */
  async begin(first: (call: Promise<void>) => Promise<void>): Promise<void> {
    this.#isOver = false;
    for (let no = 0; no < ROOTS_AT_FIRST; no++) await first(this.#issue());
    for (const holder of [...this.#holders]) await first(this.#delegate(holder));
    await first(this.#delegateOwn());
    this.#often(ISSUE_MS, () => this.#issue());
    this.#often(DELEGATE_MS, () => this.#delegateOwn());
    this.#often(REVOKE_MS, () => this.#revoke());
  }

  end(): void {
    this.#isOver = true;
    for (const { agent } of this.#holders) agent.stop();
  }

  #often(span: { readonly min: number; readonly max: number }, deed: () => Promise<void>): void {
    this.#world.time.after(this.#draw.between(span.min, span.max), () => {
      if (this.#isOver) return;
      void deed().catch((error: unknown) => this.#world.tell({ t: "bug", where: "holder", error }));
      this.#often(span, deed);
    });
  }

  async #issue(): Promise<void> {
    const draw = this.#draw;
    if (this.#roots >= ROOTS_MAX) return;
    this.#roots += 1;
    const [team, { agents }] = draw.pick([...this.#budgets]);
    const [name, { usdMicros }] = draw.pick([...agents]);
    const usd_u = Math.round(usdMicros * draw.between(0.2, 1.1));
    const wish = {
      agentId: `${team}/${name}`,
      node: draw.pick(this.#nodes),
      grant: this.#rootGrant(usd_u),
      endMs: this.#endMs(),
    };
    if (draw.chance(0.3)) {
      const own = await this.#office.issueOwn(wish);
      if (own !== undefined) this.#owned.push(own);
    } else this.#seat(await this.#office.issue(wish));
  }

  async #issuePaced(): Promise<void> {
    const draw = this.#draw;
    const ample = { b: 1_000_000_000, n: 1_000_000_000, w: 1 };
    const grant = {
      budget: { usd_u: PACED_USD * MICROS, tok: 50_000_000, calls: 100_000 },
      rate: {
        req: { b: 6 + draw.below(10), n: draw.pick(PACES), w: 10 },
        tok: ample,
        usd_u: ample,
      },
    };
    const of = { agentId: `${PACED_TEAM}/a1`, node: draw.pick(this.#nodes), grant };
    this.#seat(await this.#office.issue({ ...of, endMs: this.#endMs() }));
  }

  #rootGrant(usd_u: number): Grant {
    const draw = this.#draw;
    const perSecond = draw.chance(0.4) ? 1 + draw.below(4) : 20 + draw.below(20);
    const bucket = (times: number) => ({ b: 3 * perSecond * times, n: perSecond * times, w: 1 });
    const calls = draw.chance(0.3) ? 5 + draw.below(60) : 100_000;
    return {
      budget: { usd_u, tok: 50_000_000, calls },
      rate: { req: bucket(1), tok: bucket(30_000), usd_u: bucket(MICROS) },
    };
  }

  /** @param latestMs When what it is delegated from ends. */
  #endMs(latestMs = Number.POSITIVE_INFINITY): number {
    const { short, long } = LIVES_MS;
    const { min, max } = this.#draw.chance(0.3) ? short : long;
    return Math.min(latestMs, this.#plane.nowMs() + this.#draw.between(min, max));
  }

  #seat(contract: HeldContract | undefined): void {
    if (contract === undefined || this.#isOver) return;
    const { agentId, key, node } = contract;
    const isQuick = agentId.startsWith(`${PACED_TEAM}/`) && this.#paced < PACED_MAX;
    if (isQuick) this.#paced += 1;
    const of = { agentId, key, nodes: [node], draw: this.#draw.fork(), isQuick };
    const agent = new SimAgent(this.#world, of);
    const holder = { contract, agent };
    this.#holders.push(holder);
    agent.start();
    if (contract.depth < 3) this.#often(DELEGATE_MS, () => this.#delegate(holder));
  }

  /** Several at once may want more together than there is. */
  async #delegate(holder: Holder): Promise<void> {
    const count = this.#draw.pick(AT_ONCE);
    await Promise.all(Array.from({ length: count }, () => this.#delegateOne(holder)));
  }

  async #delegateOne({ contract, agent }: Holder): Promise<void> {
    const draw = this.#draw;
    if (this.#holders.length >= HELD_MAX) return;
    if (agent.isQuick && this.#paced >= PACED_MAX) return;
    const grant = this.#part(contract.grant);
    const node = draw.pick(this.#nodes);
    const agentId = this.#mate(contract.agentId);
    const endMs = this.#endMs(contract.endMs);
    // By the clock of the node that signs it, which may be another than the operator's.
    const nowMs = contract.node.run?.process.clock.nowMs() ?? endMs;
    const ttl_s = Math.max(1, Math.floor((endMs - nowMs) / 1_000));
    const wish = { agent: agentId, node: node.name, grant, ttl_s };
    const said = await agent.delegate(contract.node, wish);
    if (said?.status !== 201) return;
    const { contract: id, key } = JSON.parse(said.body ?? "") as Record<"contract" | "key", string>;
    this.#seat({ id, key, agentId, node, depth: contract.depth + 1, grant, endMs });
  }

  async #delegateOwn(): Promise<void> {
    const draw = this.#draw;
    if (this.#owned.length === 0 || this.#holders.length >= HELD_MAX) return;
    const parent = draw.pick(this.#owned);
    const wish = {
      agentId: this.#mate(parent.agentId),
      node: draw.pick(this.#nodes),
      grant: this.#part(parent.grant),
      endMs: this.#endMs(parent.endMs),
    };
    this.#seat(await this.#office.delegate(parent, wish));
  }

  /** Somebody else of the team, or oneself. */
  #mate(agentId: string): string {
    const [team = ""] = agentId.split("/");
    const names = [...(this.#budgets.get(team)?.agents.keys() ?? [])];
    return `${team}/${this.#draw.pick(names)}`;
  }

  #part({ budget, rate }: Grant): Grant {
    const draw = this.#draw;
    const [share, rateShare] = [draw.pick(SHARES), draw.pick(RATE_SHARES)];
    const of = (amount: number, part: number): number => Math.max(1, Math.floor(amount * part));
    const bucket = ({ b, n, w }: Grant["rate"]["req"]) => {
      return { b: of(b, rateShare), n: of(n, rateShare), w };
    };
    return {
      budget: {
        usd_u: of(budget.usd_u, share),
        tok: of(budget.tok, share),
        calls: of(budget.calls, share),
      },
      rate: { req: bucket(rate.req), tok: bucket(rate.tok), usd_u: bucket(rate.usd_u) },
    };
  }

  async #revoke(): Promise<void> {
    const ids = [...this.#plane.journal.contracts.keys()];
    if (ids.length > 0) await this.#office.revoke(this.#draw.pick(ids));
  }
}
