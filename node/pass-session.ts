import type { Reason } from "../proto/reasons.ts";
import { closedNow, unusableBecause } from "./closed-now.ts";
import type { Outcome } from "./dataplane/client-leg.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import { carry } from "./dataplane/tunnel/carry.ts";
import type { SessionExchange } from "./dataplane/tunnel/session-exchange.ts";
import { agreedHeaders } from "./dataplane/tunnel/web-socket-handshake.ts";
import type { Upgraded } from "./dataplane/upgrade.ts";
import type { Asked } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import { brokenOff, openHold } from "./open-hold.ts";
import { isUndecided } from "./pass-and-settle.ts";
import { type Allowed, tellAllowed } from "./relay-and-settle.ts";
import { responseRefusal } from "./relayed-answer.ts";
import { settleRequest } from "./settle-request.ts";

/**
 * Opens an allowed session, carries it unread, and settles: it costs what policy says that one does,
 * whatever is said in it, unless the provider has refused to open it. Resolves when all of that is over.
 */
export async function passSession(
  asked: Asked,
  session: SessionExchange,
  allowed: Allowed,
  loop: LoopContext,
): Promise<void> {
  const opensMs = allowed.facts.policy?.limits.firstByteTimeoutMs;
  const endHold = openHold(asked, allowed, loop, opensMs);
  session.setHeld(allowed.reserved.taken);
  tellAllowed(asked, allowed, loop);
  let outcome: Outcome;
  try {
    outcome = await carried(asked, session, allowed, loop);
  } catch (error) {
    // A bug of ours must not leave money held that nobody will ever give back.
    if (endHold()) settleRequest(asked, allowed, brokenOff(!allowed.permit.revoke()), loop);
    throw error;
  }
  if (endHold()) settleRequest(asked, allowed, outcome, loop);
}

async function carried(
  asked: Asked,
  session: SessionExchange,
  allowed: Allowed,
  loop: LoopContext,
): Promise<Outcome> {
  const { facts, permit } = allowed;
  const { row } = asked;
  const { policy, requestId, standing } = facts;
  if (row === undefined || policy === undefined) {
    throw new Error("invariant broken: an allowed session was judged under a policy");
  }
  let unwatch = (): void => {};
  const upgraded = await loop.forwarder.upgrade(permit, {
    limits: policy.limits,
    refusedBecause: () => unusableBecause(loop, row.row),
    agreed: (answered) => agreedHeaders(permit.request.headers, answered),
    onBegin: (abort) => {
      session.onCut(abort);
      session.onClosed(abort);
      unwatch = session.watchClient(abort);
    },
  });
  unwatch();
  if ("reason" in upgraded) return unopened(asked, session, allowed, upgraded);
  const { socket, headers } = upgraded;
  session.establish([...headers, ...decisionHeaders({ requestId, refusal: undefined, standing })]);
  session.carryTo(socket);
  let isWithdrawn: true | undefined;
  const live = {
    asked: { ...asked, keyHandle: asked.keySha256, isContract: row.contractId !== undefined },
    origin: permit.request.origin,
    close: (reason: Reason) => {
      isWithdrawn = true;
      session.close(reason);
    },
  };
  const { reason } = await loop.live.during(live, facts, () =>
    carry({
      tunnel: session,
      upstream: socket,
      first: session.takeFirst(),
      clock: loop.clock,
      endsTogether: true,
      limits: policy.limits,
      closedNow: () => closedNow(loop, row.row),
    }),
  );
  const end = endOf(session, reason, true);
  return isWithdrawn === undefined ? end : { ...end, isWithdrawn };
}

/** The far side cannot be had, or may not any more: the client is told over HTTP. */
function unopened(
  asked: Asked,
  session: SessionExchange,
  { facts }: Allowed,
  { reason, sent, isRefused }: Extract<Upgraded, { reason: Reason }>,
): Outcome {
  const why = session.cutReason ?? reason;
  const answer = responseRefusal(asked, facts, why, undefined);
  if (why === "client_gone") session.reset();
  else session.answer(answer);
  const end = endOf(session, why, sent);
  return isRefused === undefined ? end : { ...end, isUnopened: true };
}

function endOf(session: SessionExchange, reason: Reason | undefined, sent: boolean): Outcome {
  return {
    kind: reason === undefined ? "done" : isUndecided(reason) ? "upstream_failed" : "cut",
    reason,
    rule: undefined,
    usage: undefined,
    bytes: { up: session.bytesUp, down: session.bytesDown },
    outputTextBytes: 0,
    scannedBytes: 0,
    hits: [],
    status: 0,
    sent,
  };
}
