import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type AdminServer, startAdminServer } from "../adapters/admin-server.ts";
import { Denials } from "../adapters/grpc-denials.ts";
import { served } from "../adapters/grpc-server.ts";
import { startWitnessServer, type WitnessServer } from "../adapters/witness-server.ts";
import { encodeVkey } from "../audit/signed-note.ts";
import { CHECKPOINT_PATH } from "../audit/tiles.ts";
import { ADD_CHECKPOINT_BYTES_MAX } from "../audit/witness.ts";
import { coordinatorKey, type TrustPin } from "../mesh/trust.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { pause } from "../ports/pause.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import { CoordinatorService } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { AccountLimits } from "./account-limits.ts";
import type { ArchiveLink, ArchiveOf, ArchiveTold } from "./archive/archive-link.ts";
import { openArchive } from "./archive/open-archive.ts";
import { callRefusalOf } from "./call-refusal.ts";
import type { NodeCertifier } from "./certify.ts";
import type { CoordinatorConfig } from "./config.ts";
import { DiskWatch } from "./disk-watch.ts";
import { beginEpoch } from "./epoch.ts";
import type { Tell } from "./events.ts";
import { issuedPath, socketPath } from "./found-mesh.ts";
import { exposureUsdMicros } from "./ledger-view.ts";
import { CoordinatorMetrics } from "./metrics.ts";
import { IssuedCertificates } from "./operations/issued-certificates.ts";
import { enrolled, noteIn, noteLogsIn } from "./operations/note-in.ts";
import { operationsFolder, operationsOrigin } from "./operations/operations-log.ts";
import { OwnCheckpoint } from "./operations/own-checkpoint.ts";
import { type NoteCall, recordedCalls } from "./operations/recorded-calls.ts";
import { OperatorsDoor } from "./operators-door.ts";
import { readOutsideLogs } from "./outside-logs.ts";
import { buildParts, type Parts, type PartsInput } from "./parts.ts";
import { PolicyPlacement } from "./placement.ts";
import { limitsInSlices, limitsOfPolicy } from "./policy-limits.ts";
import { modelsOfPolicy } from "./policy-models.ts";
import { ratesOfPolicy } from "./policy-rates.ts";
import { revokedBy } from "./revoked-by.ts";
import { foundTrust } from "./trust-bundle.ts";
import { witnessKey } from "./witness.ts";

export type CoordinatorPorts = {
  readonly clock: Clock;
  readonly random: Random;
  readonly bus: Bus;
  /** Servers whose copy of a stream is not current, by stream. */
  readonly serversBehind?: PartsInput["serversBehind"];
  readonly streamsSilent?: PartsInput["streamsSilent"];
  /** The coordinator's own; not closed here. */
  readonly store: Store;
  /** Holds `coordinator`, `enrolment` and `witness`; they are made when there are none. */
  readonly keys: Keys;
  /** The operator's key, where it lies on this machine: it founds the mesh and signs nothing else. */
  readonly operator: Signer | undefined;
  readonly log: Tell;
  /** Certifies nodes for looking into TLS; without it none of them can. */
  readonly certifier?: NodeCertifier;
  /** Opens the logs on this coordinator's disk: its own, and the copies of nodes'. Without it there are none. */
  readonly openArchive?: (of: ArchiveOf, told: ArchiveTold) => ArchiveLink;
  /** What a policy bundle lets be spent; throws for what is no policy. */
  readonly limitsOf?: (bundle: Uint8Array) => AccountLimits;
};

/** Why the coordinator cannot do its work now. */
export type NotReady =
  | "starting"
  | "bus_down"
  /** The control stream was not read to its end yet. */
  | "stream_unread"
  /** The trust bundle does not list this coordinator's key. */
  | "not_trusted"
  /** A write to this disk failed, and none has succeeded since; or records that count are not on it. */
  | "disk_failing"
  /** The stream's leader has not answered for so long that nodes take no digest of ours. */
  | "quorum_lost"
  | "ledger_fenced"
  /** No coordinator leads the ledger: nothing is lent. */
  | "ledger_unled";

export type Coordinator = {
  /** The mesh's name. */
  readonly mesh: string;
  readonly metrics: CoordinatorMetrics;
  /** Port of `/metrics`, `/healthz` and `/readyz`; known after `start`. */
  adminPort(): number | undefined;
  /** Listens on bus, socket and ports. Rejects with what cannot be listened on. */
  start(): Promise<void>;
  notReady(): readonly NotReady[];
  /** Resolves once the coordinator is ready, or `signal` aborts. */
  whenReady(signal: AbortSignal): Promise<void>;
  /** Resolves when this run must end because another coordinator has taken over the ledger. */
  readonly fenced: Promise<void>;
  /** Ends calls and work in good order. Store and bus are the caller's to close afterwards. */
  stop(): Promise<void>;
};

const REQUEST_BYTES_MAX = 1024 * 1024;
const STREAMS_MAX = 256;
const CONNECTIONS_MAX = 128;
const READY_EVERY_MS = 5;
const HOUSEKEEPING_EVERY_MS = 1_000;

/**
 * Wires a coordinator. Counts its start in the store, so that an earlier run of it can lend no more.
 *
 * @throws StoreFault, LedgerCorrupt The store cannot be used as it is.
 */
export async function buildCoordinator(
  config: CoordinatorConfig,
  pin: TrustPin,
  given: CoordinatorPorts,
): Promise<Coordinator> {
  const disk = new DiskWatch(given.store, given.clock);
  const ports = { ...given, store: disk.store };
  const metrics = new CoordinatorMetrics();
  const tell: Tell = (event, fields) => {
    metrics.event(event);
    ports.log(event, fields);
    if (event === "node_enrolled") void note(enrolled(fields));
  };
  const { keys, store } = ports;
  const fenced = Promise.withResolvers<void>();
  const signer = keys.loadOrCreate("coordinator");
  const enrolmentSigner = keys.loadOrCreate("enrolment");
  const witnessSigner = keys.loadOrCreate("witness");
  const logsFile = config.witness?.logsFile;
  const witness = { mesh: pin.mesh, replicaId: config.replicaId, signer: witnessSigner };
  const named = { witnessVkey: encodeVkey(witnessKey(witness)), mesh: pin.mesh };
  const archive = openArchive(ports.openArchive, named, { store, tell, metrics });
  const note = noteIn(archive, ports.clock, ports.log);
  const parts = buildParts({
    ...ports,
    ...(archive?.keepsCopies && { archive }),
    outsidePolicy: () => archive?.outsidePolicy ?? "",
    witnessedOf: (origin) => archive?.witnessed(origin),
    config,
    pin,
    epoch: await beginEpoch(store),
    verify: keys.verify,
    signer,
    enrolmentSigner,
    witnessSigner,
    outsideLogs: logsFile === undefined ? [] : readOutsideLogs(readFileSync(logsFile), pin.mesh),
    ...(archive && { noteLog: noteLogsIn(archive, ports.clock) }),
    placementOf: (policy) => new PolicyPlacement(policy),
    limitsOf: ports.limitsOf ?? limitsOfPolicy,
    readAhead: (bundle) => limitsInSlices(bundle, ports.clock),
    modelsOf: modelsOfPolicy,
    ratesOf: ratesOfPolicy,
    tell,
    metrics,
    onFenced: fenced.resolve,
  });
  const signers = { coordinator: signer, enrolment: enrolmentSigner, operator: ports.operator };
  return new RunningCoordinator({
    config,
    pin,
    ports,
    disk,
    tell,
    metrics,
    parts,
    archive,
    note,
    signers,
    fenced,
  });
}

type RunInput = {
  readonly config: CoordinatorConfig;
  readonly pin: TrustPin;
  readonly ports: CoordinatorPorts;
  readonly disk: DiskWatch;
  readonly tell: Tell;
  readonly metrics: CoordinatorMetrics;
  readonly parts: Parts;
  readonly archive: ArchiveLink | undefined;
  readonly note: NoteCall;
  readonly signers: {
    readonly coordinator: Signer;
    readonly enrolment: Signer;
    readonly operator: Signer | undefined;
  };
  readonly fenced: PromiseWithResolvers<void>;
};

class RunningCoordinator implements Coordinator {
  readonly mesh: string;
  readonly metrics: CoordinatorMetrics;
  readonly fenced: Promise<void>;
  readonly #run: RunInput;
  readonly #stopping = new AbortController();
  readonly #issued: IssuedCertificates;
  readonly #ownCheckpoint: OwnCheckpoint | undefined;
  #door: OperatorsDoor | undefined;
  #admin: AdminServer | undefined;
  #witnessing: WitnessServer | undefined;
  #isFenced = false;
  #cancelHousekeeping: () => void = () => undefined;

  constructor(run: RunInput) {
    this.mesh = run.pin.mesh;
    this.metrics = run.metrics;
    this.#run = run;
    this.fenced = run.fenced.promise.then(() => {
      this.#isFenced = true;
    });
    const { config, ports, note } = run;
    this.#issued = new IssuedCertificates({
      path: issuedPath(config.home),
      store: ports.store,
      note,
      onFault: (error) =>
        run.tell("call_unrecorded", { op: "issue_certificate", error: String(error) }),
    });
    this.#ownCheckpoint = run.archive && ownCheckpointOf(run);
    this.#followMetrics();
  }

  adminPort(): number | undefined {
    return this.#admin?.port;
  }

  async start(): Promise<void> {
    const { config, parts, ports, tell, note } = this.#run;
    const { replica, registry, commands, requests, digest, ledger, peerLogs } = parts;
    const denials = new Denials(ports.clock, (denial) => void note(denial));
    this.#door = new OperatorsDoor({
      socketPath: socketPath(config.home),
      tls: config.grpcTls,
      mesh: this.mesh,
      tell,
      serve: {
        services: [served(CoordinatorService, recordedCalls(parts.service, note))],
        requestBytesMax: REQUEST_BYTES_MAX,
        streamsMax: STREAMS_MAX,
        connectionsMax: CONNECTIONS_MAX,
        refusalOf: callRefusalOf,
        revoked: revokedBy(replica),
        onDenied: (why, method, caller) => {
          tell("call_denied", { reason: why.reason, method, message: why.message });
          denials.note(why, method, caller);
        },
        onRenewed: (error) =>
          error === undefined
            ? tell("grpc_tls_renewed")
            : tell("grpc_tls_not_renewed", { error: String(error) }),
        onBug: (error, method) => tell("handler_failed", { method, error: String(error) }),
      },
    });
    await this.#door.start();
    this.#admin = await startAdminServer({
      host: config.metricsHost,
      port: config.metricsPort,
      metrics: async () => ({
        contentType: this.metrics.registry.contentType,
        text: await this.metrics.registry.metrics(),
      }),
      notReady: () => this.notReady(),
      onBug: (error) => tell("handler_failed", { method: "admin", error: String(error) }),
    });
    await this.#listenAsWitness();
    replica.start();
    ledger.start();
    registry.start();
    requests.start();
    peerLogs.start();
    this.#ownCheckpoint?.start();
    commands.resume();
    parts.saidAgain.start();
    parts.peerDigests.start();
    void this.#foundTrust();
    digest.start();
    this.#keepHouse();
    tell("started", { mesh: this.mesh, replica: config.replicaId });
    void note({ op: "start", rc: "ok", via: "home" });
    parts.witness.noteKnown().catch((error) => {
      tell("handler_failed", { method: "note-logs", error: String(error) });
    });
  }

  notReady(): readonly NotReady[] {
    const { config, ports, disk, parts, signers } = this.#run;
    const { replica } = parts;
    const reasons: NotReady[] = [];
    if (!this.#admin) reasons.push("starting");
    if (!ports.bus.isUp()) reasons.push("bus_down");
    if (!replica.isReplayed) reasons.push("stream_unread");
    else if (parts.leader.quorumAgeMs() > config.deadManMs) reasons.push("quorum_lost");
    const key = coordinatorKey(replica.trust, ports.clock.nowMs())(signers.coordinator.kid);
    if (key === undefined) reasons.push("not_trusted");
    if (disk.isFailing(replica.unsavedCount)) reasons.push("disk_failing");
    if (this.#isFenced) reasons.push("ledger_fenced");
    if (parts.ledger.leader === undefined) reasons.push("ledger_unled");
    return reasons;
  }

  async whenReady(signal: AbortSignal): Promise<void> {
    const { clock } = this.#run.ports;
    while (!signal.aborted && this.notReady().length > 0) {
      await pause(clock, READY_EVERY_MS, signal);
    }
  }

  async stop(): Promise<void> {
    const { config, parts, archive, note, tell } = this.#run;
    this.#stopping.abort();
    this.#cancelHousekeeping();
    parts.digest.stop();
    parts.requests.stop();
    parts.peerLogs.stop();
    parts.peerDigests.stop();
    parts.policy.stop();
    this.#ownCheckpoint?.stop();
    await this.#door?.close(config.drainMs);
    await this.#admin?.close();
    await this.#witnessing?.close();
    parts.registry.stop();
    const { saidAgain, commands, replica, ledger } = parts;
    await Promise.all([saidAgain, commands, replica, ledger].map((part) => part.stop()));
    await parts.acks.save();
    void note({ op: "stop", rc: "ok", via: "home" });
    await archive?.close();
    tell("stopped");
  }

  async #listenAsWitness(): Promise<void> {
    const { config, parts, tell } = this.#run;
    if (config.witness === undefined) return;
    const { witness } = parts;
    this.#witnessing = await startWitnessServer({
      ...config.witness,
      bodyBytesMax: ADD_CHECKPOINT_BYTES_MAX,
      door: {
        add: (body) => witness.addFromOutside(body),
        latest: (originHash) => witness.latest(originHash),
      },
      onBug: (error) => tell("handler_failed", { method: "add-checkpoint", error: String(error) }),
    });
  }

  #foundTrust(): Promise<void> {
    const { ports, parts, tell, signers } = this.#run;
    const { signal } = this.#stopping;
    return foundTrust({ ...parts, ...ports, ...signers, mesh: this.mesh, tell, signal });
  }

  /** Health follows readiness, and commands that are done are looked at no more. */
  #keepHouse(): void {
    const isReady = this.notReady().length === 0;
    this.#door?.setServing("", isReady);
    this.#door?.setServing(CoordinatorService.typeName, isReady);
    this.#run.parts.registry.sweep();
    void this.#run.disk.look();
    void this.#issued.look();
    void this.#door?.look();
    const { clock } = this.#run.ports;
    this.#cancelHousekeeping = clock.after(HOUSEKEEPING_EVERY_MS, () => this.#keepHouse());
  }

  #followMetrics(): void {
    const { replica, registry, leader, ledger, streams } = this.#run.parts;
    this.metrics.follow({
      nodes: () => {
        const nodes = registry.nodes();
        const live = nodes.filter(({ isLive }) => isLive).length;
        const inSync = nodes.filter(({ isInSync }) => isInSync).length;
        return { live, silent: nodes.length - live, inSync };
      },
      quorumAgeMs: () => leader.quorumAgeMs(),
      lastSeq: () => replica.lastSeq,
      records: () => replica.state.size,
      recordsUnsaved: () => replica.unsavedCount,
      streams,
      exposureUsdMicros: () => exposureUsdMicros(ledger),
      ledgerFill: () => ledger.fill,
    });
  }
}

function ownCheckpointOf({ config, pin, ports, signers }: RunInput): OwnCheckpoint {
  const replica = config.replicaId;
  const origin = operationsOrigin({ mesh: pin.mesh, replica });
  const path = join(operationsFolder(config.home), origin, CHECKPOINT_PATH);
  return new OwnCheckpoint({ ...ports, replica, origin, path, signer: signers.coordinator });
}
