import type { Delegation } from "../authority/delegation.ts";
import { stageOf } from "../proto/reasons.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import { stageName } from "./decision/chain.ts";
import { settleRecord } from "./decision/decision-record.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { Asked } from "./gather.ts";
import { recordContext } from "./hold.ts";
import type { LoopContext } from "./loop-context.ts";
import { allowedAs } from "./loop-metrics.ts";
import { refusalWords } from "./refuse.ts";
import type { DelegationAnswer } from "./thread-messages.ts";

const SPENT_NOTHING = { usdMicros: 0n, tokens: 0n, calls: 0n };
const CREATED = 201;

/**
 * Delegates what was allowed and recorded, and answers with the new contract and its key.
 *
 * Whether the ledger has what is asked for is known only once it was asked, so its no comes after the
 * record that allowed it, and closes that with a record of its own.
 */
export async function answerDelegation(
  asked: Asked,
  facts: Facts,
  loop: LoopContext,
): Promise<void> {
  const { keySha256, delegation } = asked;
  if (keySha256 === undefined || delegation === undefined || isMissing(delegation)) {
    throw new Error("invariant broken: an allowed delegation was read and has a delegator");
  }
  loop.metrics.decided(allowedAs([], loop.clock.monoNs() - asked.exchange.headAtNs));
  const answer = await loop.meshLink.delegate(keySha256, delegation);
  settle(asked, facts, "refused" in answer ? answer.refused : "ok", loop);
  if ("refused" in answer) return tellRefusal(asked, facts, answer);
  const { requestId, standing } = facts;
  const told = { ...answer, ...("chain" in delegation ? {} : shownOf(delegation)) };
  asked.exchange.answer({
    status: CREATED,
    headers: [
      ...decisionHeaders({ requestId, refusal: undefined, standing }),
      ...loop.possession.headers(asked.row),
      "content-type",
      "application/json",
      "cache-control",
      "no-store",
    ],
    body: Buffer.from(JSON.stringify(told)),
  });
}

function shownOf({ agent, authority }: Delegation) {
  const expiresMs = authority.validity.expires * 1000;
  return { agent, expires_at: new Date(expiresMs).toISOString() };
}

function settle(asked: Asked, facts: Facts, reason: string, loop: LoopContext): void {
  const end = { reason, spent: SPENT_NOTHING, overrunMicros: 0n, inspection: undefined };
  try {
    loop.log.append(settleRecord(facts, end, recordContext(asked, loop)));
  } catch (error) {
    loop.metrics.recordLost(error);
  }
}

function tellRefusal(
  { exchange, found }: Asked,
  facts: Facts,
  { refused: reason, detail }: Extract<DelegationAnswer, { refused: unknown }>,
): void {
  if (isMissing(found)) throw new Error("invariant broken: an allowed delegation has a route");
  const { requestId, standing } = facts;
  const words = refusalWords(requestId, { reason, detail });
  const { contentType, body } = found.dialect.refusal(words);
  const refusal = { stage: stageName(stageOf(reason)), reason };
  exchange.answer({
    status: words.status,
    headers: [...decisionHeaders({ requestId, refusal, standing }), "content-type", contentType],
    body,
  });
}
