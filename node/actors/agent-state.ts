import type { LadderPolicy } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";
import type { TopUpAnswer } from "../thread-messages.ts";
import {
  type Book,
  EMPTY_BOOK,
  type Lease,
  type LeaseSettlement,
  NOTHING,
  plus,
} from "./account-book.ts";
import type { BudgetUse } from "./budget-share.ts";
import {
  type LadderChange,
  type LadderState,
  type Level,
  newLadder,
  type Offence,
} from "./ladder.ts";
import type { LeaseAnswer, Shortfall } from "./ledger-port.ts";

/** Everything an actor knows. Never mutated. */
export type AgentState = {
  readonly book: Book;
  readonly ladder: LadderState;
  readonly limits: Limits;
  /** Top-ups that wait for the ledger, in order of arrival. */
  readonly waiting: readonly Waiting[];
  /** What the ledger is being asked for; one question at a time. */
  readonly asking: Asking | undefined;
  readonly refusal: LedgerRefusal | undefined;
  readonly allowed: number;
  readonly refused: number;
};

/**
 * What the ledger said about limits. The right not to count a unit comes with a lease and ends with
 * it, so a limit that is set later holds everywhere once the leases before it have run out.
 */
export type Limits = {
  /** 1 in units without a limit, 0 in the others. */
  readonly unlimited: Cost;
  /** Monotonic nanoseconds; afterwards every unit counts until the ledger was asked again. */
  readonly untilNs: bigint;
  /** Counts the changes of limits: an answer to an earlier question says nothing about these. */
  readonly no: number;
};

export type Waiting = {
  readonly id: number;
  readonly need: Cost;
  /** What would do with the output limit lowered to its floor; absent where that is not allowed. */
  readonly floor: Cost | undefined;
  /** Questions put to the ledger for it. */
  readonly asks: number;
  /** The ledger has refused the need and given what else there was. */
  readonly drawn: boolean;
};

export type Asking = {
  /** Of the top-up that it is for. */
  readonly id: number;
  /** `draw`: the need was refused; this asks for what there is. */
  readonly kind: "need" | "draw";
  readonly need: Cost;
  readonly want: Cost;
  /** `limits.no` when it was asked. */
  readonly limitsNo: number;
};

/** The ledger's no, and until when it is believed, monotonic nanoseconds. */
export type LedgerRefusal = {
  /** What did not fit. */
  readonly need: Cost;
  /** What would have. */
  readonly available: Cost;
  readonly shortfall: Shortfall | undefined;
  readonly untilNs: bigint;
  /** `returned` when it was said. */
  readonly returned: number;
};

export type AgentMessage =
  | {
      readonly t: "top_up";
      readonly id: number;
      readonly need: Cost;
      readonly floor: Cost | undefined;
    }
  | {
      readonly t: "leased";
      readonly lease: Lease;
      /** Undefined: an answer to an earlier question, which says nothing about limits now. */
      readonly unlimited: Cost | undefined;
      /** False: nobody waits for it; it had got lost and was found. */
      readonly answers: boolean;
    }
  | {
      readonly t: "not_leased";
      readonly answer: Exclude<LeaseAnswer, { outcome: "granted" }>;
      /** `returned` when it was asked. */
      readonly returned: number;
    }
  | {
      readonly t: "settled";
      readonly spent: Cost;
      readonly uncovered: Cost;
      /** The last of the requests that spent it. */
      readonly requestId: string | undefined;
    }
  /** The table gave back `amount`; leases are closed as far as open requests allow. */
  | { readonly t: "taken_back"; readonly amount: Cost; readonly giveBack: boolean }
  | { readonly t: "limits_changed" }
  /** @param offence Undefined for what says nothing against the agent. */
  | {
      readonly t: "event";
      readonly allowed: boolean;
      readonly offence: Offence | undefined;
      /** Refusals like it that it stands for too. */
      readonly more?: number;
    }
  /** Packets that the kernel saw and no honest agent sends. */
  | { readonly t: "evidence"; readonly count: number }
  | ({ readonly t: "news" } & AccountNews)
  /** The coordinator has taken the request to kill this agent. */
  | { readonly t: "kill_heard" }
  | { readonly t: "revived" }
  /** @param report True to tell the ledger what leases that go on have paid for. */
  | { readonly t: "tick"; readonly report: boolean };

/** What is said of an agent without anybody waiting for an answer. */
export type AgentNews = Extract<AgentMessage, { t: "event" | "evidence" | "revived" }>;

/** What the coordinator knows of an account beside what was asked. */
export type AccountNews = {
  /** Its limited rows. Undefined: nothing was said of them. */
  readonly uses: readonly BudgetUse[] | undefined;
  /** The highest level that other nodes report of its agent. */
  readonly others: Level;
};

export type StepEnv = {
  readonly nowMs: number;
  readonly nowNs: bigint;
  /** Undefined before the first policy: then nobody climbs. */
  readonly ladder: LadderPolicy | undefined;
  /** What lies unheld in the table. */
  readonly balance: Cost;
  /**
   * Settlements of this node that brought money back to the ledger, counted. What the ledger refused
   * before one of them may fit now.
   */
  readonly returned: number;
};

/** What the host does once the state is stored, in this order. */
export type Effect =
  | { readonly t: "lend"; readonly amount: Cost }
  | { readonly t: "unlimited"; readonly units: Cost }
  | { readonly t: "reply"; readonly id: number; readonly answer: TopUpAnswer }
  | { readonly t: "ask"; readonly asking: Asking }
  | { readonly t: "settle"; readonly settlement: LeaseSettlement }
  /** What came back belongs to a lease that has expired: out of the table with it. */
  | { readonly t: "take_back" }
  | { readonly t: "standing"; readonly change: LadderChange }
  /** The mesh is to hear where the agent's own offences put it now. */
  | { readonly t: "report" };

export type StepResult = {
  readonly state: AgentState;
  readonly effects: readonly Effect[];
  /** The state must be on disk before any effect is carried out. */
  readonly durable: boolean;
};

export const UNAVAILABLE: TopUpAnswer = { outcome: "unavailable" };
const NO_LIMITS_KNOWN: Limits = { unlimited: NOTHING, untilNs: 0n, no: 0 };

/** @param debt What an earlier run of this node spent beyond its leases. */
export function newAgent(nowMs: number, debt: Cost = NOTHING): AgentState {
  return {
    book: { ...EMPTY_BOOK, debt },
    ladder: newLadder(nowMs),
    limits: NO_LIMITS_KNOWN,
    waiting: [],
    asking: undefined,
    refusal: undefined,
    allowed: 0,
    refused: 0,
  };
}

/** Units that need not be counted at this moment: 1 each. */
export function unlimitedNow({ limits }: AgentState, nowNs: bigint): Cost {
  return nowNs < limits.untilNs ? limits.unlimited : NOTHING;
}

export function quiet(state: AgentState): StepResult {
  return { state, effects: [], durable: false };
}

/** Goes on from a result with another part of the same turn. */
export function andThen(before: StepResult, next: (state: AgentState) => StepResult): StepResult {
  const after = next(before.state);
  return {
    state: after.state,
    effects: [...before.effects, ...after.effects],
    durable: before.durable || after.durable,
  };
}

/** A result whose top-ups nobody waits for any more; `amount` is what it was to lend to them. */
export function withoutLending({ state, effects, durable }: StepResult): {
  readonly kept: StepResult;
  readonly amount: Cost;
} {
  let amount = NOTHING;
  for (const effect of effects) if (effect.t === "lend") amount = plus(amount, effect.amount);
  const left = effects.filter(({ t }) => t !== "lend");
  return { kept: { state: { ...state, waiting: [] }, effects: left, durable }, amount };
}
