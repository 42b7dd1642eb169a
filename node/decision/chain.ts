import type { Facts } from "./facts.ts";
import { checkRequest } from "./stages/01-request.ts";
import { checkIdentity } from "./stages/02-identity.ts";
import { checkKill } from "./stages/03-kill.ts";
import { checkStanding } from "./stages/04-standing.ts";
import { checkContract } from "./stages/05-contract.ts";
import { checkTime } from "./stages/06-time.ts";
import { checkGeography } from "./stages/07-geography.ts";
import { checkDestination } from "./stages/08-destination.ts";
import { checkModel } from "./stages/09-model.ts";
import { checkTool } from "./stages/10-tool.ts";
import { checkClassification } from "./stages/11-classification.ts";
import { checkContent } from "./stages/12-content.ts";
import { checkRate } from "./stages/13-rate.ts";
import { checkBudget } from "./stages/14-budget.ts";
import type { RowOutcome } from "./verdict.ts";

/** One question of the chain. `check` is synchronous and pure: facts in, an outcome out. */
export type Row = {
  readonly no: number;
  readonly name: string;
  readonly asks: string;
  readonly check: (facts: Facts) => RowOutcome;
};

/**
 * The decision chain: every request is put to these fourteen questions in this order, and the first
 * that objects decides.
 *
 * Order is behaviour: it decides which reason a caller sees. Cheap and absolute questions stand
 * first; what is consumed (rate, money) stands last, so that a refusal has nothing to give back.
 * The head of a request meets rows 1 to 4 before its body is read.
 */
export const CHAIN = [
  { no: 1, name: "request", asks: "Can we read it?", check: checkRequest },
  { no: 2, name: "identity", asks: "Which agent is this?", check: checkIdentity },
  { no: 3, name: "kill", asks: "Is anything here killed, or might it be?", check: checkKill },
  { no: 4, name: "standing", asks: "Where does the agent stand?", check: checkStanding },
  { no: 5, name: "contract", asks: "Has it been granted authority?", check: checkContract },
  { no: 6, name: "time", asks: "Is it within its hours?", check: checkTime },
  { no: 7, name: "geography", asks: "May data go from here to there?", check: checkGeography },
  { no: 8, name: "destination", asks: "May it talk to this host?", check: checkDestination },
  { no: 9, name: "model", asks: "May it use this model?", check: checkModel },
  { no: 10, name: "tool", asks: "May it offer these tools?", check: checkTool },
  { no: 11, name: "classification", asks: "Is this data cleared?", check: checkClassification },
  { no: 12, name: "content", asks: "Does the content break a rule?", check: checkContent },
  { no: 13, name: "rate", asks: "Is it too fast?", check: checkRate },
  { no: 14, name: "budget", asks: "Can its worst case be held?", check: checkBudget },
] as const satisfies FourteenRows;

/** Rows that a request's head is put to while its body is unread. */
export const HEAD_ROWS = 4;

type FourteenRows = readonly [Row, Row, Row, Row, Row, Row, Row, Row, Row, Row, Row, Row, Row, Row];

/** The stage's name as it stands in headers and metrics. */
export function stageName(no: number): string {
  return CHAIN[no - 1]?.name ?? "none";
}
