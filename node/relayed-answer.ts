import { refusedArgument } from "../policy/argument-rules.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import { covering } from "../policy/covering.ts";
import { type Reason, stageOf } from "../proto/reasons.ts";
import { AnswerShadow } from "./answer-shadow.ts";
import { closedNow, unusableBecause } from "./closed-now.ts";
import type { ArgumentRulesNow } from "./dataplane/call-judge.ts";
import type { Meter, Outcome, RelayInput } from "./dataplane/client-leg.ts";
import type { ToolGranted } from "./dataplane/dialects/answer-part.ts";
import { grantedName } from "./dataplane/dialects/path-names.ts";
import type { FoundRoute } from "./dataplane/dialects/registry.ts";
import type { Answer } from "./dataplane/exchange.ts";
import { shownSecret } from "./dataplane/key-material.ts";
import { type AnswerSink, relayAnswer } from "./dataplane/relay-answer.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import { stageName } from "./decision/chain.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import { toolGranted, toolInContract } from "./decision/stages/10-tool.ts";
import type { Asked } from "./gather.ts";
import type { LiveDecision } from "./live-decisions.ts";
import type { LoopContext } from "./loop-context.ts";
import { sessionHolder } from "./mcp-session.ts";
import { type Meter as CostMeter, openMeter } from "./pricing/meter.ts";
import { refusalWords } from "./refuse.ts";
import type { Allowed } from "./relay-and-settle.ts";
import { balance } from "./table/lend.ts";
import type { RowGrant } from "./thread-messages.ts";

/**
 * An allowed request while its answer is relayed: what the relay asks of the node, and what the decision is
 * judged again by meanwhile.
 *
 * One object for all of it, whose functions are its methods: of each request there is one, and a function for
 * each question would be two dozen.
 */
export class RelayedAnswer implements RelayInput, LiveDecision, Meter {
  readonly exchange: RelayInput["exchange"];
  readonly dialect: RelayInput["dialect"];
  readonly stream: boolean;
  readonly wantsUsage: boolean;
  readonly openEnded: boolean;
  readonly answersTo?: string | number;
  readonly answerBytesMax: number;
  readonly headers: readonly string[];
  readonly set: RelayInput["rules"]["set"];
  readonly argumentRules?: ArgumentRulesNow;
  readonly sessionGiven?: (id: string) => string;
  /** The credential that the request goes with, whatever comes in its place while the answer goes on. */
  readonly secret: string | undefined;
  readonly origin: string;
  readonly shadow: AnswerShadow;
  /** It was ended because what it was allowed by no longer holds. */
  isWithdrawn = false;
  readonly #asked: Asked;
  readonly #allowed: Allowed;
  readonly #loop: LoopContext;
  readonly #found: FoundRoute;
  readonly #row: RowGrant;
  #judged: LiveDecision["asked"] | undefined;
  #meter: CostMeter | undefined;
  #sink: AnswerSink | undefined;
  #hasText = false;
  #tell: (outcome: Outcome) => void = untold;

  constructor(asked: Asked, allowed: Allowed, loop: LoopContext) {
    const { exchange, found, read, row } = asked;
    const { facts, permit } = allowed;
    const { policy } = facts;
    if (isMissing(found) || read === undefined || row === undefined || policy === undefined) {
      throw new Error("invariant broken: an allowed request was read under a policy");
    }
    this.#asked = asked;
    this.#allowed = allowed;
    this.#loop = loop;
    this.#found = found;
    this.#row = row;
    const { credential } = permit.request;
    this.secret = shownSecret(credential && loop.credentials.secretOf(credential.name));
    this.exchange = exchange;
    this.dialect = found.dialect;
    this.stream = read.stream;
    this.wantsUsage = read.wantsUsage;
    this.openEnded = read.openEnded === true;
    if (read.answersTo !== undefined) this.answersTo = read.answersTo;
    this.answerBytesMax = policy.limits.answerBytesMax;
    this.shadow = new AnswerShadow(policy);
    this.set = loop.scanners.of(policy).response;
    this.origin = permit.request.origin;
    this.headers = allowedHeaders(allowed, row, loop);
    const rules = argumentRules(policy, this.shadow);
    if (rules !== undefined) this.argumentRules = rules;
    if (found.dialect.family === "mcp") {
      const holder = sessionHolder(row.agentId, found.model ?? "");
      this.sessionGiven = (id) => loop.sessions.given(holder, id);
    }
  }

  /** Begins to relay: what it returns takes the provider's answer. */
  begin(onOutcome: (outcome: Outcome) => void): AnswerSink {
    this.#tell = onOutcome;
    this.#sink = relayAnswer(this);
    return this.#sink;
  }

  /** Its own, because what is found out of its key later changes nothing of what it was allowed by. */
  get asked(): LiveDecision["asked"] {
    const isContract = this.#row.contractId !== undefined;
    this.#judged ??= { ...this.#asked, keyHandle: this.#asked.keySha256, isContract };
    return this.#judged;
  }

  close(reason: Reason): void {
    if (this.#sink?.close(reason) === true) this.isWithdrawn = true;
  }

  get rules(): RelayInput["rules"] {
    return this;
  }

  refuses(ruleId: string): boolean {
    return this.shadow.refuses(ruleId);
  }

  toolGranted(...[name, verb]: Parameters<ToolGranted>): boolean {
    const { facts } = this.#allowed;
    const granted = grantedName(name, this.#found);
    if (!toolInContract(facts, granted, verb)) return false;
    return toolGranted(facts, granted, verb) || this.shadow.passesTool(name);
  }

  killedNow(): Reason | undefined {
    return closedNow(this.#loop, this.#row.row);
  }

  /** Why the last look before the request was written refused. */
  refusedBecause(): Reason {
    return unusableBecause(this.#loop, this.#row.row);
  }

  get meter(): Meter {
    return this;
  }

  /** Of a stream it is told when the first text was there. */
  onText(bytes: number): void {
    if (this.stream && !this.#hasText) this.#tellFirstText();
    this.#hasText = true;
    this.#costMeter().countText(bytes);
  }

  onUsage(usage: Parameters<Meter["onUsage"]>[0]): void {
    this.#costMeter().countUsage(usage);
  }

  spent(): boolean {
    return this.#costMeter().isHoldSpent();
  }

  refusal(reason: Reason, rule: string | undefined): Answer {
    return responseRefusal(this.#asked, this.#allowed.facts, reason, rule);
  }

  scrub(text: string): string {
    return this.#loop.credentials.scrub(text);
  }

  onOutcome(outcome: Outcome): void {
    this.#tell(outcome);
  }

  #costMeter(): CostMeter {
    this.#meter ??= openMeter({
      price: pricedModel(this.#allowed.facts).price,
      held: this.#allowed.reserved.charges.cost,
    });
    return this.#meter;
  }

  #tellFirstText(): void {
    const { metrics, clock } = this.#loop;
    const { id } = pricedModel(this.#allowed.facts);
    metrics.firstText(id, clock.monoNs() - this.exchange.headAtNs);
  }
}

function untold(): void {}

function pricedModel({ model }: Facts) {
  if (model === undefined || isMissing(model) || model.price === undefined) {
    throw new Error("invariant broken: an allowed request has a priced model");
  }
  return { id: model.id, price: model.price };
}

/** What policy says of the arguments of calls that a model asks for, unless that is nothing. */
function argumentRules(
  { tools }: CompiledPolicy,
  shadow: AnswerShadow,
): ArgumentRulesNow | undefined {
  const rules = tools.arguments;
  if (rules.size === 0) return undefined;
  return {
    has: (tool) => covering(rules, tool) !== undefined,
    refused: (tool, given) => {
      const refused = refusedArgument(rules, tool, given);
      if (refused === undefined || shadow.passesArgument(`${tool}.${refused}`)) return undefined;
      return refused;
    },
  };
}

function allowedHeaders({ facts }: Allowed, row: RowGrant, loop: LoopContext): string[] {
  const { requestId, standing, cost, request } = facts;
  const toolsOut = isMissing(request) ? undefined : request.toolsOut?.length;
  const set = cost === undefined || isMissing(cost) ? undefined : cost.outputTokensSet;
  const headers = decisionHeaders({
    requestId,
    refusal: undefined,
    standing,
    budgetRemainingUsdMicros: balance(loop.table, row.row).usdMicros,
    ...(set !== undefined && { clampedTokens: set }),
    ...(toolsOut !== undefined && { toolsOut }),
  });
  headers.push(...loop.possession.headers(row));
  return headers;
}

/** The refusal of an answer of which nothing has been passed on yet. */
export function responseRefusal(
  asked: Asked,
  facts: Facts,
  reason: Reason,
  rule: string | undefined,
): Answer {
  if (isMissing(asked.found)) throw new Error("invariant broken: a relayed request has a route");
  const { requestId, standing } = facts;
  const refusal = { reason, ...(rule !== undefined && { detail: rule }) };
  const words = refusalWords(requestId, refusal, asked.read?.answersTo);
  const { dialect } = asked.found;
  const { contentType, body } = dialect.refusal(words);
  const headers = decisionHeaders({
    requestId,
    refusal: { stage: stageName(stageOf(reason)), reason },
    standing,
  });
  return {
    status: dialect.refusalStatus?.(words) ?? words.status,
    headers: [...headers, "content-type", contentType],
    body,
  };
}
