import { allConverge } from "./all-converge.ts";
import { contractMoneyMoves } from "./contract-money-moves.ts";
import { contractWithinGrant } from "./contract-within-grant.ts";
import { distrustIsShared } from "./distrust-is-shared.ts";
import { durableKillSurvives } from "./durable-kill-survives.ts";
import { grantsInJournal } from "./grants-in-journal.ts";
import { killIsContained } from "./kill-is-contained.ts";
import { leaseRules } from "./lease-rules.ts";
import { noBugIsMet } from "./no-bug-is-met.ts";
import { noKillIsLost } from "./no-kill-is-lost.ts";
import { noPhantomDenial } from "./no-phantom-denial.ts";
import { noSendAfterAckedKill } from "./no-send-after-acked-kill.ts";
import { nothingLeaks } from "./nothing-leaks.ts";
import { oneDecisionOneSettle } from "./one-decision-one-settle.ts";
import { opensWithEqualState } from "./opens-with-equal-state.ts";
import type { Oracle } from "./oracle.ts";
import { rateWithinLimit } from "./rate-within-limit.ts";
import { reviveIsCommitted } from "./revive-is-committed.ts";
import { revokedCommitsNothing } from "./revoked-commits-nothing.ts";
import { spendWithinBudget } from "./spend-within-budget.ts";
import { spentWithinGranted } from "./spent-within-granted.ts";
import { versionsNeverFall } from "./versions-never-fall.ts";

/** Every rule that every run is judged by. */
export const ORACLES: readonly Oracle[] = [
  noBugIsMet,
  spendWithinBudget,
  spentWithinGranted,
  grantsInJournal,
  contractWithinGrant,
  contractMoneyMoves,
  revokedCommitsNothing,
  leaseRules,
  rateWithinLimit,
  oneDecisionOneSettle,
  noSendAfterAckedKill,
  durableKillSurvives,
  versionsNeverFall,
  reviveIsCommitted,
  killIsContained,
  noKillIsLost,
  opensWithEqualState,
  allConverge,
  nothingLeaks,
  distrustIsShared,
  noPhantomDenial,
];
