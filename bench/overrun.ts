import { setPriority } from "node:os";
import { Pool } from "undici";
import type { Account } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { Unit } from "../proto/gen/altrace/v1/record_pb.ts";
import { type Mesh, startMesh } from "../test/support/start-mesh.ts";
import { type BillingProvider, startBillingProvider } from "./fixtures/billing-provider.ts";
import {
  AGENT_BUDGET_USD,
  HONEST_MODEL,
  OVERCOUNTED_MODEL,
  OVERRUN_LIMIT_USD,
  OVERRUN_TEAMS,
  overrunPolicy,
  PRICE,
  TEAM_BUDGET_USD,
} from "./fixtures/overrun-policy.ts";
import { type AdversaryOptions, askForLittle, attack } from "./harness/adversary.ts";
import type { Bench, BenchResult } from "./harness/bench.ts";
import { type Operator, pause } from "./harness/operator.ts";
import { operatorOf } from "./harness/operator-of.ts";

const NODES = 3;
const DURATION_MS = { full: 120_000, short: 25_000 };
const GENERATOR_NICENESS = 10;
const KEYS_AT_ONCE = 16;
const CONNECTIONS = 64;
const STRIKE_EVERY_MS = { min: 2_500, max: 6_000 };
const DOWN_MS = { min: 200, max: 1_500 };
const LEASE_TTL_MS = 15_000;
/** Requests end, what was lent and idle comes back, and what a killed node held is settled. */
const QUIET_MS = 50_000;
const PROBES_AT_ONCE = 4;
/** More than the smallest request is held for: a thousand tokens in, and sixteen out. */
const PROBE_MICROS = 1_000 * PRICE.input + 16 * PRICE.output;
/** What everybody's budget grows by before the probes, US dollars: enough for all of them, many times. */
const TOP_UP_USD = { agent: 1, team: 25, overrun: 100 } as const;
const TOP_UPS_AT_ONCE = 16;
const FOR_MONEY = new Set(["budget_exhausted", "overrun_exhausted", "budget_unavailable"]);

export const overrun: Bench = {
  name: "overrun",
  question:
    "Do 200 adversarial agents on three nodes spend more than their budgets while everything is killed and restarted?",
  run: async ({ isFull, durationMs = isFull ? DURATION_MS.full : DURATION_MS.short }) => {
    setPriority(GENERATOR_NICENESS);
    await using provider = await startBillingProvider();
    await using mesh = await startMesh({
      nodes: NODES,
      policy: overrunPolicy(provider.url),
      nodeEnv: { OPENAI_API_KEY: "sk-bench-0123456789abcdef" },
      coordinatorEnv: { ALTRACE_LEASE_TTL_MS: String(LEASE_TTL_MS) },
    });
    using operator = operatorOf(mesh);
    const doors = mesh.nodes.map(
      ({ gateway }) => new Pool(gateway, { connections: CONNECTIONS, pipelining: 1 }),
    );
    const answers: Record<string, number> = {};
    const agents = await adversaries(operator, doors, (word) => {
      answers[word] = (answers[word] ?? 0) + 1;
    });
    const stop = new AbortController();
    const attacking = agents.map((agent) => attack(agent, stop.signal));
    const strikes = await strikeFor(mesh, durationMs);
    stop.abort();
    await Promise.all(attacking);
    await mesh.whenReady();
    await pause(QUIET_MS);
    const spent = { honest: billed(provider, false), overcounted: billed(provider, true) };
    const before = await probeAll(operator, agents);
    await topUp(operator, agents);
    const probed = await probeAll(operator, agents);
    await Promise.all(doors.map((door) => door.destroy()));
    return describe(provider, { answers, strikes, spent, before, probed, durationMs });
  },
};

async function adversaries(
  operator: Operator,
  doors: readonly Pool[],
  onAnswer: (word: string) => void,
): Promise<readonly AdversaryOptions[]> {
  const wanted = OVERRUN_TEAMS.flatMap(({ name, agents, isOvercounted }) =>
    agents.map((agent) => ({
      agent: `${name}/${agent}`,
      model: isOvercounted ? OVERCOUNTED_MODEL : HONEST_MODEL,
    })),
  );
  const made: AdversaryOptions[] = [];
  for (let from = 0; from < wanted.length; from += KEYS_AT_ONCE) {
    const some = wanted.slice(from, from + KEYS_AT_ONCE).map(async ({ agent, model }) => ({
      agent,
      model,
      key: await operator.issueKey(agent),
      doors,
      onAnswer,
    }));
    made.push(...(await Promise.all(some)));
  }
  return made;
}

/** Kills one process after another, without a word to it, and starts it again. Returns how often. */
async function strikeFor(mesh: Mesh, durationMs: number): Promise<Record<string, number>> {
  const strikes: Record<string, number> = {};
  const endMs = Date.now() + durationMs;
  for (let turn = 0; Date.now() < endMs; turn += 1) {
    await pause(between(STRIKE_EVERY_MS));
    const kind = (["node", "nats", "node", "coordinator"] as const)[turn % 4] as string;
    strikes[kind] = (strikes[kind] ?? 0) + 1;
    if (kind === "nats") {
      await mesh.nats.kill();
      await pause(between(DOWN_MS));
      await mesh.nats.restart();
      continue;
    }
    const node = mesh.nodes[turn % mesh.nodes.length];
    const member = kind === "coordinator" || node === undefined ? mesh.coordinator : node;
    await member.process?.end("SIGKILL");
    await pause(between(DOWN_MS));
    mesh.launch(member);
  }
  return strikes;
}

/** Gives everybody money again, so that whoever is refused for it is refused what there is. */
async function topUp(operator: Operator, agents: readonly AdversaryOptions[]): Promise<void> {
  const totals = new Map([["overrun", OVERRUN_LIMIT_USD + TOP_UP_USD.overrun]]);
  for (const { agent } of agents) {
    totals.set(`agent/${agent}`, AGENT_BUDGET_USD + TOP_UP_USD.agent);
    totals.set(`team/${agent.split("/")[0]}`, TEAM_BUDGET_USD + TOP_UP_USD.team);
  }
  const queue = [...totals];
  const some = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      await operator.setTotal(next[0], next[1] * 1_000_000);
    }
  };
  await Promise.all(Array.from({ length: TOP_UPS_AT_ONCE }, some));
}

type Probed = {
  readonly asked: number;
  /** How each was answered: `ok`, or the reason of a refusal. */
  readonly answers: Readonly<Record<string, number>>;
  readonly refused: number;
  readonly phantom: readonly string[];
};

/**
 * Every agent asks for little on every node. Refused for money that the ledger could lend just before:
 * a phantom denial. Agents of one team ask in turn, or one would take what the other was promised.
 */
async function probeAll(operator: Operator, agents: readonly AdversaryOptions[]): Promise<Probed> {
  const phantom: string[] = [];
  const answers: Record<string, number> = {};
  let asked = 0;
  let refused = 0;
  const teams = Map.groupBy(agents, ({ agent }) => agent.split("/")[0] as string);
  const queue = [...teams.values()];
  const probeTeams = async (): Promise<void> => {
    for (let team = queue.shift(); team !== undefined; team = queue.shift()) {
      for (const agent of team) {
        for (const door of agent.doors) {
          const available = await availableMicros(operator, agent);
          const reason = await askForLittle(agent, door);
          asked += 1;
          answers[reason] = (answers[reason] ?? 0) + 1;
          if (!FOR_MONEY.has(reason)) continue;
          refused += 1;
          if (available >= PROBE_MICROS) phantom.push(`${agent.agent} ${reason} of ${available}`);
        }
      }
    }
  };
  await Promise.all(Array.from({ length: PROBES_AT_ONCE }, probeTeams));
  return { asked, answers, refused, phantom };
}

/** What the ledger could lend an agent for its own account, its team's and, for its share, overruns. */
async function availableMicros(
  { coordinator }: Operator,
  { agent, model }: AdversaryOptions,
): Promise<number> {
  const accounts = [`agent/${agent}`, `team/${agent.split("/")[0]}`];
  let least = Number.POSITIVE_INFINITY;
  for (const account of accounts) least = Math.min(least, await left(coordinator, account));
  const share = model === OVERCOUNTED_MODEL ? 9 : 0.1;
  const overrunLeft = await left(coordinator, "overrun");
  return overrunLeft < share * PROBE_MICROS * PROBES_AT_ONCE ? 0 : least;
}

async function left(coordinator: Operator["coordinator"], account: string): Promise<number> {
  const { accounts } = await coordinator.calls.getLedger({ account });
  const rows = (accounts as Account[]).filter(({ unit }) => unit === Unit.USD_MICROS);
  return Math.min(...rows.map(({ available }) => Number(available)));
}

function describe(
  provider: BillingProvider,
  seen: {
    readonly answers: Readonly<Record<string, number>>;
    readonly strikes: Readonly<Record<string, number>>;
    readonly spent: { readonly [K in "honest" | "overcounted"]: ReturnType<typeof billed> };
    /** Probes with what the attack has left of the budgets, and after everybody was given more. */
    readonly before: Probed;
    readonly probed: Probed;
    readonly durationMs: number;
  },
): BenchResult {
  const { answers, strikes, before, probed, durationMs } = seen;
  const { honest, overcounted } = seen.spent;
  const phantom = [...before.phantom, ...probed.phantom];
  const usd = (name: string, value: number) => ({ name, value, unit: "USD" });
  const count = (name: string, value: number) => ({ name, value, unit: "" });
  return {
    load:
      `${provider.count()} requests billed of ${sum(Object.values(answers))} asked in ${durationMs / 1_000} s; ` +
      `kill -9 and restart: ${JSON.stringify(strikes)}`,
    figures: [
      usd("spend_usd", honest.spend),
      usd("budget_usd", honest.budget),
      usd("overrun_usd", honest.overrun),
      usd("spend_overcounted_usd", overcounted.spend),
      usd("budget_overcounted_usd", overcounted.budget),
      usd("overrun_overcounted_usd", overcounted.overrun),
      count("phantom_denials", phantom.length),
      count("probes", before.asked + probed.asked),
      count("probes_without_money", before.refused),
      count("probes_with_money", probed.asked),
      count("probes_with_money_refused", probed.asked - (probed.answers.ok ?? 0)),
    ],
    notes: [
      `Answers: ${JSON.stringify(answers)}.`,
      `Probes with what was left: ${JSON.stringify(before.answers)}; with money again: ${JSON.stringify(probed.answers)}.`,
      ...phantom.slice(0, 5),
      "spend: what the provider bills, counted at the provider. overrun: what of it lies above the budget of an agent or a team, whichever is more. overcounted: teams whose provider counts ten tokens for each, with distrust 10.",
    ],
  };
}

/** Spend, budget and overrun of the teams of one kind, US dollars. */
function billed({ bills }: BillingProvider, isOvercounted: boolean) {
  const teams = OVERRUN_TEAMS.filter((team) => team.isOvercounted === isOvercounted);
  const spends = teams.map(({ name, agents }) =>
    agents.map((agent) => Number(bills.get(`${name}/${agent}`) ?? 0n) / 1e12),
  );
  return {
    spend: sum(spends.map(sum)),
    budget: teams.length * TEAM_BUDGET_USD,
    overrun: sum(
      spends.map((agents) =>
        Math.max(
          0,
          sum(agents) - TEAM_BUDGET_USD,
          sum(agents.map((spend) => Math.max(0, spend - AGENT_BUDGET_USD))),
        ),
      ),
    ),
  };
}

function sum(amounts: readonly number[]): number {
  return amounts.reduce((total, amount) => total + amount, 0);
}

function between({ min, max }: { readonly min: number; readonly max: number }): number {
  return min + Math.random() * (max - min);
}
