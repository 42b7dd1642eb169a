import { create } from "@bufbuild/protobuf";
import {
  RATE_WHOLE,
  type RateAnswer,
  type RateLags,
  type RateParts,
  type RateQuestion,
} from "../mesh/rate-share.ts";
import type { Clock } from "../ports/clock.ts";
import { pooledRandom } from "../ports/pooled-random.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import {
  type AccountNews as AccountNewsMessage,
  type Amounts,
  type BudgetUse as BudgetUseMessage,
  type LeaseRequest,
  type NodeReply,
  RateLagsSchema,
  RatePartsSchema,
  RateRequestSchema,
  type Refused,
  type SettleRequest,
  type Shortfall as ShortfallMessage,
  type Standing as StandingLevel,
  type StandingRequest,
  StandingRequestSchema,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import { Unit } from "../proto/gen/altrace/v1/record_pb.ts";
import { type LeaseSettlement, NOTHING } from "./actors/account-book.ts";
import type { AccountNews } from "./actors/agent-state.ts";
import type { BudgetUse } from "./actors/budget-share.ts";
import type { Level } from "./actors/ladder.ts";
import type { LeaseAnswer, LedgerPort, Shortfall, StandingReport } from "./actors/ledger-port.ts";
import { askMesh, type MeshAsker } from "./ask-mesh.ts";
import { type Cost, STANDINGS, type Standing } from "./decision/facts.ts";
import { LedgerQuestions } from "./ledger-questions.ts";
import type { AskRate } from "./rate-shares.ts";

/** Leases belong to the start of the node that asked for them. */
export type LedgerLinkDeps = MeshAsker & {
  readonly clock: Clock;
  readonly random: Random;
  /** Version of the policy in force here; 0 before there is one. */
  readonly policyVersion: () => number;
  /** The coordinator refuses this node whatever it asks, or, undefined, does no more. Told once. */
  readonly onBarred: (bar: LedgerBar | undefined) => void;
  /** What an answer says of its account beside the answer itself. */
  readonly onNews: (account: string, news: AccountNews) => void;
};

/** What the coordinator has against this node itself, whatever is asked. */
export type LedgerBar = { readonly reason: string; readonly message: string };

/** Another start of this node came after it; its clock and the coordinator's are too far apart. */
const BARS: ReadonlySet<string> = new Set(["boot_ended", "clock_off"]);
const ASK_TIMEOUT_MS = 2_000;
const UNAVAILABLE: LeaseAnswer = { outcome: "unavailable" };
/**
 * The ledger's ways to say that it does not fit. That it knows no such account is none of them: policy
 * names it here, so the two go by different policies, and which of them is the newer nobody has said.
 */
const EXHAUSTED = new Set(["budget_exhausted", "overrun_exhausted"]);
/** The coordinator failed in between: whether it granted anything is unknown even to itself. */
const UNDECIDED = new Set(["budget_unavailable", "unavailable"]);
/** The ledger has its own view of that lease, and no repetition will change it. */
const SETTLED_OTHERWISE = new Set([
  "lease_unknown",
  "settle_above_lease",
  "not_placed",
  "malformed_request",
]);
/** A question that is refused as undecided so often is refused for good. */
const UNDECIDED_MAX = 3;

/** A question that may have been granted without our hearing of it. */
type Unanswered = {
  readonly requestId: string;
  readonly account: string;
  readonly need: Cost;
  readonly want: Cost;
  readonly undecided: number;
};

/** The coordinator's ledger, asked over the bus. */
export function ledgerLink(
  deps: LedgerLinkDeps,
): LedgerPort & { readonly rate: AskRate; readonly bar: () => LedgerBar | undefined } {
  const link = new LedgerLink(deps);
  return {
    lease: (account, need, want) => link.lease(account, need, want),
    again: (account) => link.again(account),
    settle: (settlement) => link.settle(settlement),
    standing: (report) => link.standing(report),
    rate: (question) => link.rate(question),
    bar: () => link.bar,
  };
}

class LedgerLink implements LedgerPort {
  readonly #deps: LedgerLinkDeps;
  readonly #random: Random;
  readonly #questions: LedgerQuestions;
  /** By account; one question an account is under way at a time. */
  readonly #unanswered = new Map<string, Unanswered>();
  #latestLeaseMs = 0;
  /** And what was asked: of a wrong clock, some questions are answered all the same. */
  #bar: (LedgerBar & { readonly asked: string }) | undefined;

  constructor(deps: LedgerLinkDeps) {
    this.#deps = deps;
    this.#random = pooledRandom(deps.random);
    this.#questions = new LedgerQuestions({ ...deps, timeoutMs: ASK_TIMEOUT_MS });
  }

  get bar(): LedgerBar | undefined {
    return this.#bar;
  }

  async lease(account: string, need: Cost, want: Cost): Promise<LeaseAnswer> {
    const found = await this.again(account);
    if (found !== undefined && found.outcome !== "exhausted") return found;
    const requestId = this.#newLeaseId();
    return this.#ask({ requestId, account, need, want, undecided: 0 });
  }

  async again(account: string): Promise<LeaseAnswer | undefined> {
    const lost = this.#unanswered.get(account);
    if (lost === undefined) return undefined;
    const answer = await this.#ask(lost);
    if (answer.outcome === "granted") return { ...answer, unlimited: undefined };
    // Refused for good is an answer to the old question; the new one is still to be put.
    return this.#unanswered.has(account) ? answer : undefined;
  }

  async settle({ leaseId, epoch, spent, final, keep }: LeaseSettlement): Promise<boolean> {
    const value: SettleRequest = {
      $typeName: "altrace.v1.SettleRequest",
      leaseId,
      epoch: BigInt(epoch),
      spent: toAmounts(spent),
      final,
      ...(keep !== undefined && { keep: toAmounts(keep) }),
    };
    const reply = await this.#questions.ask(this.#newId(), { case: "settle", value });
    if (reply?.case === "refused") return SETTLED_OTHERWISE.has(reply.value.reason);
    if (reply?.case !== "settle") return false;
    this.#news(reply.value.account, reply.value.news);
    return true;
  }

  async standing(report: StandingReport): Promise<boolean> {
    const value = create(StandingRequestSchema, {
      agent: report.agentId,
      standing: (STANDINGS.indexOf(report.standing) + 1) as StandingLevel,
      standsAt: (STANDINGS.indexOf(report.standsAt) + 1) as StandingLevel,
      cause: report.cause,
      scoreMilli: BigInt(report.scoreMilli),
      askKill: report.askKill,
    });
    const reply = await this.#send({ case: "standing", value });
    this.#heard("standing", reply);
    if (reply?.case !== "standing") return false;
    this.#news(`agent/${report.agentId}`, reply.value.news);
    return true;
  }

  async rate(question: RateQuestion): Promise<RateAnswer | undefined> {
    const { account, contract, held, needs, wants, lags, release } = question;
    const [requestsUs, tokensUs, usdUs] = lags.map(BigInt) as [bigint, bigint, bigint];
    const value = create(RateRequestSchema, {
      account,
      contract,
      // For coordinators of earlier versions, which lend one share of every metric.
      held: Math.min(...held),
      shares: toParts(held),
      needs: toParts(needs),
      wants: toParts(wants),
      lags: create(RateLagsSchema, { requestsUs, tokensUs, usdUs }),
      release,
    });
    const reply = await this.#questions.ask(this.#newId(), { case: "rate", value });
    this.#heard("rate", reply);
    if (reply?.case !== "rate" || reply.value.shares === undefined) return undefined;
    const { shares, ttlMs, addedLags, retryMs } = reply.value;
    const lent = [shares.requests, shares.tokens, shares.usd] as const;
    if (lent.some((share) => share > RATE_WHOLE)) return undefined;
    const added = addedLags ?? create(RateLagsSchema);
    return {
      shares: lent,
      ttlMs: Number(ttlMs),
      addedLags: [added.requestsUs, added.tokensUs, added.usdUs].map(Number) as never as RateLags,
      retryMs: Number(retryMs),
    };
  }

  async #ask(question: Unanswered): Promise<LeaseAnswer> {
    const { account, requestId, need, want } = question;
    // Unanswered from here on: what ends in between may have been granted.
    this.#unanswered.set(account, question);
    const value: LeaseRequest = {
      $typeName: "altrace.v1.LeaseRequest",
      account,
      need: toAmounts(need),
      want: toAmounts(want),
      policyV: BigInt(this.#deps.policyVersion()),
    };
    const reply = await this.#questions.ask(requestId, { case: "lease", value });
    this.#heard("lease", reply);
    if (reply?.case === "refused") return this.#refused(question, reply.value);
    if (reply?.case !== "lease" || reply.value.amount === undefined) return UNAVAILABLE;
    this.#unanswered.delete(account);
    this.#news(account, reply.value.news);
    const { leaseId, epoch, amount, ttlMs, unlimited } = reply.value;
    const without = (unit: Unit) => (unlimited.includes(unit) ? 1n : 0n);
    return {
      outcome: "granted",
      leaseId,
      epoch: Number(epoch),
      amount: fromAmounts(amount),
      ttlMs: Number(ttlMs),
      unlimited: {
        usdMicros: without(Unit.USD_MICROS),
        tokens: without(Unit.TOKENS),
        calls: without(Unit.CALLS),
      },
    };
  }

  #refused(question: Unanswered, { reason, available, shortfall }: Refused): LeaseAnswer {
    const undecided = question.undecided + 1;
    if (UNDECIDED.has(reason) && undecided < UNDECIDED_MAX) {
      this.#unanswered.set(question.account, { ...question, undecided });
      return UNAVAILABLE;
    }
    this.#unanswered.delete(question.account);
    if (!EXHAUSTED.has(reason)) return UNAVAILABLE;
    return {
      outcome: "exhausted",
      available: available ? fromAmounts(available) : NOTHING,
      shortfall: shortfall && shortfallOf(shortfall),
    };
  }

  #heard(asked: "lease" | "rate" | "standing", reply: NodeReply["body"] | undefined): void {
    const { onBarred } = this.#deps;
    if (reply?.case === "refused" && BARS.has(reply.value.reason)) {
      const { reason, message } = reply.value;
      const isTold = this.#bar?.reason === reason;
      this.#bar = { reason, message, asked };
      if (!isTold) onBarred(this.#bar);
    } else if (reply?.case === asked && this.#bar?.asked === asked) {
      this.#bar = undefined;
      onBarred(undefined);
    }
  }

  /** A coordinator of an earlier version says nothing of it. */
  #news(account: string, news: AccountNewsMessage | undefined): void {
    if (news === undefined) return;
    this.#deps.onNews(account, {
      others: levelOf(news.others),
      uses: news.hasUses ? news.uses.flatMap(useOf) : undefined,
    });
  }

  #newId(): string {
    return uuidV7(this.#deps.clock.nowMs(), this.#random);
  }

  /**
   * Each is of a later time than all before, wherever the clock is set: the ledger would take it for an old one. Were
   * many of the same, while a clock that was set back has not caught up, one forgotten would bar all that follow.
   */
  #newLeaseId(): string {
    this.#latestLeaseMs = Math.max(this.#latestLeaseMs + 1, this.#deps.clock.nowMs());
    return uuidV7(this.#latestLeaseMs, this.#random);
  }

  async #send(body: {
    readonly case: "standing";
    readonly value: StandingRequest;
  }): Promise<NodeReply["body"] | undefined> {
    return askMesh(this.#deps, { requestId: this.#newId(), body, timeoutMs: ASK_TIMEOUT_MS });
  }
}

/** Levels on the wire are one more than here, where nothing is unspecified. Kill is the cells' to tell. */
function levelOf(standing: StandingLevel): Level {
  const level: Standing = STANDINGS[Number(standing) - 1] ?? "normal";
  return level === "kill" ? "normal" : level;
}

const UNITS = new Map<Unit, keyof Cost>([
  [Unit.USD_MICROS, "usdMicros"],
  [Unit.TOKENS, "tokens"],
  [Unit.CALLS, "calls"],
]);

function useOf(use: BudgetUseMessage): BudgetUse[] {
  const unit = UNITS.get(use.unit);
  const { window } = use;
  const [limit, spent, endsAtMs] = [use.limit, use.spent, use.endsAtMs].map(Number) as [
    number,
    number,
    number,
  ];
  const isSane = [limit, spent, endsAtMs].every((one) => Number.isSafeInteger(one) && one >= 0);
  return unit === undefined || !isSane ? [] : [{ unit, window, limit, spent, endsAtMs }];
}

/** Undefined: it names no limit that an answer could name. */
function shortfallOf({ account, window, endsAtMs }: ShortfallMessage): Shortfall | undefined {
  const at = Number(endsAtMs);
  if (!NAME_OF_LIMIT.test(account) || !NAME_OF_LIMIT.test(window) || at > DATE_MAX_MS) {
    return undefined;
  }
  return { account, window, endsAtMs: at === 0 ? undefined : at };
}

/** What a limit's account and window are made of: both stand in answers to agents. */
const NAME_OF_LIMIT = /^[A-Za-z0-9:/_.-]{1,160}$/;
/** @see https://tc39.es/ecma262/#sec-time-values-and-time-range */
const DATE_MAX_MS = 8.64e15;

function toParts([requests, tokens, usd]: RateParts) {
  return create(RatePartsSchema, { requests, tokens, usd });
}

/** Made whole, as what is made of it: the library takes longer to make a message than to write it. */
function toAmounts({ usdMicros, tokens, calls }: Cost): Amounts {
  return { $typeName: "altrace.v1.Amounts", usdMicros, tokens, calls };
}

function fromAmounts({ usdMicros, tokens, calls }: Amounts): Cost {
  return { usdMicros, tokens, calls };
}
