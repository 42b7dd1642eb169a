import type { Reason } from "../proto/reasons.ts";
import { stageOf } from "../proto/reasons.ts";
import { closedNow, unusableBecause } from "./closed-now.ts";
import { refusalAnswer } from "./dataplane/refusal-answer.ts";
import { carry } from "./dataplane/tunnel/carry.ts";
import { dial } from "./dataplane/tunnel/dial.ts";
import type { HelloRead } from "./dataplane/tunnel/read-hello.ts";
import { cutRecord, settleRecord } from "./decision/decision-record.ts";
import type { Facts } from "./decision/facts.ts";
import type { Asked, Asker } from "./gather.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";
import { recordContext } from "./hold.ts";
import type { HeldTunnel } from "./hold-tunnel.ts";
import type { LoopContext } from "./loop-context.ts";
import { tellAllowed } from "./relay-and-settle.ts";
import { releaseUnsent } from "./release-unsent.ts";
import { tellCut } from "./settle-request.ts";

type Greeted = Extract<HelloRead, { bytes: Buffer }>;

/** Ends that nobody decided: the far side, the client, time. */
const UNDECIDED: ReadonlySet<Reason> = new Set<Reason>([
  "client_gone",
  "upstream_unreachable",
  "upstream_timeout",
  "upstream_failed",
  "tunnel_idle",
  "tunnel_expired",
]);

export function isUndecided(reason: Reason): boolean {
  return UNDECIDED.has(reason);
}

/** Carries an allowed tunnel, or ends its TLS here, and writes how it ended. Resolves after that. */
export async function passAndSettle(
  asked: AskedTunnel,
  held: HeldTunnel,
  greeted: Greeted,
  loop: LoopContext,
): Promise<void> {
  const { exchange: tunnel, row } = asked;
  const { facts } = held;
  if (row === undefined || facts.policy === undefined) {
    throw new Error("invariant broken: an allowed tunnel was judged under a policy");
  }
  tellAllowed(asked, held, loop);
  const open = { asked, close: (reason: Reason) => tunnel.close(reason) };
  if ("inspect" in held) {
    const end = await loop.live.during(open, facts, () => loop.inspection.serve(asked, greeted));
    writeEnd(asked, facts, endOf(tunnel, end.reason), loop);
    return;
  }
  const upstream = dial(held.permit);
  if (upstream === undefined) {
    settleUnopened(asked, held, unusableBecause(loop, row.row), loop);
    return;
  }
  tunnel.carryTo(upstream);
  const end = await loop.live.during(open, facts, () =>
    carry({
      tunnel,
      upstream,
      first: greeted.bytes,
      clock: loop.clock,
      limits: facts.policy?.limits ?? NO_TIME,
      closedNow: () => closedNow(loop, row.row),
    }),
  );
  writeEnd(asked, facts, endOf(tunnel, end.reason), loop);
}

const NO_TIME = { firstByteTimeoutMs: 0, idleTimeoutMs: 0, totalTimeoutMs: 0 };

/** Ends a tunnel that was allowed and of which nothing went anywhere. */
export function settleUnopened(
  asked: AskedTunnel,
  held: HeldTunnel,
  reason: Reason,
  loop: LoopContext,
): void {
  const { exchange: tunnel, row } = asked;
  const { facts } = held;
  if ("permit" in held && row !== undefined) {
    held.permit.revoke();
    releaseUnsent(loop, row.row, held);
  }
  if (reason === "client_gone") tunnel.socket.destroy();
  else tunnel.answer(refusalAnswer({ requestId: facts.requestId, reason }));
  writeEnd(asked, facts, endOf(tunnel, reason), loop);
}

/** How something ended that was passed on unread. */
type PassedEnd = {
  readonly reason: Reason | undefined;
  readonly bytesUp: number;
  readonly bytesDown: number;
};

function endOf({ bytesUp, bytesDown }: PassedBytes, reason: Reason | undefined): PassedEnd {
  return { reason, bytesUp, bytesDown };
}

type PassedBytes = Omit<PassedEnd, "reason">;

/**
 * Writes how it ended, and how much it was. Its allow may wait still for a disk that takes nothing: this then waits
 * behind it.
 */
export function writeEnd(
  asked: Asked<Asker>,
  facts: Facts,
  { reason, bytesUp: up, bytesDown: down }: PassedEnd,
  loop: LoopContext,
): void {
  const context = recordContext(asked, loop);
  const isInspected = facts.destination?.mode === "inspect";
  const inspection = isInspected
    ? { n: 0, scanned: 0, rules: 0 }
    : { n: up + down, scanned: 0, rules: 0, skipped: "tunnel" };
  const spent = { usdMicros: 0n, tokens: 0n, calls: 0n };
  try {
    if (reason !== undefined && !isUndecided(reason)) {
      loop.log.appendSoon(
        cutRecord(facts, { stage: stageOf(reason), reason, rule: undefined }, context),
      );
      // What passes unread breaks no rule: it ends for what changed under it.
      tellCut(asked, facts, { reason, cause: undefined }, loop);
    }
    const end = { reason: reason ?? "ok", spent, overrunMicros: 0n, inspection };
    loop.log.appendSoon(settleRecord(facts, { ...end, bytes: { up, down } }, context));
  } catch (error) {
    // Both legs are closed; the log reports its own fault and stops further allows.
    loop.metrics.recordLost(error);
  }
}
