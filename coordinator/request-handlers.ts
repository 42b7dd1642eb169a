import { create, fromBinary } from "@bufbuild/protobuf";
import { parseVkey } from "../audit/signed-note.ts";
import type { MeshRecord } from "../mesh/record.ts";
import { LADDER_CAUSES } from "../policy/compiled-policy.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import {
  EnrolReplySchema,
  FetchReplySchema,
  type FetchRequest,
  type LeaseReply,
  type LeaseRequest,
  NonceReplySchema,
  type SettleReply,
  type SettleRequest,
  Standing,
  StandingReplySchema,
  type StandingRequest,
  StateReplySchema,
  WitnessReplySchema,
  type WitnessRequest,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import { SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { isAccount, parseAgentId, parseScope } from "../proto/ids.ts";
import { accountNews, newsWith } from "./account-news.ts";
import { readAmounts, writeAmounts, writeUnit } from "./amounts.ts";
import type { ArchiveDoor } from "./archive/archive-door.ts";
import type { ArchiveLink } from "./archive/archive-link.ts";
import { certify, type NodeCertifier } from "./certify.ts";
import { CommandRefused } from "./command-refused.ts";
import type { Commands } from "./commands.ts";
import { contractHandlers } from "./contract-calls.ts";
import type { Contracts } from "./contracts.ts";
import { differences } from "./differences.ts";
import type { Distrusts } from "./distrusts.ts";
import type { Enrolment } from "./enrolment.ts";
import type { Tell } from "./events.ts";
import type { Barred } from "./ledger.ts";
import { type AccountRows, LedgerFault } from "./ledger-actor.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import {
  type ReplyBody,
  type RequestFrom,
  type RequestHandlers,
  refusedBody,
} from "./node-requests.ts";
import type { Placement } from "./placement.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import type { RateDoor } from "./rate-door.ts";
import type { RateGate } from "./rate-gate.ts";
import { recordsPage, STATE_PAGE_COUNT } from "./records-page.ts";
import type { Registry } from "./registry.ts";
import type { ReplayGuard } from "./replay-guard.ts";
import type { Replica } from "./replica.ts";
import type { Standings } from "./standings.ts";
import type { SyncPace } from "./sync-pace.ts";
import type { Witness } from "./witness.ts";

export type RequestHandlersOptions = {
  readonly replicaId: string;
  readonly bootId: string;
  /** This process's clock as its digests show it, whole ms. */
  readonly beatMonoMs: () => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly replica: Replica;
  readonly policy: Pick<PolicyInHand, "now">;
  readonly registry: Registry;
  readonly ledger: LedgerDoor;
  readonly commands: Commands;
  readonly enrolment: Enrolment;
  readonly contracts: Contracts;
  readonly distrusts: Distrusts;
  readonly rates: RateDoor;
  readonly standings: Standings;
  readonly witness: Witness;
  /** What witnesses outside of the mesh have cosigned of a log. */
  readonly witnessedOf: ArchiveLink["witnessed"];
  readonly archive: ArchiveDoor;
  readonly placement: Placement;
  readonly certifier?: NodeCertifier;
  /** Automatic kills by node. */
  readonly autoKills: RateGate;
  /** What of the state each node is told. */
  readonly syncs: SyncPace;
  readonly tell: Tell;
  /** Tells reports of nodes from recordings of them. */
  readonly replays: ReplayGuard;
};

const NONCE_BYTES_MAX = 64;
const FETCH_BYTES_MAX = 256 * 1024;

/** How each request of a node is answered. */
export function requestHandlers(options: RequestHandlersOptions): RequestHandlers {
  return {
    nonce: ({ nonce }) => {
      if (nonce.length === 0 || nonce.length > NONCE_BYTES_MAX) return malformed("nonce");
      const { replicaId: replica, bootId } = options;
      const value = { nonce, replica, bootId, monoMs: BigInt(options.beatMonoMs()) };
      return { case: "nonce", value: create(NonceReplySchema, value) };
    },
    lease: (request, from) => lease(options, request, from),
    settle: (request, from) => settle(options, request, from),
    standing: (request, from) => standing(options, request, from),
    ...contractHandlers(options.contracts),
    witness: (request, { node }) => witness(options, node, request),
    ship: (request, { node }) => options.archive.ship(request, node),
    fetch: (request) => fetchBody(options, request),
    state: ({ afterScope }, { node }) => paced(options, node, () => statePage(options, afterScope)),
    sync: (request, { node }) =>
      paced(options, node, () =>
        differences(options.replica.state, request, isTold(options.replica)),
      ),
    rate: (request, from) => options.rates.ask(request, from),
    distrust: (request, from) => options.distrusts.raise(request, from),
    certify: (request, { node }) => certify(options, request, node),
    enrol: async (request, { node }) => {
      const answer = await options.enrolment.enrol(node, request);
      if ("refused" in answer) return refusedBody(answer.refused, `node ${node} is not enrolled`);
      const record = fromBinary(SignedRecordSchema, answer.record);
      return { case: "enrol", value: create(EnrolReplySchema, { record }) };
    },
  };
}

/** A store that fails rejects, and then nothing was cosigned. */
async function witness(
  options: RequestHandlersOptions,
  node: string,
  { vkey, body, witnessedSize }: WitnessRequest,
): Promise<ReplyBody> {
  const said = await options.witness.add(node, vkey, body);
  const key = parseVkey(vkey);
  const isOurs = said.status === 200 && key.ok;
  const seen = isOurs ? options.witnessedOf(key.value.name) : undefined;
  const witnessed = seen && BigInt(seen.size) > witnessedSize ? seen.note : "";
  const value = create(WitnessReplySchema, { ...said, vkey: options.witness.vkey, witnessed });
  return { case: "witness", value };
}

async function lease(
  options: RequestHandlersOptions,
  request: LeaseRequest,
  from: RequestFrom,
): Promise<ReplyBody> {
  const { account } = request;
  const need = readAmounts(request.need);
  const want = readAmounts(request.want);
  if (!need || !want || !isLeasable(account)) return malformed("account or amounts");
  if (!options.registry.isCurrentBoot(from.node, from.bootId)) {
    return refusedBody("boot_ended", `${from.bootId} of ${from.node} has ended`);
  }
  // Agents' questions of one batch are one commit: nothing is waited for between them.
  const isContract = account.startsWith("contract/");
  const barred = isContract
    ? await options.contracts.barred(account)
    : barredBy(options, account, from.node);
  const ask = { ...from, account, need, want, ...(barred && { barred }) };
  const answer = await orUnavailable(options.ledger.lease(ask));
  if ("refused" in answer) {
    if (OF_LIMITS.has(answer.refused) && isBehind(options, request)) {
      return refusedBody("policy_unread", `policy ${request.policyV} is not read here`);
    }
    const fits = "available" in answer ? answer : {};
    return refusedBody(answer.refused, answer.message, fits);
  }
  const value: LeaseReply = {
    $typeName: "altrace.v1.LeaseReply",
    leaseId: answer.leaseId,
    epoch: BigInt(answer.epoch),
    account,
    amount: writeAmounts(answer.amount),
    ttlMs: BigInt(answer.ttlMs),
    unlimited: answer.unlimited.map(writeUnit),
    ...newsOf(options, answer.rows, { account, node: from.node }),
  };
  return { case: "lease", value };
}

/** Noes that another policy may make a yes of. */
const OF_LIMITS = new Set(["budget_exhausted", "overrun_exhausted", "account_unknown"]);

/** Whether the node has a policy in force of which this coordinator has at most heard. */
function isBehind({ policy }: RequestHandlersOptions, { policyV }: LeaseRequest): boolean {
  return BigInt(policy.now?.v ?? 0) < policyV;
}

/** Teams lend through their agents alone. */
function isLeasable(account: string): boolean {
  return isAccount(account) && parseScope(account)?.kind !== "team";
}

/** Placement and kills; money is the ledger's. */
function barredBy(
  { replica, placement }: RequestHandlersOptions,
  account: string,
  node: string,
): Barred | undefined {
  const scope = parseScope(account);
  if (scope?.kind !== "agent") return undefined;
  if (!placement.isPlaced(node, account)) return notPlaced(account, node);
  const [kill] = replica.state.killsFor(`${scope.team}/${scope.agent}`);
  return kill && { refused: `killed_${kill.parsed.kind}`, message: kill.scope };
}

function notPlaced(account: string, node: string): Barred {
  return { refused: "not_placed", message: `${account} is not placed on ${node}` };
}

function newsOf(
  { standings, clock }: RequestHandlersOptions,
  rows: AccountRows["rows"],
  { account, node }: { readonly account: string; readonly node: string },
) {
  const news = newsWith({ standings, nowMs: clock.nowMs() }, rows, account, node);
  return news === undefined ? {} : { news };
}

async function settle(
  options: RequestHandlersOptions,
  request: SettleRequest,
  { node }: RequestFrom,
): Promise<ReplyBody> {
  const { ledger, placement, tell } = options;
  const spent = readAmounts(request.spent);
  const keep = request.keep && readAmounts(request.keep);
  const isRead = spent !== undefined && (keep !== undefined || request.keep === undefined);
  if (!isRead || request.epoch > BigInt(Number.MAX_SAFE_INTEGER)) return malformed("amounts");
  const { leaseId, final } = request;
  const epoch = Number(request.epoch);
  const isPlaced = (account: string) => placement.isPlaced(node, account);
  const ask = { node, leaseId, epoch, spent, final, keep, isPlaced };
  const answer = await orUnavailable(ledger.settle(ask));
  if ("refused" in answer) {
    tell("request_refused", { node, lease: leaseId, reason: answer.refused });
    return refusedBody(answer.refused, answer.message);
  }
  const { account } = answer;
  const value: SettleReply = {
    $typeName: "altrace.v1.SettleReply",
    spent: writeAmounts(answer.spent),
    final: answer.final,
    account,
    ...newsOf(options, answer.rows, { account, node }),
  };
  return { case: "settle", value };
}

/** A ledger that cannot be written lends nothing; the node may ask again. */
async function orUnavailable<T>(answer: Promise<T>) {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof LedgerFault)) throw error;
    return { refused: "budget_unavailable" as const, message: "the ledger cannot be written now" };
  }
}

async function standing(
  options: RequestHandlersOptions,
  request: StandingRequest,
  { node, bootId, requestId }: RequestFrom,
): Promise<ReplyBody> {
  const { replica, standings, placement, registry, replays, ledger, clock } = options;
  const { agent, standing: level, cause } = request;
  const isLevel = level >= Standing.NORMAL && level <= Standing.BLOCK;
  if (!parseAgentId(agent) || !isLevel) return malformed("agent or standing");
  if (!placement.isPlaced(node, `agent/${agent}`)) {
    return refusedBody("not_placed", `${agent} is not placed on ${node}`);
  }
  // A recording of an earlier report would lower a standing, or kill again what was revived.
  if (!registry.isCurrentBoot(node, bootId)) {
    return refusedBody("boot_ended", `${bootId} of ${node} has ended`);
  }
  if (!replays.pass(`${node} ${agent}`, requestId)) {
    return refusedBody(...replays.whyNot(requestId));
  }
  const scoreMilli = Number(request.scoreMilli);
  const isAbove = request.standsAt > level && request.standsAt <= Standing.BLOCK;
  const standsAt = isAbove ? request.standsAt : level;
  standings.report(agent, node, { standing: level, standsAt, cause, scoreMilli });
  if (request.askKill) {
    const refusal = await autoKill(options, { agent, cause, node });
    if (refusal) return refusal;
  }
  const isKilled = replica.state.killsFor(agent).length > 0;
  const of = { ledger, standings, nowMs: clock.nowMs() };
  const news = await accountNews(of, `agent/${agent}`, node);
  const value = {
    standing: isKilled ? Standing.KILL : standings.highest(agent),
    ...(news !== undefined && { news }),
  };
  return { case: "standing", value: create(StandingReplySchema, value) };
}

/** A node's policy asks for a kill: of the agent alone, for a cause from the ladder, now and then. */
async function autoKill(
  options: RequestHandlersOptions,
  ask: { readonly agent: string; readonly cause: string; readonly node: string },
): Promise<ReplyBody | undefined> {
  const { commands, replica, autoKills, clock, random, tell } = options;
  const { agent, cause, node } = ask;
  if (!LADDER_CAUSES.some((each) => each === cause)) return malformed("cause");
  if (replica.state.killed(`agent/${agent}`)) return undefined;
  if (!autoKills.pass(node, monoMs(clock))) {
    tell("auto_kill_limited", { node, agent, cause });
    return refusedBody("auto_kill_limited", `${node} asked for too many kills`);
  }
  tell("auto_kill", { node, agent, cause });
  try {
    await commands.kill({
      cmdId: uuidV7(clock.nowMs(), random),
      scope: `agent/${agent}`,
      reason: `asked for by node ${node}`,
      cause,
      operator: `node/${node}`,
    });
    return undefined;
  } catch (error) {
    // Our key is not in force, or a thief of one has used up the scope's numbers: an operator has to kill it.
    if (!(error instanceof CommandRefused)) throw error;
    const { reason, message } = error;
    tell("auto_kill_refused", { node, agent, cause, reason });
    return refusedBody(reason, message);
  }
}

/** Bodies that records name by hash: the policy bundle, also in pieces. */
function fetchBody({ replica, policy }: RequestHandlersOptions, request: FetchRequest): ReplyBody {
  const op = replica.state.get("policy")?.op;
  const named = op?.case === "policy" ? op.value : undefined;
  const isHere = policy.now?.hashHex === replica.state.get("policy")?.hashHex;
  if (!named || !isHere || Buffer.compare(named.sha256, request.sha256) !== 0) {
    return refusedBody("body_unknown", Buffer.from(request.sha256).toString("hex"));
  }
  const { size } = named;
  if (request.offset > size) return malformed("offset");
  const offset = Number(request.offset);
  const bytes = policy.now?.bundle.slice(offset, offset + FETCH_BYTES_MAX) ?? new Uint8Array(0);
  return { case: "fetch", value: create(FetchReplySchema, { size, bytes }) };
}

function statePage({ replica }: RequestHandlersOptions, afterScope: string): ReplyBody {
  const found = replica.state.recordsAfter(afterScope, STATE_PAGE_COUNT);
  const page = recordsPage(found, isTold(replica));
  return { case: "state", value: create(StateReplySchema, page) };
}

/** Any coordinator answers these, and nothing but their number keeps a node from asking. */
function paced(
  { replica, syncs, clock }: RequestHandlersOptions,
  node: string,
  answer: () => ReplyBody,
): ReplyBody {
  const { size } = replica.state;
  const nowMs = monoMs(clock);
  if (!syncs.mayAsk(node, size, nowMs)) {
    return refusedBody("sync_limited", `${node} was told the state several times already`);
  }
  const body = answer();
  const records = body.case === "sync" || body.case === "state" ? body.value.records.length : 0;
  syncs.note(node, records, { size, nowMs });
  return body;
}

/** A kill counts before its commit, and revoked contracts leave their stream by age; all else is committed first. */
function isTold({ stream }: Replica): (record: MeshRecord) => boolean {
  return (record) => record.op.case === "kill" || stream.holds(record);
}

function malformed(what: string): ReplyBody {
  return refusedBody("malformed_request", what);
}
