import { CHAIN, HEAD_ROWS, type Row } from "./chain.ts";
import type { Facts } from "./facts.ts";
import { bucketCharges } from "./stages/13-rate.ts";
import { accountCharges } from "./stages/14-budget.ts";
import type { Charges, Refusal, RowOutcome, Verdict } from "./verdict.ts";

const NO_CHARGES: Charges = {
  cost: { usdMicros: 0n, tokens: 0n, calls: 0n },
  overrunMicros: 0n,
  buckets: [],
};

/**
 * Puts the facts to the chain; the first objection decides.
 *
 * Pure and synchronous: the same facts give the same verdict, and nothing is reserved or written.
 * A row that throws refuses with `stage_failed`. On the head pass only the first four rows are
 * asked, and no refusal means "go on reading", not "allowed".
 */
export function decide(facts: Facts): Verdict {
  const rows = facts.pass === "head" ? CHAIN.slice(0, HEAD_ROWS) : CHAIN;
  const shadow = facts.policy?.shadowStages;
  const wouldRefuse: (Refusal & { stage: number })[] = [];
  let stages = "";
  for (const row of rows) {
    const outcome = ask(row, facts);
    if (outcome === "pass" || outcome === "not_applicable") {
      stages += outcome === "pass" ? "P" : "S";
    } else if (shadow?.has(row.no) && canBeShadowed(outcome)) {
      wouldRefuse.push({ ...outcome, stage: row.no });
      stages += "D";
    } else {
      return refused(`${stages}D`, { ...outcome, stage: row.no }, wouldRefuse);
    }
  }
  const charges = facts.pass === "head" ? NO_CHARGES : chargesOf(facts);
  return { refusal: undefined, stages: stages.padEnd(CHAIN.length, "-"), wouldRefuse, charges };
}

/** What each of the 14 rows says, none left out: for people and for proposed policies. */
export function explainAll(facts: Facts): readonly RowOutcome[] {
  return CHAIN.map((row) => ask(row, facts));
}

/** A bug is no opinion, and a signed contract is not policy's to soften. */
function canBeShadowed({ reason, isBinding }: Refusal): boolean {
  return reason !== "stage_failed" && isBinding !== true;
}

function ask(row: Row, facts: Facts): RowOutcome {
  try {
    return row.check(facts);
  } catch {
    // A bug in one row must not become an allow; the record names the row.
    return { reason: "stage_failed" };
  }
}

function refused(
  stages: string,
  refusal: Refusal & { stage: number },
  wouldRefuse: Verdict["wouldRefuse"],
): Verdict {
  return { refusal, stages: stages.padEnd(CHAIN.length, "-"), wouldRefuse, charges: NO_CHARGES };
}

function chargesOf(facts: Facts): Charges {
  return { ...accountCharges(facts), buckets: bucketCharges(facts) };
}
