import { coversName } from "../authority/name-pattern.ts";
import { covers } from "../policy/pattern.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import { effectiveOf } from "./decision/stages/05-contract.ts";
import type { Asked } from "./gather.ts";
import type { Shadowed } from "./hold.ts";
import type { LoopContext } from "./loop-context.ts";
import { allowedAs } from "./loop-metrics.ts";

/** The list of models the agent may use, in its dialect. Allowed and recorded before this is called. */
export function answerLocally(
  asked: Asked,
  { facts, wouldRefuse }: { readonly facts: Facts; readonly wouldRefuse: Shadowed },
  loop: LoopContext,
): void {
  const { exchange, found, identity } = asked;
  if (isMissing(found) || isMissing(identity)) {
    throw new Error("invariant broken: an allowed request has a route and an agent");
  }
  const tookNs = loop.clock.monoNs() - exchange.headAtNs;
  loop.metrics.decided(allowedAs(wouldRefuse, tookNs));
  loop.controlLink.event({
    agentId: identity.agentId,
    requestId: facts.requestId,
    atMs: facts.nowMs,
    standing: facts.standing,
    allowed: true,
    stage: 0,
    reason: "ok",
    cause: undefined,
  });
  const body = Buffer.from(JSON.stringify(found.dialect.modelList(grantedModels(facts))));
  const { requestId, standing } = facts;
  const headers = decisionHeaders({ requestId, refusal: undefined, standing });
  exchange.answer({
    status: 200,
    headers: [
      ...headers,
      ...loop.possession.headers(asked.row),
      "content-type",
      "application/json",
    ],
    body,
  });
}

/** Granted and priced models of the dialect that was asked; names as requests use them. */
function grantedModels(facts: Facts): { name: string; provider: string }[] {
  const { policy, grant, request } = facts;
  const effective = effectiveOf(facts);
  if (policy === undefined || grant === undefined || isMissing(request)) return [];
  const listed: { name: string; provider: string }[] = [];
  for (const [key, model] of policy.models) {
    const [dialect, name] = splitOnce(key, ":");
    const usable =
      model.price !== undefined &&
      covers(grant.models, model.id) &&
      (effective === undefined || coversName(effective.models, model.id));
    if (usable && dialect === request.dialect) listed.push({ name, provider: model.provider.name });
  }
  return listed;
}

function splitOnce(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return [text.slice(0, at), text.slice(at + mark.length)];
}
