import { refusedArgument } from "../policy/argument-rules.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import { covering } from "../policy/covering.ts";
import { type Reason, stageOf } from "../proto/reasons.ts";
import { AnswerShadow, type ShadowObjection } from "./answer-shadow.ts";
import type { ArgumentRulesNow } from "./dataplane/call-judge.ts";
import type { Outcome as RelayOutcome } from "./dataplane/client-leg.ts";
import { grantedName } from "./dataplane/dialects/path-names.ts";
import type { Answer } from "./dataplane/exchange.ts";
import { type AnswerSink, relayAnswer } from "./dataplane/relay-answer.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import { stageName } from "./decision/chain.ts";
import type { Reserved } from "./decision/commit.ts";
import { cutRecord } from "./decision/decision-record.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { Permit } from "./decision/permit.ts";
import { killReason } from "./decision/stages/03-kill.ts";
import { toolGranted, toolInContract } from "./decision/stages/10-tool.ts";
import type { Asked, Asker } from "./gather.ts";
import { recordContext, type Shadowed } from "./hold.ts";
import type { LiveDecision } from "./live-decisions.ts";
import type { LoopContext } from "./loop-context.ts";
import { allowedAs } from "./loop-metrics.ts";
import { sessionHolder } from "./mcp-session.ts";
import { brokenOff, openHold } from "./open-hold.ts";
import { openMeter } from "./pricing/meter.ts";
import { refusalWords } from "./refuse.ts";
import { settleRequest } from "./settle-request.ts";
import { balance } from "./table/lend.ts";
import { killedBy } from "./table/scope-cells.ts";
import { isFresh } from "./table/table.ts";
import type { RowGrant } from "./thread-messages.ts";

/** An allowed request: what may be sent, and what is held for it. */
export type Allowed = {
  readonly facts: Facts;
  readonly permit: Permit;
  readonly reserved: Reserved;
  /** What stages in shadow objected to in the request. */
  readonly wouldRefuse: Shadowed;
};

/**
 * Sends the request, relays its answer, and settles. Resolves when all of that is over.
 *
 * The relay says the client's last word whatever happens, and tells its outcome exactly once. For as long as
 * it goes on, what it was allowed by is judged again.
 */
export async function relayAndSettle(
  asked: Asked,
  allowed: Allowed,
  loop: LoopContext,
): Promise<void> {
  const shadow = new AnswerShadow(allowed.facts.policy);
  let outcome: RelayOutcome;
  const endHold = openHold(asked, allowed, loop);
  const relayed = new RelayedDecision(asked, allowed);
  const endJudging = loop.live.begin(relayed, allowed.facts);
  try {
    asked.exchange.setHeld(allowed.reserved.taken);
    outcome = await relay(asked, allowed, shadow, loop, relayed);
    endJudging();
  } catch (error) {
    endJudging();
    // A bug of ours must not leave money held that nobody will ever give back.
    if (endHold()) settleRequest(asked, allowed, brokenOff(!allowed.permit.revoke()), loop);
    throw error;
  }
  // Settled in its place: what it says after that changes no account any more.
  if (!endHold()) return;
  const objection = shadow.objection(outcome.hits);
  if (objection !== undefined) tellShadow(asked, allowed.facts, objection, loop);
  const told = relayed.isWithdrawn ? { ...outcome, isWithdrawn: true as const } : outcome;
  settleRequest(asked, allowed, told, loop);
}

/** An allowed request as it is judged again while its answer is relayed. */
class RelayedDecision implements LiveDecision {
  readonly asked: LiveDecision["asked"];
  readonly origin: string;
  /** It was ended because what it was allowed by no longer holds. */
  isWithdrawn = false;
  #sink: AnswerSink | undefined;

  constructor(asked: Asked, { permit }: Allowed) {
    const isContract = asked.row?.contractId !== undefined;
    this.asked = { ...asked, keyHandle: asked.keySha256, isContract };
    this.origin = permit.request.origin;
  }

  endsBy(sink: AnswerSink): void {
    this.#sink = sink;
  }

  close(reason: Reason): void {
    if (this.#sink?.close(reason) === true) this.isWithdrawn = true;
  }
}

function relay(
  asked: Asked,
  allowed: Allowed,
  shadow: AnswerShadow,
  loop: LoopContext,
  relayed: RelayedDecision,
): Promise<RelayOutcome> {
  const { exchange, found, read, row } = asked;
  const { facts, permit } = allowed;
  const { policy, model } = facts;
  if (isMissing(found) || read === undefined || row === undefined || policy === undefined) {
    throw new Error("invariant broken: an allowed request was read under a policy");
  }
  if (model === undefined || isMissing(model) || model.price === undefined) {
    throw new Error("invariant broken: an allowed request has a priced model");
  }
  const holder = sessionHolder(row.agentId, found.model ?? "");
  const meter = openMeter({ price: model.price, held: allowed.reserved.charges.cost });
  const headers = allowedHeaders(allowed, row, loop);
  tellAllowed(asked, allowed, loop);
  return new Promise((resolve) => {
    const sink = relayAnswer({
      exchange,
      dialect: found.dialect,
      stream: read.stream,
      wantsUsage: read.wantsUsage,
      rules: {
        set: loop.scanners.of(policy).response,
        refuses: (ruleId) => shadow.refuses(ruleId),
      },
      toolGranted: (name, verb) =>
        toolInContract(facts, grantedName(name, found), verb) &&
        (toolGranted(facts, grantedName(name, found), verb) || shadow.passesTool(name)),
      ...argumentRules(policy, shadow),
      answerBytesMax: policy.limits.answerBytesMax,
      openEnded: read.openEnded === true,
      ...(found.dialect.family === "mcp" && {
        sessionGiven: (id: string) => loop.sessions.given(holder, id),
      }),
      ...(read.answersTo !== undefined && { answersTo: read.answersTo }),
      killedNow: () => closedNow(loop, row.row),
      meter: {
        onText: read.stream
          ? withFirstText(asked, model.id, meter.countText, loop)
          : meter.countText,
        onUsage: meter.countUsage,
        spent: meter.isHoldSpent,
      },
      headers,
      refusal: (reason, rule) => responseRefusal(asked, facts, reason, rule),
      scrub: (text) => loop.credentials.scrub(text),
      onOutcome: resolve,
    });
    relayed.endsBy(sink);
    loop.forwarder.forward(permit, sink, {
      limits: policy.limits,
      refusedBecause: () => closedNow(loop, row.row) ?? "mesh_stale",
    });
  });
}

/** Counts a streamed answer's text, and tells when the first of it was there. */
function withFirstText(
  { exchange }: Asked,
  model: string,
  count: (bytes: number) => void,
  loop: LoopContext,
): (bytes: number) => void {
  let isFirst = true;
  return (bytes) => {
    if (isFirst) loop.metrics.firstText(model, loop.clock.monoNs() - exchange.headAtNs);
    isFirst = false;
    count(bytes);
  };
}

/** What policy says of the arguments of calls that a model asks for, unless that is nothing. */
function argumentRules(
  { tools }: CompiledPolicy,
  shadow: AnswerShadow,
): { readonly argumentRules?: ArgumentRulesNow } {
  const rules = tools.arguments;
  if (rules.size === 0) return {};
  return {
    argumentRules: {
      has: (tool) => covering(rules, tool) !== undefined,
      refused: (tool, given) => {
        const refused = refusedArgument(rules, tool, given);
        if (refused === undefined || shadow.passesArgument(`${tool}.${refused}`)) return undefined;
        return refused;
      },
    },
  };
}

/** What the cells say in this instant against going on. */
export function closedNow(loop: LoopContext, row: number): Reason | undefined {
  const by = killedBy(loop.table, row);
  if (by !== undefined) return killReason(by);
  return isFresh(loop.table, loop.clock.monoNs()) ? undefined : "mesh_stale";
}

/** Counts an allowed request, and tells the agent's actor of it. */
export function tellAllowed(
  asked: Asked<Asker>,
  { facts, wouldRefuse }: Pick<Allowed, "facts" | "wouldRefuse">,
  loop: LoopContext,
): void {
  loop.metrics.decided(allowedAs(wouldRefuse, loop.clock.monoNs() - asked.exchange.headAtNs));
  if (isMissing(asked.identity)) return;
  loop.controlLink.event({
    agentId: asked.identity.agentId,
    requestId: facts.requestId,
    atMs: facts.nowMs,
    standing: facts.standing,
    allowed: true,
    stage: 0,
    reason: "ok",
    cause: undefined,
  });
}

/** An objection of a stage in shadow to the answer: a second record, and nothing else. */
function tellShadow(
  asked: Asked,
  facts: Facts,
  { reason, rule }: ShadowObjection,
  loop: LoopContext,
): void {
  const stage = stageOf(reason);
  const tookNs = loop.clock.monoNs() - asked.exchange.headAtNs;
  loop.metrics.decided({ stage: stageName(stage), reason, tookNs, shadow: true });
  const context = recordContext(asked, loop);
  try {
    loop.log.append(cutRecord(facts, { stage, reason, rule, shadow: true }, context));
  } catch (error) {
    loop.metrics.recordLost(error);
  }
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
