import { fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../mesh/record.ts";
import type { OpName } from "../mesh/record-op.ts";
import { BusFault } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { Write } from "../ports/store.ts";
import type {
  CoordinatorServiceListAgentsRequest,
  CreateEnrolmentTokenRequest,
  GetLedgerRequest,
  GetScopeRequest,
  KillRequest,
  KillStateSchema,
  NodeStateSchema,
  RevokeCertificateRequest,
  RevokeContractRequest,
  WatchCommandRequest,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { type SignedRecord, SignedRecordSchema } from "../proto/gen/altrace/v1/record_pb.ts";
import { isKillScope, isName, isRevocable, parseScope } from "../proto/ids.ts";
import type { AccountLimits } from "./account-limits.ts";
import { CallRefused } from "./call-refusal.ts";
import { mustBeCarriable } from "./carriable.ts";
import type { Command } from "./command.ts";
import { CommandRefused } from "./command-refused.ts";
import { commandState } from "./command-state.ts";
import type { Commands } from "./commands.ts";
import { contractCalls } from "./contract-calls.ts";
import type { Contracts } from "./contracts.ts";
import { type Enrolment, TOKEN_TTL_MS_MAX } from "./enrolment.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import { ledgerView } from "./ledger-view.ts";
import type { MeshAgents } from "./mesh-agents.ts";
import type { NodeCalls } from "./node-calls.ts";
import type { PeerLogs } from "./operations/peer-logs.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import type { PolicyParts } from "./policy-parts.ts";
import type { Registry } from "./registry.ts";
import type { Replica } from "./replica.ts";
import { revokeCertificate, revokeContract, revokedState } from "./revoke.ts";
import { staleRecords } from "./stale-records.ts";
import type { StreamWait } from "./stream-waits.ts";
import { watchCommand } from "./watch-command.ts";
import type { Witness } from "./witness.ts";

export type ServiceOptions = {
  readonly mesh: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly replica: Replica;
  readonly policy: Pick<PolicyInHand, "bundleOf">;
  readonly policyParts: PolicyParts;
  readonly commands: Commands;
  readonly registry: Registry;
  readonly streams: () => readonly StreamWait[];
  readonly ledger: LedgerDoor;
  readonly enrolment: Enrolment;
  readonly contracts: Contracts;
  readonly nodes: Pick<NodeCalls, "ask">;
  readonly agents: MeshAgents;
  readonly witness: Witness;
  readonly peerLogs: Pick<PeerLogs, "list">;
  readonly outsidePolicy: () => string;
  readonly limitsOf: (bundle: Uint8Array) => AccountLimits;
  /** Reads a bundle while others get their turns, so that `limitsOf` finds it read. Never rejects. */
  readonly readAhead: (bundle: Uint8Array) => Promise<unknown>;
  /** How long an answer waits for the stream before it says `committed: false`. */
  readonly commitWaitMs: number;
};

/** What a handler knows of its call. */
export type Call = {
  readonly signal: AbortSignal;
  /** Whose certificate it came with, where there is one. */
  readonly caller: { readonly name: string } | undefined;
};

/** Every request that brings a signed record. */
type Carried = { readonly record?: SignedRecord | undefined };

const TOKEN_TTL_MS_DEFAULT = 3_600_000;
/** `altrace.v1.CoordinatorService`. Refuses by throwing what `callRefusalOf` knows. */
export function coordinatorService(options: ServiceOptions) {
  const { replica, registry, commands, enrolment, agents } = options;
  const carried = async (record: SignedRecord | undefined, ops: readonly OpName[]) => ({
    command: commandState(await carry(options, record, ops), registry),
  });
  return {
    kill: async (request: KillRequest, call: Call) => ({
      command: commandState(await kill(options, request, call), registry),
    }),
    revive: ({ record }: Carried) => carried(record, ["revive"]),
    applyPolicy: ({ record }: Carried) => carried(record, ["policy"]),
    putPolicyPart: async ({ part }: { readonly part: Uint8Array }) => {
      options.policyParts.offer(part);
      return {};
    },
    setLimit: ({ record }: Carried) => carried(record, ["limit"]),
    redactPerson: ({ record }: Carried) => carried(record, ["redact"]),
    // A node's record is its key: an operator replaces or removes it as any other.
    putKey: ({ record }: Carried) => carried(record, ["key", "trust", "kill"]),
    listKills: async () => ({
      kills: [...replica.state.records()].flatMap((record) => killState(replica, record)),
    }),
    watchCommand: (request: WatchCommandRequest, call: Call) =>
      watchCommand(options, mustKnow(commands, request.cmdId), call),
    getScope: async (request: GetScopeRequest) => getScope(options, request),
    listStaleRecords: async () => staleRecords(replica),
    listNodes: async () => ({ nodes: nodeStates(options) }),
    listStreams: async () => ({ streams: options.streams().map(streamState) }),
    getAgent: async ({ agent }: { readonly agent: string }) => {
      mustLead(options);
      return { agent: await agents.get(agent) };
    },
    listAgents: async (request: CoordinatorServiceListAgentsRequest) => {
      mustLead(options);
      return agents.list(request);
    },
    listLogs: async () => listLogs(options),
    getLedger: async ({ account }: GetLedgerRequest) => {
      mustLead(options);
      return ledgerView(options.ledger, account);
    },
    ...contractCalls(options.contracts, options.nodes),
    revokeContract: async (request: RevokeContractRequest, call: Call) =>
      revokedState(await revokeContract(options, request, call.caller?.name), registry),
    revokeCertificate: async (request: RevokeCertificateRequest, call: Call) =>
      revokedState(await revokeCertificate(options, request, call.caller?.name), registry),
    createEnrolmentToken: async (request: CreateEnrolmentTokenRequest) => {
      mustLead(options);
      return { token: await createToken(enrolment, replica, request) };
    },
  };
}

function streamState({ uncommittedMs, unansweredMs, behind, ...wait }: StreamWait) {
  const times = { uncommittedMs: BigInt(uncommittedMs), unansweredMs: BigInt(unansweredMs) };
  return { ...wait, ...times, behind: [...behind] };
}

/** What an auditor holds the nodes' logs against. */
function listLogs({ witness, peerLogs, outsidePolicy }: ServiceOptions) {
  const logs = witness.logs().map((log) => ({
    ...log,
    openedAtMs: BigInt(log.openedAtMs),
    size: BigInt(log.size),
    cosignedAtMs: BigInt(log.cosignedAtMs),
  }));
  const evidence = witness.evidence().map(({ origin, kind, cosigned, offered }) => ({
    origin,
    kind,
    cosigned,
    offered,
  }));
  const coordinators = peerLogs.list().map(({ origin, vkey, size, checkpoint, heardAtMs }) => ({
    ...{ origin, vkey, checkpoint, size: BigInt(size) },
    cosignedAtMs: BigInt(heardAtMs),
  }));
  return {
    logs,
    witnessVkey: witness.vkey,
    evidence,
    coordinators,
    outsidePolicy: outsidePolicy(),
  };
}

async function kill(options: ServiceOptions, request: KillRequest, call: Call): Promise<Command> {
  const { commands, clock, random, commitWaitMs } = options;
  const command = await commands.kill({
    cmdId: request.cmdId === "" ? uuidV7(clock.nowMs(), random) : request.cmdId,
    scope: request.scope,
    reason: request.reason,
    cause: "",
    // A certificate says who calls; without one it is the caller's word, from the same user.
    operator: call.caller?.name ?? request.operator,
  });
  // Our disk failed: what the stream says is then all that the caller can build on.
  return command.accepted ? command : commands.settled(command, commitWaitMs);
}

async function carry(
  options: ServiceOptions,
  record: SignedRecord | undefined,
  ops: readonly OpName[],
): Promise<Command> {
  if (!record) throw refused("INVALID_ARGUMENT", "record_missing", "A record is needed.", "record");
  const bytes = toBinary(SignedRecordSchema, record);
  const opened = options.replica.open(bytes);
  if (opened.ok) await mustBeCarriable(options, opened.record);
  const also = opened.ok ? await withParts(options, opened.record) : [];
  const command = await options.commands.carry(bytes, ops, also);
  await options.commands.settled(command, options.commitWaitMs);
  if (command.conflict) {
    throw new CommandRefused("conflict", `another record of ${command.scope} was faster`);
  }
  return command;
}

/** Puts a policy's parts where nodes find them, before the record that names them; what to write beside that. */
async function withParts(
  { policyParts }: ServiceOptions,
  { op }: MeshRecord,
): Promise<readonly Write[]> {
  if (op.case !== "policy" || op.value.parts.length === 0) return [];
  try {
    await policyParts.publish(op.value, { onlyMissing: false });
  } catch (error) {
    if (!(error instanceof BusFault)) throw error;
    const message = "The stream does not take the policy's parts now; nothing was accepted.";
    throw refused("UNAVAILABLE", "stream_unavailable", message);
  }
  return policyParts.writesOf(op.value);
}

/** Money and enrolment are one coordinator's at a time. */
function mustLead({ ledger }: ServiceOptions): void {
  if (ledger.isLed) return;
  const who = ledger.leader ? `Ask ${ledger.leader}, which leads.` : "No coordinator leads now.";
  throw refused("UNAVAILABLE", "not_leader", who);
}

function mustKnow(commands: Commands, cmdId: string): Command {
  const command = commands.get(cmdId);
  if (command) return command;
  throw refused("NOT_FOUND", "command_unknown", `${cmdId} is not remembered here.`, "cmd_id");
}

function killState(
  replica: Replica,
  record: MeshRecord,
): readonly MessageInitShape<typeof KillStateSchema>[] {
  const { scope, parsed, op, cmdId, operator } = record;
  const isListed = isKillScope(parsed) || isRevocable(parsed);
  if (op.case !== "kill" || !isListed) return [];
  const { reason, cause } = op.value;
  const committed = replica.stream.holds(record);
  const v = BigInt(record.v);
  const issuedAtMs = BigInt(record.issuedAtMs);
  return [{ scope, v, cmdId, issuedAtMs, operator, reason, cause, committed }];
}

function getScope({ mesh, replica }: ServiceOptions, { scope }: GetScopeRequest) {
  if (!parseScope(scope)) {
    throw refused("INVALID_ARGUMENT", "malformed_scope", `${scope} is no scope.`, "scope");
  }
  const current = replica.state.get(scope);
  if (!current) return { mesh, v: 0n };
  const record = fromBinary(SignedRecordSchema, current.bytes);
  return { mesh, v: BigInt(current.v), hash: current.hash, record };
}

function nodeStates({ registry }: ServiceOptions): MessageInitShape<typeof NodeStateSchema>[] {
  return registry.nodes().map(({ node, isLive, beat, heardAgoMs, isInSync, containedAtMs }) => ({
    node,
    live: isLive,
    open: isLive && beat?.open === true,
    heartbeatAgeMs: BigInt(heardAgoMs),
    lastSeq: beat?.lastSeq ?? 0n,
    inSync: isInSync,
    agents: beat?.agents ?? 0,
    connections: beat?.connections ?? 0,
    containedAtMs: BigInt(containedAtMs),
    policyVersion: beat?.policyVersion ?? 0n,
    policyRefusedVersion: beat?.policyRefusedVersion ?? 0n,
    policyRefused: beat?.policyRefused ?? "",
  }));
}

async function createToken(
  enrolment: Enrolment,
  replica: Replica,
  { node, ttlMs }: CreateEnrolmentTokenRequest,
): Promise<string> {
  if (!isName(node)) {
    throw refused("INVALID_ARGUMENT", "malformed_node", `${node} is no node's name.`, "node");
  }
  if (ttlMs > BigInt(TOKEN_TTL_MS_MAX)) {
    const message = `A token lives ${TOKEN_TTL_MS_MAX} ms at most.`;
    throw refused("INVALID_ARGUMENT", "ttl_too_long", message, "ttl_ms");
  }
  if (replica.state.get(`node/${node}`)) {
    const message = `${node} has a record already; an operator replaces or removes its key.`;
    throw refused("FAILED_PRECONDITION", "already_enrolled", message, "node");
  }
  const token = await enrolment.createToken(node, Number(ttlMs) || TOKEN_TTL_MS_DEFAULT);
  if (token !== "too_many_tokens") return token;
  throw refused("RESOURCE_EXHAUSTED", token, "Too many tokens are open; wait for some to expire.");
}

function refused(
  code: CallRefused["fields"]["code"],
  reason: string,
  message: string,
  field?: string,
): CallRefused {
  return new CallRefused({ code, reason, message, ...(field === undefined ? {} : { field }) });
}
