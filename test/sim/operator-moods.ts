import type { Draw } from "./draw.ts";
import type { Judged } from "./oracles/oracle.ts";
import type { SimOperator } from "./sim-operator.ts";
import { MODEL } from "./sim-policy.ts";

const OPERATOR_MS = { min: 200, max: 2_500 };
/** Of what is neither a kill nor a revive; it happens once at most, where there are three coordinators. */
const REMOVALS_SHARE = 0.25;
/** Commands for the one agent that is killed and revived over and over. */
const FAVOURITE_SHARE = 0.6;
/** Ends of contracts that are revoked lie this far from now: those before are soon to be forgotten. */
const REVOKED_MS = 24 * 3_600_000;

export type OperatedWorld = Pick<Judged, "time" | "plane" | "budgets"> & {
  readonly operator: SimOperator;
  readonly draw: Draw;
  /** Whether anybody works under a contract. */
  readonly areContractsHeld: boolean;
  readonly isOver: () => boolean;
};

/** An operator who kills, revives and changes budgets at any moment. */
export function operateAtAnyMoment(world: OperatedWorld): void {
  const { time, draw, isOver } = world;
  time.after(draw.between(OPERATOR_MS.min, OPERATOR_MS.max), () => {
    if (isOver()) return;
    void command(world);
    operateAtAnyMoment(world);
  });
}

async function command(world: OperatedWorld): Promise<void> {
  const { plane, budgets, operator, draw } = world;
  const isFavourite = draw.chance(FAVOURITE_SHARE);
  const teams = [...budgets];
  const [team, budget] = isFavourite ? (teams[0] as (typeof teams)[number]) : draw.pick(teams);
  const agents = [...budget.agents];
  const [agent, own] = isFavourite ? (agents[0] as (typeof agents)[number]) : draw.pick(agents);
  const isWide = !isFavourite && draw.chance(0.4);
  const scope = isWide ? `team/${team}` : `agent/${team}/${agent}`;
  const at = draw.below(10);
  if (at < 4) return operator.kill(isWide && draw.chance(0.2) ? "global" : scope);
  if (at < 8) {
    for (const one of ["global", `team/${team}`, `agent/${team}/${agent}`]) {
      await operator.revive(one);
    }
    return;
  }
  if (draw.chance(0.3)) {
    const fromNowMs = Math.round(draw.between(-REVOKED_MS, REVOKED_MS));
    return operator.revoke(plane.nowMs() + fromNowMs);
  }
  if (draw.chance(0.3)) return operator.trustPrice(`openai/${MODEL}`);
  if (draw.chance(REMOVALS_SHARE)) return operator.remove(scope);
  if (world.areContractsHeld && draw.chance(0.5)) return limitContract(world);
  if (own.window !== "total") return;
  const usdMicros = Math.round(own.usdMicros * draw.between(0.5, 2));
  await operator.topUp(`agent/${team}/${agent}`, "total", usdMicros);
}

/** To less than it was granted, or to more, by which the ledger must not go. */
async function limitContract({ plane, operator, draw }: OperatedWorld): Promise<void> {
  const contracts = [...plane.journal.contracts.values()];
  if (contracts.length === 0) return;
  const { id, limit } = draw.pick(contracts);
  const usdMicros = Math.round(limit.usd_micros * draw.between(0.4, 3));
  await operator.topUp(`contract/${id}`, "total", usdMicros);
}
