import { afterAll, describe, expect, test } from "vitest";
import type { AccountLimits } from "../../../../coordinator/account-limits.ts";
import { REFUSAL_BELIEVED_NS } from "../../../../node/actors/top-ups.ts";
import type { Cost } from "../../../../node/decision/facts.ts";
import { LocalRefusals } from "../../../../node/local-refusals.ts";
import { overrunBalance, takeBackRetired } from "../../../../node/table/lend.ts";
import { reserve, settle } from "../../../../node/table/reserve.ts";
import { pin, type RowRef, unpin } from "../../../../node/table/rows.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { proofCount } from "../../../support/proof.ts";
import { NodeWorld, settled } from "./node-world.ts";

// Hundreds of agents spend as greedily as they can through one node, against the real ledger. What
// a provider would have billed is counted beside it, and must stay within every limit.

const { count: SEEDS, seed: FIRST_SEED } = proofCount("money of one node", { small: 1, full: 40 });
const AGENTS = 200;
const TEAMS = 8;
const USD = 1_000_000;
const STEPS = 45;
const ATTEMPTS_MAX = 8;

type Faults = { readonly wire: number; readonly store: number; readonly crashes: boolean };

/** Draws from one seed. */
class Draw {
  readonly #random;
  constructor(seed: number) {
    this.#random = twinRandom(seed);
  }
  below(count: number): number {
    return Buffer.from(this.#random.bytes(4)).readUInt32LE(0) % count;
  }
  chance(thousandths: number): boolean {
    return this.below(1_000) < thousandths;
  }
}

class Adversary {
  readonly draw: Draw;
  readonly world: NodeWorld;
  readonly teamOf = new Map<string, string>();
  readonly limitOf = new Map<string, number>();
  /** What the provider billed, by agent; what was under way at a crash in full. */
  readonly billed = new Map<string, bigint>();
  readonly open = new Map<number, { readonly agent: string; readonly held: bigint }>();
  readonly phantoms: string[] = [];
  readonly #lately = new Map<string, number[]>();
  readonly counts = { allowed: 0, exhausted: 0, repeated: 0, unavailable: 0, crashes: 0 };
  /** Agents with money in a row that is being given up. */
  readonly #swapping = new Set<string>();
  /** Of the loop, which ends with the node. */
  #refusals: LocalRefusals;
  #era = 0;
  #next = 0;

  constructor(seed: number, faults: Faults) {
    this.draw = new Draw(seed);
    const limits: { account: string; parent: string | undefined; limits: object[] }[] = [];
    const limited = (account: string, parent: string | undefined, usd: number, tokens?: number) => {
      this.limitOf.set(account, usd);
      const total = { unit: "usd_micros", window: "total", limit: usd };
      const inTokens = { unit: "tokens", window: "total", limit: tokens };
      limits.push({ account, parent, limits: tokens === undefined ? [total] : [total, inTokens] });
    };
    limited("overrun", undefined, 100 * USD);
    for (let team = 0; team < TEAMS; team++) {
      limited(`team/t${team}`, undefined, (5 + this.draw.below(40)) * USD);
    }
    for (let no = 0; no < AGENTS; no++) {
      const team = `team/t${no % TEAMS}`;
      const account = `agent/t${no % TEAMS}/a${no}`;
      this.teamOf.set(account, team);
      const tokens = no % 3 === 0 ? 5_000_000 : undefined;
      limited(account, team, this.draw.below(3 * USD), tokens);
    }
    this.world = new NodeWorld({ limits: limits as unknown as AccountLimits, rows: 2 * AGENTS });
    this.#refusals = this.#loop();
    this.world.passage = (method) => {
      if (!this.draw.chance(faults.wire)) return {};
      const delayMs = this.draw.below(2_500);
      const fate = this.draw.below(3);
      if (fate === 0) return { delayMs };
      if (method === "settle") return { lost: fate === 1 ? "request" : "reply" };
      return { lost: fate === 1 ? "request" : "reply", delayMs };
    };
    this.world.fate = () => {
      if (!this.draw.chance(faults.store)) return "good";
      return this.draw.chance(500) ? "fails_but_persisted" : "fails_not_persisted";
    };
  }

  #loop(): LocalRefusals {
    return new LocalRefusals(this.world.table, () => this.world.clock.monoNs());
  }

  get agents(): readonly string[] {
    return [...this.teamOf.keys()];
  }

  async step(): Promise<void> {
    for (let i = this.draw.below(40); i > 0; i--) {
      const agent = this.agents[this.draw.below(AGENTS)] as string;
      const dollars = this.draw.chance(100) ? 2 * USD : 300_000;
      const need = BigInt(1 + this.draw.below(dollars));
      // Some go on for longer than any lease, and must not cost their account the rest of theirs.
      const lastsMs = this.draw.below(this.draw.chance(50) ? 120_000 : 20_000);
      void this.request(agent, need, lastsMs);
    }
    await settled(8);
    await this.sample();
    this.world.clock.advance(1 + this.draw.below(200));
    await settled(8);
    if (this.draw.chance(400)) {
      this.world.clock.advance(this.draw.below(1_000));
      this.world.host.tick(30_000_000_000n);
      await settled(8);
    }
    if (this.draw.chance(30)) await this.world.pass(31_000);
    await this.sample();
  }

  /** One request as a loop makes it: hold, go upstream for a while, settle. */
  async request(agent: string, need: bigint, lastsMs: number): Promise<string> {
    const { world } = this;
    const era = this.#era;
    const ref = world.row(agent);
    if (!pin(world.table, 0, ref)) return "row_gone";
    const cost = { usdMicros: need, tokens: need / 2n + 1n, calls: 1n };
    const overrunMicros = need / 10n;
    const outcome = await this.#hold(agent, ref, { cost, overrunMicros, buckets: [] });
    if (era !== this.#era) return "crashed";
    if (typeof outcome === "string") {
      unpin(world.table, 0, ref.row);
      if (outcome === "exhausted") this.counts.exhausted++;
      else this.counts.unavailable++;
      return outcome;
    }
    this.counts.allowed++;
    const { id, taken } = outcome;
    await new Promise<void>((resolve) => void world.clock.after(lastsMs, resolve));
    if (era !== this.#era) return "crashed";
    this.#end(id, ref, { taken, need, overrunMicros });
    unpin(world.table, 0, ref.row);
    return "ok";
  }

  async #hold(agent: string, ref: RowRef, charges: Parameters<typeof reserve>[2]) {
    const { world } = this;
    const { row } = ref;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const held = reserve(world.table, row, charges, world.clock.monoNs());
      if ("taken" in held) {
        const id = ++this.#next;
        this.open.set(id, { agent, held: charges.cost.usdMicros });
        return { id, taken: held.taken };
      }
      const before = this.#leftOfTeam(agent);
      const answer = await this.#topUp(agent, ref, charges);
      if (answer === "exhausted") this.#judge(agent, charges.cost, before);
      if (answer !== "ok") return answer;
    }
    return "unavailable";
  }

  /** As the control thread asks, with the loop's bound on how long it waits. */
  async #topUp(agent: string, ref: RowRef, charges: Parameters<typeof reserve>[2]) {
    const { host, table, clock } = this.world;
    const { cost, overrunMicros } = charges;
    const request = { ...ref, agentId: agent, contractId: undefined, need: cost, overrunMicros };
    const again = this.#refusals.answerTo(request);
    if (again !== undefined) this.counts.repeated++;
    if (again !== undefined) return again.outcome;
    const refusals = this.#refusals;
    const asked = (async () => {
      if (overrunMicros > overrunBalance(table)) {
        const share = { usdMicros: overrunMicros, tokens: 0n, calls: 0n };
        const { outcome } = await host.topUp("overrun", share);
        if (outcome !== "ok") return outcome === "exhausted" ? "overrun_exhausted" : outcome;
      }
      const answer = await host.topUp(agent, cost);
      refusals.note(request, answer);
      return answer.outcome;
    })();
    const late = new Promise<"unavailable">((resolve) => {
      clock.after(250, () => resolve("unavailable"));
    });
    return Promise.race([asked, late]);
  }

  #end(
    id: number,
    { row }: RowRef,
    held: { readonly taken: Cost; readonly need: bigint; readonly overrunMicros: bigint },
  ): void {
    const { world } = this;
    const one = this.open.get(id);
    if (one === undefined) return;
    this.open.delete(id);
    const share = BigInt(this.draw.chance(200) ? 1_000 : this.draw.below(1_001));
    const usdMicros = (held.need * share) / 1_000n;
    // Providers count tokens as they please; money is never above the hold.
    const tokens = held.taken.tokens === 0n ? 0n : (held.taken.tokens * share * 12n) / 10_000n;
    const spent = { usdMicros, tokens, calls: held.taken.calls };
    const uncovered = settle(world.table, row, {
      held: held.taken,
      spent,
      overrunHeldMicros: held.overrunMicros,
      overrunSpentMicros: 0n,
    });
    this.#bill(one.agent, usdMicros);
    world.host.settled(one.agent, spent, uncovered);
  }

  #bill(agent: string, micros: bigint): void {
    this.billed.set(agent, (this.billed.get(agent) ?? 0n) + micros);
  }

  /** Gives an agent another row, as when its row was freed and it came back. */
  async swapRow(agent: string): Promise<void> {
    const { world } = this;
    const old = world.rows.get(agent);
    if (old === undefined || this.#swapping.has(agent)) return;
    world.owner.retire(old.row);
    world.rows.delete(agent);
    this.#swapping.add(agent);
    const era = this.#era;
    while (!world.owner.isIdle(old.row)) {
      await new Promise<void>((resolve) => void world.clock.after(500, resolve));
      if (era !== this.#era) return;
    }
    world.host.takenBack(agent, takeBackRetired(world.table, old));
    expect(world.owner.reclaim(old.row)).toBe(true);
    this.#swapping.delete(agent);
  }

  async crash(): Promise<void> {
    this.#era++;
    this.counts.crashes++;
    for (const { agent, held } of this.open.values()) this.#bill(agent, held);
    this.open.clear();
    this.#swapping.clear();
    await this.world.crash();
    this.#refusals = this.#loop();
  }

  /** Keeps the least that the ledger had for a team, as far back as its no is believed. */
  async sample(): Promise<void> {
    for (const row of await this.world.ledger.rows()) {
      if (row.unit !== "usd_micros" || !row.account.startsWith("team/")) continue;
      const before = this.#lately.get(row.account) ?? [];
      this.#lately.set(row.account, [...before.slice(-6), row.available]);
    }
  }

  /**
   * A no is right where limit - spent - open holds - what siblings have on lease is less than the
   * need, for the agent or for its team, now or as long ago as the ledger's no is believed.
   */
  #judge(agent: string, need: Cost, teamBefore: bigint): void {
    if (this.#isLimitedInTokens(agent) || this.#swapping.has(agent)) return;
    const team = this.teamOf.get(agent) as string;
    const limit = (account: string) => BigInt(this.limitOf.get(account) as number);
    const own = limit(agent) - this.spentBy(agent) - this.#heldBy(agent);
    const teamNow = this.#leftOfTeam(agent);
    // A sibling's lease may have ended between the question and the answer.
    const ofTeam = teamNow < teamBefore ? teamNow : teamBefore;
    // Between two samples siblings may borrow and give back.
    const sinceNs = this.world.clock.monoNs() - REFUSAL_BELIEVED_NS;
    const told = this.world.refusals
      .filter(({ account, atNs }) => account === agent && atNs >= sinceNs)
      .map(({ available }) => available?.usd_micros ?? 0);
    const there = BigInt(Math.min(...(this.#lately.get(team) ?? [0]), ...told));
    const lately = there + this.#idleWith(agent);
    const left = [own, ofTeam, lately].reduce((a, b) => (a < b ? a : b));
    if (left < need.usdMicros) return;
    this.phantoms.push(`${agent} asked ${need.usdMicros} of ${own}, ${ofTeam} and ${lately}`);
  }

  #leftOfTeam(agent: string): bigint {
    const team = this.teamOf.get(agent) as string;
    let left = BigInt(this.limitOf.get(team) as number) - this.spentBy(agent) - this.#heldBy(agent);
    for (const [sibling, its] of this.teamOf) {
      if (its === team && sibling !== agent) {
        left -= this.spentBy(sibling) + this.#heldBy(sibling) + this.#idleWith(sibling);
      }
    }
    return left;
  }

  #heldBy(agent: string): bigint {
    let held = 0n;
    for (const one of this.open.values()) if (one.agent === agent) held += one.held;
    return held;
  }

  /** Leased, and neither spent nor held. */
  #idleWith(agent: string): bigint {
    const leases = this.world.host.view(agent)?.state.book.leases ?? [];
    const leased = leases.reduce(
      (sum, one) => sum + one.amount.usdMicros - one.spent.usdMicros,
      0n,
    );
    return leased - this.#heldBy(agent);
  }

  #isLimitedInTokens(agent: string): boolean {
    return Number(agent.split("/a")[1]) % 3 === 0;
  }

  spentBy(account: string): bigint {
    let sum = 0n;
    for (const [agent, team] of this.teamOf) {
      if (agent === account || team === account) sum += this.billed.get(agent) ?? 0n;
    }
    return sum;
  }

  check(): void {
    for (const [account, limit] of this.limitOf) {
      if (account === "overrun") continue;
      expect(this.spentBy(account), account).toBeLessThanOrEqual(BigInt(limit));
    }
  }

  /** Faults over: requests end, accounts fall idle and give back what they have. */
  async heal(): Promise<void> {
    this.world.passage = () => ({});
    this.world.fate = () => "good";
    await this.world.pass(120_000);
    expect(this.open.size).toBe(0);
    expect([...this.world.store.durable.keys()].filter((key) => !key.startsWith("book/"))).toEqual(
      [],
    );
  }
}

async function run(seed: number, faults: Faults): Promise<Adversary> {
  const one = new Adversary(seed, faults);
  for (let step = 0; step < STEPS; step++) {
    await one.step();
    if (one.draw.chance(100)) void one.swapRow(one.agents[one.draw.below(AGENTS)] as string);
    if (faults.crashes && (step === STEPS / 3 || one.draw.chance(60))) await one.crash();
    one.check();
  }
  await one.heal();
  one.check();
  return one;
}

const seeds = Array.from({ length: SEEDS }, (_, no) => FIRST_SEED + no);

describe(`${AGENTS} agents, one node, ${SEEDS} seeds from ${FIRST_SEED}`, () => {
  /** Of all seeds together: one alone may be a quiet world. */
  const seen = { allowed: 0, repeated: 0 };
  afterAll(() => {
    if (SEEDS < 20) return;
    expect(seen.allowed).toBeGreaterThan(100 * SEEDS);
    expect(seen.repeated).toBeGreaterThan(SEEDS);
  });

  test.each(seeds)(
    "nothing fails: every account is settled to the micro-dollar (seed %i)",
    async (seed) => {
      const one = await run(seed, { wire: 0, store: 0, crashes: false });
      expect(one.world.faults).toEqual([]);
      expect(one.counts.allowed).toBeGreaterThan(0);
      expect(one.counts.exhausted).toBeGreaterThanOrEqual(one.counts.repeated);
      for (const count of ["allowed", "repeated"] as const) seen[count] += one.counts[count];
      expect(one.phantoms).toEqual([]);
      expect(one.counts.unavailable).toBe(0);
      for (const [account, limit] of one.limitOf) {
        if (account === "overrun") continue;
        const left = await one.world.available(account, "usd_micros");
        expect(BigInt(limit) - BigInt(left), account).toBe(one.spentBy(account));
      }
      // What is left is to be had, all of it and no more.
      for (const agent of one.agents.slice(0, 3)) {
        const team = await one.world.available(one.teamOf.get(agent) as string, "usd_micros");
        const own = await one.world.available(agent, "usd_micros");
        const left = BigInt(Math.min(team, own));
        if ((one.world.host.view(agent)?.state.book.debt.tokens ?? 0n) > 0n) continue;
        expect(await outcomeOf(one, agent, left + 1n)).toBe("exhausted");
        await one.world.pass(40_000);
        expect(left === 0n || (await outcomeOf(one, agent, left)) === "ok").toBe(true);
        await one.world.pass(70_000);
      }
    },
  );

  test.each(seeds)(
    "messages lost and late, a disk that fails: nothing is lost (seed %i)",
    async (seed) => {
      const one = await run(seed, { wire: 150, store: 60, crashes: false });
      expect(one.world.faults.length).toBeGreaterThan(0);
      expect(one.counts.allowed).toBeGreaterThan(0);
      for (const [account, limit] of one.limitOf) {
        if (account === "overrun") continue;
        const left = await one.world.available(account, "usd_micros");
        expect(BigInt(limit) - BigInt(left), account).toBe(one.spentBy(account));
      }
    },
  );

  test.each(seeds)(
    "and kill -9: what is spent is charged, and never above a limit (seed %i)",
    async (seed) => {
      const one = await run(seed, { wire: 150, store: 60, crashes: true });
      expect(one.counts.crashes).toBeGreaterThan(0);
      for (const [account, limit] of one.limitOf) {
        if (account === "overrun") continue;
        const charged = BigInt(limit) - BigInt(await one.world.available(account, "usd_micros"));
        expect(charged, account).toBeGreaterThanOrEqual(one.spentBy(account));
        expect(charged, account).toBeLessThanOrEqual(BigInt(limit));
      }
    },
  );
});

async function outcomeOf(one: Adversary, agent: string, need: bigint): Promise<string> {
  one.world.row(agent);
  const { outcome } = await one.world.host.topUp(agent, { usdMicros: need, tokens: 0n, calls: 0n });
  await settled();
  return outcome;
}
