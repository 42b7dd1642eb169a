import type { MessageInitShape } from "@bufbuild/protobuf";
import type { LadderPolicy } from "../../policy/compiled-policy.ts";
import { type BudgetUseSchema, Standing } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type {
  GetStandingResponseSchema,
  LadderMarkSchema,
  ScoreShareSchema,
} from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { Unit } from "../../proto/gen/altrace/v1/record_pb.ts";
import type { BudgetUse } from "../actors/budget-share.ts";
import { causeScore, halfLifeOf, totalScore } from "../actors/cause-scores.ts";
import { type LadderState, levelOfRung, newLadder } from "../actors/ladder.ts";
import { forecast, needsOperator } from "../actors/ladder-forecast.ts";
import { STANDINGS } from "../decision/facts.ts";
import { killsOf, standingMessage } from "./agent-message.ts";
import type { NodeView } from "./node-view.ts";

/** Why an agent stands where it does on this node; one that did nothing here stands at normal. */
export function standingExplained(
  agentId: string,
  view: NodeView,
): MessageInitShape<typeof GetStandingResponseSchema> {
  const nowMs = view.nowMs();
  const policy = view.ladder();
  const known = view.actor(agentId)?.state.ladder;
  const ladder = known ?? newLadder(nowMs);
  const killedBy = killsOf(agentId, view);
  return {
    node: view.node,
    agent: agentId,
    standing: killedBy.length > 0 ? Standing.KILL : standingMessage(ladder.standing),
    cause: ladder.cause,
    requestId: ladder.requestId ?? "",
    sinceMs: BigInt(ladder.cause === "none" ? 0 : ladder.sinceMs),
    killedBy,
    level: standingMessage(ladder.level),
    watchedUntilMs: BigInt(nowMs < ladder.watchedUntilMs ? ladder.watchedUntilMs : 0),
    budgetLevel: standingMessage(levelOfRung(ladder.rung)),
    budget: ladder.uses.map(useMessage),
    others: standingMessage(ladder.others),
    killFor: ladder.killFor ?? "",
    ...(policy !== undefined && byPolicy(ladder, policy, nowMs)),
  };
}

/** Before the first policy nobody climbs, and nothing decays. */
function byPolicy(ladder: LadderState, policy: LadderPolicy, nowMs: number) {
  return {
    scoreMilli: BigInt(totalScore(ladder.scores, policy, nowMs)),
    shares: sharesOf(ladder, policy, nowMs),
    marks: marksOf(policy),
    falls: forecast(ladder, policy, nowMs).map(({ to, atMs }) => ({
      to: standingMessage(to),
      atMs: BigInt(atMs),
    })),
    needsOperator: needsOperator(ladder, policy),
    budgetWarningMilli: policy.budgetMilli[0],
    budgetThrottleMilli: policy.budgetMilli[1],
    autoKill: [...policy.autoKill].sort(),
  };
}

/** What weighs most comes first. */
function sharesOf(
  { scores }: LadderState,
  policy: LadderPolicy,
  nowMs: number,
): MessageInitShape<typeof ScoreShareSchema>[] {
  return scores
    .map((score) => ({ score, milli: causeScore(score, policy, nowMs) }))
    .filter(({ milli }) => milli > 0)
    .sort((left, right) => right.milli - left.milli)
    .map(({ score, milli }) => ({
      cause: score.cause,
      milli: BigInt(milli),
      count: BigInt(score.count),
      lastAtMs: BigInt(score.lastAtMs),
      windowMs: BigInt(policy.windowMs),
      halfLifeMs: BigInt(halfLifeOf(score.cause, policy)),
    }));
}

function marksOf({ enter, leave }: LadderPolicy): MessageInitShape<typeof LadderMarkSchema>[] {
  return enter.map((mark, i) => ({
    level: standingMessage(STANDINGS[i + 1] ?? "block"),
    enterMilli: BigInt(mark),
    leaveMilli: BigInt(leave[i] ?? 0),
  }));
}

const UNITS = { usdMicros: Unit.USD_MICROS, tokens: Unit.TOKENS, calls: Unit.CALLS } as const;

function useMessage(use: BudgetUse): MessageInitShape<typeof BudgetUseSchema> {
  return {
    unit: UNITS[use.unit],
    window: use.window,
    limit: BigInt(use.limit),
    spent: BigInt(use.spent),
    endsAtMs: BigInt(use.endsAtMs),
  };
}
