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
  const isHead = facts.pass === "head";
  const rows = isHead ? HEAD : CHAIN;
  const shadow = facts.policy?.shadowStages;
  let wouldRefuse: (Refusal & { stage: number })[] | undefined;
  let said = 1;
  for (const row of rows) {
    const outcome = ask(row, facts);
    if (outcome === "pass") {
      said = 3 * said + PASSED;
    } else if (outcome === "not_applicable") {
      said = 3 * said + SKIPPED;
    } else if (shadow?.has(row.no) && canBeShadowed(outcome)) {
      wouldRefuse ??= [];
      wouldRefuse.push({ ...outcome, stage: row.no });
      said = 3 * said + DENIED;
    } else {
      const stages = stagesText(3 * said + DENIED);
      return refused(stages, { ...outcome, stage: row.no }, wouldRefuse ?? NOTHING);
    }
  }
  const charges = isHead ? NO_CHARGES : chargesOf(facts);
  return {
    refusal: undefined,
    stages: stagesText(said),
    wouldRefuse: wouldRefuse ?? NOTHING,
    charges,
  };
}

const HEAD: readonly Row[] = CHAIN.slice(0, HEAD_ROWS);
const NOTHING: Verdict["wouldRefuse"] = [];

const [PASSED, SKIPPED, DENIED] = [0, 1, 2] as const;
const LETTERS = "PSD";
/** Nearly all requests are answered alike, stage by stage: what was written once is not written again. */
const TEXTS = new Map<number, string>();
const TEXTS_KEPT_MAX = 1_024;

/** What the stages that were asked said, a letter each. @param said Digits to the base of 3, after a 1. */
function stagesText(said: number): string {
  const known = TEXTS.get(said);
  if (known !== undefined) return known;
  let text = "";
  for (let left = said; left > 1; left = Math.floor(left / 3)) {
    text = `${LETTERS.charAt(left % 3)}${text}`;
  }
  text = text.padEnd(CHAIN.length, "-");
  if (TEXTS.size < TEXTS_KEPT_MAX) TEXTS.set(said, text);
  return text;
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
  return { refusal, stages, wouldRefuse, charges: NO_CHARGES };
}

function chargesOf(facts: Facts): Charges {
  const { cost, overrunMicros } = accountCharges(facts);
  return { cost, overrunMicros, buckets: bucketCharges(facts) };
}
