import type { VerifierKey } from "../audit/signed-note.ts";
import { coordinatorKey, type TrustPin } from "../mesh/trust.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import type { AccountLimits } from "./account-limits.ts";
import { AckBook } from "./ack-book.ts";
import { AppendWatch } from "./append-watch.ts";
import { ArchiveDoor } from "./archive/archive-door.ts";
import type { ArchiveLink } from "./archive/archive-link.ts";
import { Commands } from "./commands.ts";
import type { CoordinatorConfig } from "./config.ts";
import { Contracts } from "./contracts.ts";
import { Digest } from "./digest.ts";
import { Distrusts } from "./distrusts.ts";
import { Enrolment } from "./enrolment.ts";
import type { Epoch } from "./epoch.ts";
import type { Tell } from "./events.ts";
import { LeaderProbe } from "./leader-probe.ts";
import { type LedgerDoor, ownLedger, SharedLedger } from "./ledger-door.ts";
import { followLimits } from "./limit-sync.ts";
import { MeshAgents } from "./mesh-agents.ts";
import type { CoordinatorMetrics } from "./metrics.ts";
import { NodeCalls } from "./node-calls.ts";
import { NodeRequests } from "./node-requests.ts";
import { PeerLogs } from "./operations/peer-logs.ts";
import { PeerDigests } from "./peer-digests.ts";
import type { Placement } from "./placement.ts";
import { PolicyInHand } from "./policy-in-hand.ts";
import { PolicyParts } from "./policy-parts.ts";
import type { AgentRates } from "./policy-rates.ts";
import { RateDoor } from "./rate-door.ts";
import { RateGate } from "./rate-gate.ts";
import { Registry } from "./registry.ts";
import { ReplayGuard } from "./replay-guard.ts";
import { Replica } from "./replica.ts";
import { requestHandlers } from "./request-handlers.ts";
import { SaidAgain } from "./said-again.ts";
import { coordinatorService } from "./service.ts";
import { Standings } from "./standings.ts";
import { type StreamWait, type StreamWaitsOptions, streamWaits } from "./stream-waits.ts";
import { SyncPace } from "./sync-pace.ts";
import { type NoteLog, Witness } from "./witness.ts";

/** What every part is made of. */
export type PartsInput = {
  readonly config: CoordinatorConfig;
  readonly pin: TrustPin;
  readonly epoch: Epoch;
  readonly clock: Clock;
  readonly random: Random;
  readonly bus: Bus;
  /** Servers whose copy of a stream is not current, by stream. Without it there is one server, or nobody asks. */
  readonly serversBehind?: StreamWaitsOptions["serversBehind"];
  readonly streamsSilent?: StreamWaitsOptions["streamsSilent"];
  readonly store: Store;
  readonly verify: Keys["verify"];
  /** Signs kills, digests and replies. */
  readonly signer: Signer;
  /** Signs nodes' first records and nothing else. */
  readonly enrolmentSigner: Signer;
  /** Signs cosignatures of nodes' logs and nothing else. */
  readonly witnessSigner: Signer;
  /** Keys of logs from outside of the mesh that are cosigned too. */
  readonly outsideLogs: readonly VerifierKey[];
  /** The operator's file of witnesses outside of the mesh; empty: there is none. */
  readonly outsidePolicy: () => string;
  /** What they have cosigned of a log; undefined: nothing. */
  readonly witnessedOf: ArchiveLink["witnessed"];
  /** Writes down which logs must exist. */
  readonly noteLog?: NoteLog;
  readonly placementOf: (policy: PolicyInHand) => Placement;
  readonly limitsOf: (bundle: Uint8Array) => AccountLimits;
  /** Reads a bundle in slices, before it is anybody's policy. */
  readonly readAhead: (bundle: Uint8Array) => Promise<unknown>;
  readonly modelsOf: (bundle: Uint8Array) => ReadonlySet<string>;
  readonly ratesOf: (bundle: Uint8Array) => ReadonlyMap<string, AgentRates>;
  readonly tell: Tell;
  readonly metrics: CoordinatorMetrics;
  readonly onFenced: () => void;
  /** Where nodes ship their logs to. */
  readonly archive?: Pick<ArchiveLink, "add">;
};

/** How long an answer waits for the stream before it says that nothing is committed yet. */
const COMMIT_WAIT_MS = 2_000;
const TOKENS_MAX = 10_000;
const MAILBOX_MAX = 10_000;
const REQUESTS_IN_FLIGHT_MAX = 4_096;
/** A provider that changed its prices may show in many models of one node together. */
const RAISES_OF_A_NODE = { burst: 32, perMinute: 16 };

export type Parts = MeshParts & {
  readonly enrolment: Enrolment;
  readonly ledger: LedgerDoor;
  readonly leader: LeaderProbe;
  readonly digest: Digest;
  readonly requests: NodeRequests;
  readonly witness: Witness;
  readonly peerLogs: PeerLogs;
  readonly service: ReturnType<typeof coordinatorService>;
};

type MeshParts = {
  readonly replica: Replica;
  readonly policyParts: PolicyParts;
  readonly policy: PolicyInHand;
  readonly acks: AckBook;
  readonly registry: Registry;
  readonly commands: Commands;
  readonly saidAgain: SaidAgain;
  readonly peerDigests: PeerDigests;
  readonly streams: () => readonly StreamWait[];
};

/** Makes every part of a coordinator and joins them. Nothing listens or speaks yet. */
export function buildParts(input: PartsInput): Parts {
  const appends = new AppendWatch(input);
  return joinParts({ ...input, bus: appends.over(input.bus) }, appends);
}

function joinParts(input: PartsInput, appends: AppendWatch): Parts {
  const meshParts = buildMeshParts(input, appends);
  const bootId = uuidV7(input.clock.nowMs(), input.random);
  const ledger = buildLedger(input, meshParts, bootId);
  const enrolment = new Enrolment({
    ...input,
    ...meshParts,
    mesh: input.pin.mesh,
    signer: input.enrolmentSigner,
    tokensMax: TOKENS_MAX,
    commitWaitMs: COMMIT_WAIT_MS,
  });
  const placement = input.placementOf(meshParts.policy);
  const contracts = new Contracts({
    ...input,
    ...meshParts,
    placement,
    mesh: input.pin.mesh,
    ledger,
  });
  const standings = new Standings(input.clock);
  followStandings(standings, meshParts.replica);
  const witness = new Witness({
    ...input,
    mesh: input.pin.mesh,
    replicaId: input.config.replicaId,
    signer: input.witnessSigner,
    outside: input.outsideLogs,
    ...(input.noteLog && { noteLog: input.noteLog }),
  });
  const peerLogs = new PeerLogs({
    ...input,
    mesh: input.pin.mesh,
    replicaId: input.config.replicaId,
    trust: meshParts.replica.trust,
  });
  const service = coordinatorService({
    ...input,
    ...meshParts,
    contracts,
    nodes: new NodeCalls({ ...input, ...meshParts }),
    witness,
    peerLogs,
    mesh: input.pin.mesh,
    ledger,
    enrolment,
    agents: new MeshAgents({ ...input, ...meshParts, ledger, standings }),
    commitWaitMs: COMMIT_WAIT_MS,
  });
  const door = buildNodeDoor(input, meshParts, {
    ledger,
    enrolment,
    contracts,
    standings,
    witness,
    bootId,
    placement,
  });
  return { ...meshParts, ...door, enrolment, ledger, witness, peerLogs, service };
}

function buildMeshParts(input: PartsInput, appends: AppendWatch): MeshParts {
  const { config, pin, metrics } = input;
  const replica = new Replica(input);
  const policyParts = new PolicyParts(input);
  // Before whoever asks for it when a record comes: they hear of records in this order.
  const policy = new PolicyInHand({ ...input, replica, parts: policyParts });
  const acks = new AckBook(input);
  const registry: Registry = new Registry({
    ...input,
    ...config,
    silentAfterMs: config.nodeSilentMs,
    replica,
    acks,
    command: (cmdId) => commands.get(cmdId),
    onAnswer: (cmdId) => commands.noteAnswer(cmdId),
    onEnforced: (seconds) => metrics.acknowledged(seconds),
  });
  const commands: Commands = new Commands({
    ...input,
    mesh: pin.mesh,
    replica,
    commandsMax: config.commandsMax,
    isAwaited: (command) => registry.isAwaited(command),
    liveNodes: () => registry.liveCount,
    onForget: (cmdId) => registry.forget(cmdId),
  });
  followCommands(commands, registry);
  acks.keepOnly((cmdId) => commands.get(cmdId) !== undefined);
  const saidAgain = new SaidAgain({ ...input, mesh: pin.mesh, replica, commands });
  const streams = () => streamWaits({ ...input, commands, appends });
  const peerDigests = new PeerDigests({ ...input, ...config, replica });
  const made = { replica, policyParts, policy, acks, registry };
  return { ...made, commands, saidAgain, peerDigests, streams };
}

/** A kill is in our digests from its acceptance on, anything else from its commit. */
function followCommands(commands: Commands, registry: Registry): void {
  for (const command of commands.all()) {
    if (command.kind === "kill" || command.committed) registry.noteInForce(command);
  }
  commands.onChange((command) => {
    if (command.kind === "kill" || command.committed) registry.noteInForce(command);
    else registry.progressed(command.cmdId);
  });
}

/** Where NATS joins several coordinators the ledger is theirs together; alone it is one's own. */
function buildLedger(
  input: PartsInput,
  { replica, policy, registry }: MeshParts,
  bootId: string,
): LedgerDoor {
  const { config, pin, signer, clock } = input;
  const options = {
    ...input,
    replicaId: config.replicaId,
    settings: config.ledger,
    activeNodes: () => registry.liveCount,
    isRemoved: (node: string) => replica.state.killed(`node/${node}`),
    mailboxMax: MAILBOX_MAX,
  };
  const ledger =
    config.natsUrl === undefined
      ? ownLedger(options)
      : new SharedLedger({
          ...options,
          mesh: pin.mesh,
          trust: replica.trust,
          learnTrust: () => replica.learnTrust(),
          bootId,
          leaderTtlMs: config.leaderTtlMs,
          isFit: () =>
            replica.isReplayed &&
            coordinatorKey(replica.trust, clock.nowMs())(signer.kid) !== undefined,
        });
  followLimits({ ...input, replica, policy, ledger });
  return ledger;
}

function buildNodeDoor(
  input: PartsInput,
  meshParts: MeshParts,
  own: Pick<Parts, "ledger" | "enrolment"> & {
    readonly contracts: Contracts;
    readonly witness: Witness;
    readonly bootId: string;
    readonly standings: Standings;
    readonly placement: Placement;
  },
): Pick<Parts, "leader" | "digest" | "requests"> {
  const { config, clock, epoch, metrics } = input;
  const { ledger, bootId } = own;
  const { replicaId, digestMs, autoKillsPerMinute } = config;
  const { replica } = meshParts;
  const leader = new LeaderProbe({ ...input, replica });
  const digest = new Digest({
    ...input,
    replicaId,
    bootId,
    epoch: epoch.epoch,
    replica,
    leader,
    everyMs: digestMs,
    before: () => meshParts.commands.beforeDigest(),
  });
  meshParts.registry.onBegun(() => digest.soon());
  const replays = new ReplayGuard(clock);
  const nodes = new NodeCalls({ ...input, ...meshParts });
  const rates = new RateDoor({ ...input, ...meshParts, ...own, replays, nodes });
  // Whoever lends first in a mesh has no shares of anybody's to wait for.
  if (epoch.epoch > 1 && config.natsUrl === undefined) rates.begin();
  ledger.onLed((leads) => {
    if (leads > 1) rates.begin();
  });
  const handlers = requestHandlers({
    ...input,
    ...meshParts,
    rates,
    replicaId,
    archive: new ArchiveDoor({ ...input, ...own, replicaId, archive: input.archive }),
    beatMonoMs: () => digest.monoMs(),
    ...own,
    replays,
    distrusts: new Distrusts({
      ...input,
      ...meshParts,
      mesh: input.pin.mesh,
      raises: new RateGate(RAISES_OF_A_NODE),
    }),
    syncs: new SyncPace(),
    autoKills: new RateGate({ burst: autoKillsPerMinute, perMinute: autoKillsPerMinute }),
  });
  const requests = new NodeRequests({
    ...input,
    replica,
    handlers,
    replicaId,
    isLed: () => ledger.isLed,
    inFlightMax: REQUESTS_IN_FLIGHT_MAX,
    count: (method, outcome) => metrics.request(method, outcome),
  });
  return { leader, digest, requests };
}

/** A revived agent begins anew, and a removed node's word about agents counts no more. */
function followStandings(standings: Standings, replica: Replica): void {
  replica.onRecord(({ parsed, op }) => {
    if (op.case === "revive" && parsed.kind === "agent") {
      standings.forgetAgent(`${parsed.team}/${parsed.agent}`);
    }
    if (op.case === "kill" && parsed.kind === "node") standings.forgetNode(parsed.id);
  });
}
