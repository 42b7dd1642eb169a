import { type Reason, stageOf } from "../proto/reasons.ts";
import { closedNow, unusableBecause } from "./closed-now.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import { passedOn } from "./dataplane/hop-headers.ts";
import { type PlainOutcome, type PlainSink, relayPlain } from "./dataplane/plain-relay.ts";
import { refusalAnswer } from "./dataplane/refusal-answer.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import type { ConnectTarget } from "./dataplane/tunnel/connect-head.ts";
import { decide } from "./decision/decide.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { UpstreamRequest } from "./decision/permit.ts";
import { resolveDestination } from "./destination.ts";
import { factsNow, letGo } from "./gather.ts";
import { type AskedPlain, gatherPlain } from "./gather-plain.ts";
import type { HeldFor, StagedRefusal } from "./hold.ts";
import { holdUnpriced } from "./hold-unpriced.ts";
import { identifyAgain } from "./identify.ts";
import type { LoopContext } from "./loop-context.ts";
import { writeEnd } from "./pass-and-settle.ts";
import { readBody } from "./read-body.ts";
import { refuse } from "./refuse.ts";
import { tellAllowed } from "./relay-and-settle.ts";
import { releaseUnsent } from "./release-unsent.ts";

/**
 * The life of a request over plain HTTP, in absolute form, to a host that is no provider's: what a
 * tunnel is, for one request.
 *
 * Nothing in it is read but its head. The name is resolved here, once; no other address is dialled.
 */
export async function enforcePlain(
  exchange: Exchange,
  to: ConnectTarget,
  loop: LoopContext,
): Promise<void> {
  const asked = await gatherPlain(exchange, to, loop);
  try {
    const atHead = factsNow(asked, loop, "head");
    const headVerdict = decide(atHead);
    if (headVerdict.refusal !== undefined) return refuse(asked, atHead, headVerdict, loop);

    await resolveDestination(asked.destination, factsNow(asked, loop, "full"), loop);
    const unread = factsNow(asked, loop, "full");
    const verdict = decide(unread);
    if (verdict.refusal !== undefined) return refuse(asked, unread, verdict, loop);

    const body = await bodyOf(asked, loop);
    // A body may take long to come; its key is looked at once more after it.
    await identifyAgain(asked, loop, asked.named);
    const held = await holdUnpriced(asked, (facts) => upstreamPlain(asked, facts, body), loop);
    if ("refused" in held) return refuse(asked, held.facts, held.refused, loop);
    if ("inspect" in held) throw new Error("invariant broken: plain HTTP is not looked into");

    await passAndSettle(asked, held, loop);
  } finally {
    letGo(asked, loop);
  }
}

const NO_BODY = Buffer.alloc(0);

/** The body within the policy's limits; why there is none becomes a fact. */
async function bodyOf(asked: AskedPlain, loop: LoopContext): Promise<Buffer> {
  const { identity } = asked;
  const { policy } = factsNow(asked, loop, "full");
  if (policy === undefined || isMissing(identity)) return NO_BODY;
  const { agentId } = identity;
  return (await readBody(asked, { agentId, limits: policy.limits }, loop)) ?? NO_BODY;
}

function upstreamPlain(
  { exchange }: AskedPlain,
  { requestId, destination }: Facts,
  body: Uint8Array,
): UpstreamRequest | StagedRefusal {
  if (destination === undefined) throw new Error("invariant broken: it has a destination");
  const { host, port, mode, addresses } = destination;
  // The host may have become a provider's since, and then it is not passed on unread.
  if (mode !== "tunnel") return { reason: "not_inspectable", stage: stageOf("not_inspectable") };
  if (addresses === undefined || isMissing(addresses)) {
    const reason = addresses?.missing ?? "name_unresolved";
    return { reason, stage: stageOf(reason), detail: host };
  }
  const { method, target, rawHeaders } = exchange.head;
  return {
    requestId,
    origin: `http://${host}:${port}`,
    method,
    path: target,
    headers: passedOn(rawHeaders, REQUEST_LEFT_OUT),
    body,
    addresses,
  };
}

/** What says of the request what is said anew: by its target, by the body that was read. */
const REQUEST_LEFT_OUT: ReadonlySet<string> = new Set(["host", "content-length", "expect"]);

async function passAndSettle(
  asked: AskedPlain,
  held: HeldFor<UpstreamRequest>,
  loop: LoopContext,
): Promise<void> {
  const { exchange, row } = asked;
  const { facts, permit } = held;
  const { policy, requestId, standing } = facts;
  if (row === undefined || policy === undefined) {
    throw new Error("invariant broken: an allowed request was judged under a policy");
  }
  tellAllowed(asked, held, loop);
  let resolve: (outcome: PlainOutcome) => void = () => {};
  const ended = new Promise<PlainOutcome>((done) => {
    resolve = done;
  });
  const sink = relayPlain({
    exchange,
    headers: decisionHeaders({ requestId, refusal: undefined, standing }),
    closedNow: () => closedNow(loop, row.row),
    refusal: (reason) => refusalAnswer({ requestId, reason }),
    onOutcome: (outcome) => resolve(outcome),
  });
  loop.forwarder.forward(permit, sink, {
    limits: policy.limits,
    refusedBecause: () => unusableBecause(loop, row.row),
  });
  const outcome = await loop.live.during(openAs(asked, sink), facts, () => ended);
  if (!outcome.sent) releaseUnsent(loop, row.row, held);
  const bytesUp = outcome.sent ? permit.request.body.length : 0;
  writeEnd(asked, facts, { ...outcome, bytesUp }, loop);
}

/** An answer may go on for as long as policy lets it, so it is judged again as a tunnel is. */
function openAs({ named, ...asked }: AskedPlain, sink: PlainSink) {
  if (isMissing(named)) throw new Error("invariant broken: what is allowed is somebody's");
  const { handle: keyHandle, isContract } = named;
  return {
    asked: { ...asked, keyHandle, isContract },
    close: (reason: Reason) => sink.close(reason),
  };
}
