import { Counter, Histogram, type Registry } from "prom-client";
import type { Reason } from "../proto/reasons.ts";
import { stageName } from "./decision/chain.ts";
import { TalliedCounter } from "./tallied-counter.ts";
import { TalliedHistogram } from "./tallied-histogram.ts";

/** One decision, as metrics see it. Labels come from closed sets; an agent's name is never one. */
export type Decided = {
  readonly stage: string;
  readonly reason: string;
  /** From the complete head to the decision, nanoseconds. */
  readonly tookNs: bigint;
  /** The stage is in shadow: what it objects to was allowed. */
  readonly shadow?: boolean;
};

/** An allowed request; of the stages in shadow that objected, the first. */
export function allowedAs(
  wouldRefuse: readonly { readonly stage: number; readonly reason: Reason }[],
  tookNs: bigint,
): Decided {
  const [first] = wouldRefuse;
  if (first === undefined) return { stage: "none", reason: "ok", tookNs };
  return { stage: stageName(first.stage), reason: first.reason, tookNs, shadow: true };
}

/** What a data loop counts. */
export type LoopMetrics = {
  decided(decision: Decided): void;
  /** A refusal whose record could not be written. */
  recordLost(error: unknown): void;
  /** Tokens of a finished answer, by provider and model of the policy. */
  used(usage: { model: string; inputTokens: number; outputTokens: number }): void;
  /** A bill was further above its hold than the price entry allows for. */
  distrusted(model: string): void;
  /** A hold outlived its request's bound and was settled in its place. */
  holdOverdue(): void;
  /** From the request's head to the first text of its streamed answer, nanoseconds. */
  firstText(model: string, tookNs: bigint): void;
  /** Connections ended from our side, and how long that took from the order to the last of them. */
  tornDown(count: number, tookNs: bigint): void;
};

const SECONDS_PER_NS = 1e-9;
const DECISION_BUCKETS = [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 0.1, 1];
const FIRST_TEXT_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60];
const TEARDOWN_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 1.2, 2.5];

/** Registers the loop's metrics and returns the way to feed them. */
export function createLoopMetrics(registry: Registry): LoopMetrics {
  const registers = [registry];
  const decisions = new TalliedCounter({
    name: "altrace_decisions_total",
    help: "Decisions of the chain, by the deciding stage and its reason.",
    labelNames: ["stage", "reason", "decision"],
    registers,
  });
  const seconds = new TalliedHistogram({
    name: "altrace_decision_seconds",
    help: "From the complete head to the decision.",
    labelName: "decision",
    buckets: DECISION_BUCKETS,
    registry,
  });
  const lost = new Counter({
    name: "altrace_audit_refusals_unrecorded_total",
    help: "Refusals whose record could not be written.",
    registers,
  });
  const tokens = new TalliedCounter({
    name: "gen_ai_client_token_usage",
    help: "Tokens as providers reported them.",
    labelNames: ["gen_ai_request_model", "gen_ai_token_type"],
    registers,
  });
  const distrusted = new Counter({
    name: "altrace_price_distrust_raised_total",
    help: "Bills further above their holds than the model's price entry allows for.",
    labelNames: ["gen_ai_request_model"],
    registers,
  });
  const overdue = new Counter({
    name: "altrace_holds_overdue_total",
    help: "Holds settled in full because their request did not end in its time.",
    registers,
  });
  const firstText = new TalliedHistogram({
    name: "gen_ai_server_time_to_first_token",
    help: "From the request's head to the first text of its streamed answer, seconds.",
    labelName: "gen_ai_request_model",
    buckets: FIRST_TEXT_BUCKETS,
    registry,
  });
  const teardown = new Histogram({
    name: "altrace_teardown_seconds",
    help: "From the order to cut to the end of the last connection it covers.",
    buckets: TEARDOWN_BUCKETS,
    registers,
  });
  const torn = new Counter({
    name: "altrace_connections_cut_total",
    help: "Connections ended from our side.",
    registers,
  });
  return {
    decided: ({ stage, reason, tookNs, shadow = false }) => {
      const decision = shadow ? "would_refuse" : reason === "ok" ? "allow" : "deny";
      const isAllow = decision === "allow" && stage === "none";
      const key = isAllow ? PLAIN_ALLOW : `${decision} ${stage} ${reason}`;
      decisions.add(key, () => ({ stage, reason, decision }));
      seconds.observe(decision, Number(tookNs) * SECONDS_PER_NS);
    },
    recordLost: () => lost.inc(),
    used: tokensInto(tokens),
    holdOverdue: () => overdue.inc(),
    distrusted: (model) => distrusted.inc({ gen_ai_request_model: model }),
    firstText: (model, tookNs) => firstText.observe(model, Number(tookNs) * SECONDS_PER_NS),
    tornDown: (count, tookNs) => {
      torn.inc(count);
      teardown.observe(Number(tookNs) * SECONDS_PER_NS);
    },
  };
}

/** What nearly all decisions are counted under. */
const PLAIN_ALLOW = "allow none ok";

type TokenCounter = TalliedCounter<"gen_ai_request_model" | "gen_ai_token_type">;

/** A text that is made anew is looked at whole to find its entry, so each model's two keys are kept. */
function tokensInto(counter: TokenCounter): LoopMetrics["used"] {
  const keysOf = new Map<string, { readonly input: string; readonly output: string }>();
  return ({ model, inputTokens, outputTokens }) => {
    let keys = keysOf.get(model);
    if (keys === undefined) {
      keys = { input: `input ${model}`, output: `output ${model}` };
      keysOf.set(model, keys);
    }
    counter.add(keys.input, () => tokenLabels(model, "input"), inputTokens);
    counter.add(keys.output, () => tokenLabels(model, "output"), outputTokens);
  };
}

function tokenLabels(model: string, type: "input" | "output") {
  return { gen_ai_request_model: model, gen_ai_token_type: type };
}
