import type { LadderCause } from "../policy/compiled-policy.ts";
import { type Reason, stageOf } from "../proto/reasons.ts";
import type { Outcome as RelayOutcome } from "./dataplane/client-leg.ts";
import { type BucketCharge, bucketCharge } from "./decision/bucket-charge.ts";
import { stageName } from "./decision/chain.ts";
import { cutRecord, settleRecord } from "./decision/decision-record.ts";
import { type Cost, type Facts, isMissing } from "./decision/facts.ts";
import type { Asked, Asker } from "./gather.ts";
import { recordContext } from "./hold.ts";
import { ladderCause } from "./ladder-cause.ts";
import type { LoopContext } from "./loop-context.ts";
import { trustedPrice } from "./pricing/price-of.ts";
import { type Outcome, type Settlement, settle as settlePrice } from "./pricing/settle.ts";
import type { Allowed } from "./relay-and-settle.ts";
import { refundUnused, releaseUnsent } from "./release-unsent.ts";
import { settle, type Uncovered } from "./table/reserve.ts";

/**
 * Ends what was held: charges what the provider counted, or the hold where nobody counted, gives
 * the rest back, and writes the outcome into the log.
 *
 * A bill further above its hold than the price entry allows for raises the distrust of that model for
 * all holds to come: on this loop at once, on the node with the control thread's word, and on the mesh
 * as soon as the coordinator has said so in a record.
 */
export function settleRequest(
  asked: Asked,
  allowed: Allowed,
  outcome: RelayOutcome,
  loop: LoopContext,
): void {
  const { facts, reserved } = allowed;
  const { row } = asked;
  const { model } = facts;
  if (row === undefined || model === undefined || isMissing(model) || model.price === undefined) {
    throw new Error("invariant broken: what is settled was priced and held on a row");
  }
  const held = { cost: reserved.charges.cost, overrunMicros: reserved.charges.overrunMicros };
  const price = trustedPrice(model.price, loop.controlLink.distrustMilli(model.id));
  const due = settlePrice(held, priceOutcome(outcome), price);
  const spent = charged(due.spent, reserved.taken, held.cost);
  const uncovered = endHold(allowed, row.row, { outcome, due, spent }, loop);
  loop.controlLink.settled({
    requestId: facts.requestId,
    agentId: row.agentId,
    contractId: row.contractId,
    row: row.row,
    generation: row.generation,
    held: reserved.taken,
    spent,
    overrunHeldMicros: held.overrunMicros,
    overrunSpentMicros: due.overrunSpentMicros,
    model: model.id,
    uncovered,
    distrustMilli: due.distrustMilli,
  });
  if (due.distrustMilli !== undefined) loop.metrics.distrusted(model.id);
  if (outcome.usage !== undefined) loop.metrics.used({ model: model.id, ...outcome.usage });
  const over = due.overrunSpentMicros;
  // What its account may have been charged beyond its hold has to be on record before anything else is done.
  const isWithinHold = over === 0n && due.spent.tokens <= held.cost.tokens;
  writeOutcome(asked, facts, outcome, { spent: due.spent, over, isWithinHold }, loop);
}

/** Gives back what was held and not spent. Returns what was spent that nothing there could pay. */
function endHold(
  allowed: Allowed,
  row: number,
  end: { readonly outcome: RelayOutcome; readonly due: Settlement; readonly spent: Cost },
  loop: LoopContext,
): Uncovered | undefined {
  const { table } = loop;
  const { outcome, due, spent } = end;
  const { reserved, facts } = allowed;
  const { taken, charges } = reserved;
  if (!outcome.sent) {
    releaseUnsent(loop, row, allowed);
    return undefined;
  }
  const uncovered = settle(table, row, {
    held: taken,
    spent,
    overrunHeldMicros: charges.overrunMicros,
    overrunSpentMicros: due.overrunSpentMicros,
  });
  refundUnused(loop, row, unusedRate(charges.buckets, charges.cost, due.spent), facts);
  const { usdMicros, tokens, calls, overrunMicros } = uncovered;
  return usdMicros + tokens + calls + overrunMicros > 0n ? uncovered : undefined;
}

/** What the relay saw, in the words of pricing. */
function priceOutcome(outcome: RelayOutcome): Outcome {
  const { usage, outputTextBytes: textBytes } = outcome;
  if (!outcome.sent) return { kind: "not_sent" };
  if (outcome.isUnopened) return { kind: "unopened" };
  if (outcome.kind === "done" && outcome.status >= 400 && outcome.status < 500) {
    return { kind: "rejected" };
  }
  // A provider that reported in between and not at the end has counted a part of it.
  if (outcome.kind === "done" && outcome.status < 400 && !outcome.hasUncounted) {
    return { kind: "complete", usage, textBytes };
  }
  return { kind: "incomplete", usage, textBytes };
}

/** Charged on the account: nothing in units that have no limit there, so nothing was taken. */
function charged(spent: Cost, taken: Cost, held: Cost): Cost {
  const one = (unit: keyof Cost) => (taken[unit] === 0n && held[unit] > 0n ? 0n : spent[unit]);
  return { usdMicros: one("usdMicros"), tokens: one("tokens"), calls: one("calls") };
}

/** The part of each bucket's charge that the request did not use. Requests are never given back. */
function unusedRate(buckets: readonly BucketCharge[], held: Cost, spent: Cost): BucketCharge[] {
  const given: BucketCharge[] = [];
  for (const charge of buckets) {
    if (charge.metric === "requests") continue;
    const unit = charge.metric === "tokens" ? "tokens" : "usdMicros";
    const unused = held[unit] - spent[unit];
    if (unused > 0n) given.push(bucketCharge({ ...charge, amount: unused }));
  }
  return given;
}

function writeOutcome(
  asked: Asked,
  facts: Facts,
  outcome: RelayOutcome,
  due: { readonly spent: Cost; readonly over: bigint; readonly isWithinHold: boolean },
  loop: LoopContext,
): void {
  const context = recordContext(asked, loop);
  const { reason } = outcome;
  const n = outcome.outputTextBytes;
  const scanned = Math.min(n, outcome.scannedBytes);
  const rules = facts.policy?.content.length ?? 0;
  const { bytes } = outcome;
  const inspection =
    bytes !== undefined
      ? { n: bytes.up + bytes.down, scanned: 0, rules: 0, skipped: "tunnel" }
      : scanned < n
        ? { n, scanned, rules, skipped: reason ?? "incomplete" }
        : { n, scanned, rules };
  if (reason !== undefined && outcome.kind === "cut") {
    const cut = { stage: stageOf(reason), reason, rule: outcome.rule };
    orCount(loop, () => loop.log.append(cutRecord(facts, cut, context)));
    const cause = outcome.isWithdrawn ? undefined : ladderCause(reason, facts, outcome.rule);
    tellCut(asked, facts, { reason, cause }, loop);
  }
  const { spent, over: overrunMicros } = due;
  const end = { reason: reason ?? "ok", spent, overrunMicros, inspection, bytes };
  orCount(loop, () => {
    const record = settleRecord(facts, end, context);
    if (due.isWithinHold) loop.log.appendSoon(record);
    else loop.log.append(record);
  });
}

/** One record that the log does not take must not cost another one, nor what the ladder is told. */
function orCount(loop: LoopContext, append: () => void): void {
  try {
    append();
  } catch (error) {
    // The hold has been settled; the log reports its own fault and stops further allows.
    loop.metrics.recordLost(error);
  }
}

/**
 * Counts an answer or a tunnel that was cut, and tells the agent's actor of it.
 *
 * @param of `cause`: what the ladder makes of it; undefined where the agent has done nothing.
 */
export function tellCut(
  asked: Asked<Asker>,
  facts: Facts,
  { reason, cause }: { readonly reason: Reason; readonly cause: LadderCause | undefined },
  loop: LoopContext,
): void {
  const tookNs = loop.clock.monoNs() - asked.exchange.headAtNs;
  const stage = stageOf(reason);
  loop.metrics.decided({ stage: stageName(stage), reason, tookNs });
  if (isMissing(asked.identity)) return;
  loop.controlLink.event({
    agentId: asked.identity.agentId,
    requestId: facts.requestId,
    atMs: facts.nowMs,
    standing: facts.standing,
    allowed: false,
    stage,
    reason,
    cause,
  });
}
