import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Reason } from "../proto/reasons.ts";
import { type AtOnce, andThen } from "./at-once.ts";
import { encodingOf } from "./dataplane/content-encoding.ts";
import type { ReadRequest } from "./dataplane/dialects/dialect.ts";
import { withPathNames } from "./dataplane/dialects/path-names.ts";
import { type FoundRoute, findRoute } from "./dataplane/dialects/registry.ts";
import type { Exchange } from "./dataplane/exchange.ts";
import type { ReadBody } from "./dataplane/inspect-body.ts";
import { bulkBytes, type JudgedBody } from "./dataplane/judged-body.ts";
import type { ToolOffer } from "./dataplane/tool-offer.ts";
import type {
  CostFacts,
  Facts,
  Identity,
  Missing,
  RequestFacts,
  ScanFacts,
} from "./decision/facts.ts";
import { isMissing } from "./decision/facts.ts";
import { killedScopeOf } from "./decision/stages/03-kill.ts";
import { effectiveOf } from "./decision/stages/05-contract.ts";
import { isRateLent } from "./decision/stages/13-rate.ts";
import { destinationNow, routeWithin, type WantedDestination, wantedBy } from "./destination.ts";
import { bodyHeadersObjection } from "./head-body.ts";
import { contractOf, identify, identifyAgain, withinValidity } from "./identify.ts";
import type { LoopContext } from "./loop-context.ts";
import { sessionOf } from "./mcp-session.ts";
import { namedKey } from "./named-key.ts";
import { outputLimit } from "./pricing/output-limit.ts";
import { priceOf, trustedPrice } from "./pricing/price-of.ts";
import { type Request as PricedRequest, worstCase } from "./pricing/worst-case.ts";
import { readBody } from "./read-body.ts";
import { gatherDelegation } from "./read-delegation.ts";
import { sessionObjection } from "./session-objection.ts";
import { rateSharesOf } from "./table/rate-share.ts";
import { unpin } from "./table/rows.ts";
import { killedBy } from "./table/scope-cells.ts";
import { standingOf } from "./table/standing.ts";
import { isFresh, policyVersion, type Table } from "./table/table.ts";
import type { RowGrant } from "./thread-messages.ts";

/** Whoever asks, as far as a decision needs it: an exchange, or a tunnel that is to be opened. */
export type Asker = Pick<
  Exchange,
  "requestId" | "door" | "head" | "headAtNs" | "claim" | "answer"
> &
  Partial<Pick<Exchange, "via" | "onUnread">>;

/** What is known of a request beside its facts: where its bytes are, and which row pays for it. */
export type Asked<E extends Asker = Exchange> = {
  readonly exchange: E;
  /** Where it wants to go, unless it came to the gateway. */
  readonly destination?: WantedDestination | undefined;
  readonly found: FoundRoute | Missing;
  readonly clientRequestId: string | undefined;
  /** The row that is pinned for this request, until `letGo`. */
  row: RowGrant | undefined;
  /** SHA-256 of the key that was presented, hexadecimal; absent where none counts. */
  readonly keySha256?: string | undefined;
  identity: Identity | Missing;
  /** Present once the body was read and understood. */
  read?: ReadRequest;
  body?: JudgedBody;
  /** UTF-8 bytes of the body as it goes upstream, at most. */
  bodyBytes: number;
  /** Why the body was given up before it was read, where a later row than the first tells it. */
  unread?: Reason;
  /** Output limit that the request was lowered to because more cannot be paid, tokens. */
  outputTokensMax?: number;
  /** The id of its session at an MCP server, as that server gave it. */
  readonly session?: string | undefined;
  /** What is to be delegated, where that is what is asked. */
  delegation?: NonNullable<Facts["delegation"]>;
  scan: ScanFacts | Missing;
  /** The rules that the body was scanned with. */
  scannedWith?: CompiledPolicy["content"];
  request: RequestFacts | Missing;
};

const NOT_SCANNED: ScanFacts = { hits: [], scannedBytes: 0, complete: true };

/** What the head alone says. Claims the exchange for its agent before any cell is read. */
export function gatherHead(exchange: Exchange, loop: LoopContext): AtOnce<Asked> {
  const { head } = exchange;
  const destination = wantedBy(exchange);
  const found =
    destination === undefined
      ? findRoute(head.method, head.target, head.rawHeaders)
      : routeWithin(destination, head, loop.policyOf(policyVersion(loop.table)));
  const named = namedKey(exchange);
  return andThen(identify(exchange, named, loop), ({ identity, row }) => {
    const session = sessionOf(head, found, identity, loop);
    return {
      exchange,
      session: session === undefined || isMissing(session) ? undefined : session.id,
      destination,
      found,
      clientRequestId: headerOf(head.rawHeaders, "x-request-id"),
      row,
      keySha256: isMissing(named) ? undefined : named.handle,
      identity,
      bodyBytes: 0,
      scan: NOT_SCANNED,
      request: isMissing(found) ? found : requestByHead(exchange, found, session),
    };
  });
}

function requestByHead(
  exchange: Exchange,
  found: FoundRoute,
  session: ReturnType<typeof sessionOf>,
): RequestFacts | Missing {
  const objection =
    sessionObjection(exchange, found.route) ?? bodyHeadersObjection(exchange.head, found.route);
  if (objection !== undefined) return objection;
  return session !== undefined && isMissing(session) ? session : headRequest(found);
}

/** Unpins the row. Nothing of the request may touch the table afterwards. */
export function letGo(asked: Asked<Asker>, loop: LoopContext): void {
  if (asked.row !== undefined) unpin(loop.table, loop.loop, asked.row.row);
}

/**
 * The facts as they stand in this instant: cells, policy, price. Synchronous, so that what `decide`
 * sees is one moment; called again after every wait.
 */
export function factsNow(asked: Asked<Asker>, loop: LoopContext, pass: Facts["pass"]): Facts {
  const { exchange, row } = asked;
  const { table } = loop;
  const nowMs = loop.clock.nowMs();
  const nowNs = loop.clock.monoNs();
  const identity = withinValidity(asked, nowMs);
  const policy =
    asked.unread === "policy_missing" ? undefined : loop.policyOf(policyVersion(table));
  const grant = isMissing(identity) ? undefined : policy?.agents.get(identity.agentId);
  const model = pass === "full" ? modelOf(asked, policy) : undefined;
  const wanted = asked.destination;
  const destination = wanted && destinationNow(wanted, { policy, loop, pass });
  return {
    requestId: exchange.requestId,
    door: exchange.door,
    nowMs,
    pass,
    request: asked.request,
    identity,
    destination,
    kill: killFacts(asked, table, nowNs),
    standing: row === undefined ? "normal" : standingOf(table, row.row),
    rateShares: rateShareFact(row, grant, table, nowNs),
    policy,
    grant,
    contract: contractOf(asked),
    delegation: asked.delegation,
    model,
    nodeRegion: loop.region,
    node: loop.node,
    scan: asked.scan,
    cost: pass === "full" ? costOf(asked, loop, { model, grant, policy }) : undefined,
    openConnections: isMissing(identity) ? 0 : loop.connections.countOf(identity.agentId),
    draining: loop.isDraining() && !isCarriedOn(asked, destination),
  };
}

/**
 * A captured connection was accepted here, so no other process will: a client that may be held up by whatever holds up this node would be
 * refused for a change that it knows nothing of, and read that as the far side's word. Where its TLS would end here, nobody
 * serves what is within by now, and a refusal is the better word than an allow and a reset.
 */
function isCarriedOn({ exchange, destination }: Asked<Asker>, now: Facts["destination"]): boolean {
  const isConnection = exchange.door === "transparent" && destination?.as === "connection";
  return isConnection && now?.mode !== "inspect";
}

/**
 * Reads the body within the policy's limits, parses and scans it. Changes `asked` in place.
 *
 * A body may take long to come, so what the head said of its key is looked at once more after it.
 */
export function gatherBody(asked: Asked, loop: LoopContext): AtOnce<void> {
  const { found } = asked;
  const isDelegation = !isMissing(found) && found.route.kind === "delegate";
  const read = isDelegation ? gatherDelegation(asked, loop) : gatherGenerate(asked, loop);
  return andThen(read, () => identifyAgain(asked, loop));
}

function gatherGenerate(asked: Asked, loop: LoopContext): AtOnce<void> {
  const { found, identity } = asked;
  const policy = loop.policyOf(policyVersion(loop.table));
  if (isMissing(found) || isMissing(identity) || found.route.kind !== "generate") return;
  if (policy === undefined) {
    // One may come into force before the chain is asked; this body was not judged under it.
    asked.unread = "policy_missing";
    return;
  }
  if (found.route.bodyless) return takeBodyless(asked, found, policy);
  const { agentId } = identity;
  const read = readBody(asked, { agentId, limits: policy.limits }, loop);
  return andThen(read, (body) => {
    if (body === undefined) return undefined;
    return inspectBody(asked, { body, found, agentId, before: policy }, loop);
  });
}

/** A request that says all in its head: there is nothing to scan. */
function takeBodyless(asked: Asked, found: FoundRoute, policy: CompiledPolicy): void {
  const { dialect, route } = found;
  const read = dialect.read(route, {});
  // Of what will be said in a session nothing is known.
  if (route.isSession) asked.scan = { ...NOT_SCANNED, complete: false };
  if (isMissing(read)) throw new Error("invariant broken: a route without a body is readable");
  asked.scannedWith = policy.content;
  take(asked, found, { read, body: { head: {}, bulk: NO_BYTES } }, 0);
}

const NO_BYTES = new Uint8Array(0);

/** Scans with the rules in force now: others may have come while the body did. */
function inspectBody(
  asked: Asked,
  of: {
    readonly body: Buffer;
    readonly found: FoundRoute;
    readonly agentId: string;
    readonly before: CompiledPolicy;
  },
  loop: LoopContext,
): AtOnce<void> {
  const { body, found, agentId } = of;
  const { dialect, route } = found;
  const policy = loop.policyOf(policyVersion(loop.table)) ?? of.before;
  // The body's memory may be another thread's once it is inspected.
  const bodyBytes = body.length;
  const offer = toolOffer(asked, policy, agentId);
  const encoding = encodingOf(asked.exchange.head.rawHeaders);
  if (typeof encoding === "object") throw new Error("invariant broken: the head was not refused");
  const request = { agentId, body, dialect, route, policy, offer, encoding };
  return andThen(loop.inspector.inspect(request), (seen) => {
    asked.scan = seen.scan;
    asked.scannedWith = policy.content;
    if ("missing" in seen.request) asked.request = seen.request;
    else take(asked, found, seen.request, bodyBytes);
  });
}

const TOOL_STAGE = 10;

/** What may be offered, for an agent whose requests go without what may not. */
function toolOffer(asked: Asked, policy: CompiledPolicy, agentId: string): ToolOffer | undefined {
  const grant = policy.agents.get(agentId);
  // In shadow the stage leaves requests as they are.
  if (grant?.filtersTools !== true || policy.shadowStages.has(TOOL_STAGE)) return undefined;
  const effective = effectiveOf({ contract: contractOf(asked) });
  const offer = { verbs: policy.tools.verbs, granted: grant.tools };
  return effective === undefined ? offer : { ...offer, contract: effective.tools };
}

/** Makes a request's members facts. @param cameBytes How long its body was, as it came. */
function take(asked: Asked, found: FoundRoute, of: ReadBody, cameBytes: number): void {
  const { body: judged, bodyBytes = cameBytes, toolsOut } = of;
  const read = withPathNames(of.read, found);
  asked.read = read;
  // Before it is judged: word of a quarantine that comes after that finds it marked.
  const usesTools = read.tools.length > 0 || read.openEnded === true;
  if (read.stream && usesTools) asked.exchange.markToolStream();
  asked.body = judged;
  asked.bodyBytes = Math.max(bodyBytes, judgedBytes(judged));
  const request = {
    ...headRequest(found),
    stream: read.stream,
    bodyBytes,
    model: read.model,
    tools: read.tools,
    unpricedParameter: read.unpricedParameter,
  };
  asked.request = toolsOut === undefined ? request : { ...request, toolsOut };
}

/** What policy gives an agent its team, its contracts and several nodes share. */
function rateShareFact(
  row: RowGrant | undefined,
  grant: Facts["grant"],
  table: Table,
  nowNs: bigint,
): Facts["rateShares"] {
  if (row === undefined || grant === undefined) return undefined;
  if (!isRateLent(grant.rate, row.contract !== undefined)) return undefined;
  return rateSharesOf(table, row.row, nowNs);
}

function killFacts({ row, unread }: Asked<Asker>, table: Table, nowNs: bigint): Facts["kill"] {
  const now = row === undefined ? undefined : killedBy(table, row.row);
  return {
    killedBy: now ?? killedScopeOf(unread),
    fresh: isFresh(table, nowNs) && unread !== "mesh_stale",
  };
}

function headRequest(found: FoundRoute): RequestFacts {
  const request = {
    route: found.route.id,
    dialect: found.dialect.family,
    method: found.route.method,
    stream: false,
    bodyBytes: 0,
    model: undefined,
    tools: NO_TOOLS,
    unpricedParameter: undefined,
  };
  return found.route.isSession ? { ...request, isSession: true } : request;
}

const NO_TOOLS: RequestFacts["tools"] = [];

function modelOf(asked: Asked<Asker>, policy: CompiledPolicy | undefined): Facts["model"] {
  if (asked.read === undefined || isMissing(asked.found)) return undefined;
  const name = asked.read.model;
  const model = policy?.models.get(`${asked.found.dialect.family}:${name}`);
  return model ?? { missing: "model_unknown", detail: name.slice(0, 128) };
}

function costOf(
  asked: Asked<Asker>,
  loop: LoopContext,
  of: Pick<Facts, "model" | "grant" | "policy">,
): CostFacts | Missing | undefined {
  const { model, policy } = of;
  if (asked.read === undefined || model === undefined || isMissing(model)) return undefined;
  // Whatever the stages say of such a scan, it was another policy's.
  if (!isScannedWith(asked.scannedWith, policy?.content)) return { missing: "policy_changed" };
  const priced = pricedRequest(asked, loop, of);
  if (priced === undefined) return { missing: "price_unknown", detail: model.id };
  const { request, isSet } = priced;
  const bound = worstCase(request);
  return {
    worst: bound.cost,
    overrunMicros: bound.overrunMicros,
    outputTokensSet: isSet ? request.maxOutputTokens : undefined,
  };
}

/** Two policies may have the same rules; they are compared in full only when a policy has moved. */
function isScannedWith(one: Asked["scannedWith"], other: Asked["scannedWith"]): boolean {
  if (one === other) return true;
  return one !== undefined && other !== undefined && textOf(one) === textOf(other);
}

/** Everything that is open asks for it when a policy has moved, so it is written once. */
const RULE_TEXTS = new WeakMap<CompiledPolicy["content"], string>();

function textOf(rules: CompiledPolicy["content"]): string {
  const text = RULE_TEXTS.get(rules) ?? JSON.stringify(rules);
  RULE_TEXTS.set(rules, text);
  return text;
}

/**
 * The request as pricing reads it; undefined where there is no price. `isSet`: its output limit is
 * not its own.
 */
export function pricedRequest(
  asked: Asked<Asker>,
  loop: LoopContext,
  { model, grant }: Pick<Facts, "model" | "grant">,
): { readonly request: PricedRequest; readonly isSet: boolean } | undefined {
  const { read, outputTokensMax } = asked;
  if (read === undefined || model === undefined || isMissing(model)) return undefined;
  if (model.price === undefined) return undefined;
  const limit = outputLimit({
    requested: read.maxOutputTokens,
    model,
    grant: grant ?? { maxOutputTokensDefault: undefined },
  });
  const isLowered = outputTokensMax !== undefined && outputTokensMax < limit.tokens;
  const request = {
    price: trustedPrice(priceOf(read, model.price), loop.controlLink.distrustMilli(model.id)),
    inputBytes: read.unbilled ? 0 : asked.bodyBytes,
    messages: read.messages,
    tools: read.tools.length,
    n: read.choices,
    maxOutputTokens: isLowered ? outputTokensMax : limit.tokens,
  };
  return { request, isSet: limit.set || isLowered };
}

/** What is set in a body on its way upstream: the model's other name, limits, usage asked for. */
const SETTINGS_BYTES_MAX = 512;

function judgedBytes(body: JudgedBody): number {
  return Buffer.byteLength(JSON.stringify(body.head)) + bulkBytes(body) + SETTINGS_BYTES_MAX;
}

function headerOf(rawHeaders: readonly string[], wanted: string): string | undefined {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === wanted) return rawHeaders[i + 1];
  }
  return undefined;
}
