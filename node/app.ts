import { join } from "node:path";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { AdminServer } from "../adapters/admin-server.ts";
import { makeFolderDurably } from "../adapters/durable-file.ts";
import type { GrpcServer } from "../adapters/grpc-server.ts";
import { openLmdbStore } from "../adapters/lmdb-store.ts";
import { machineDisk } from "../adapters/machine-disk.ts";
import { createNameResolver } from "../adapters/name-resolution.ts";
import { openFilesMax } from "../adapters/open-files.ts";
import { readPrivateFile } from "../adapters/private-file.ts";
import { createKeyPair } from "../adapters/signing-keys.ts";
import type { Clock } from "../ports/clock.ts";
import type { PreparedThread } from "../ports/prepared-thread.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import { marksOf } from "./actors/stored-accounts.ts";
import { openWebhook } from "./alerts/open-webhook.ts";
import type { Webhook } from "./alerts/webhook.ts";
import { type AuditLog, startAudit } from "./audit-log.ts";
import { nextBootId } from "./boot-id.ts";
import { FORWARD_PORT_OFFSET, type NodeConfig } from "./config.ts";
import { connectionsMax } from "./connections-max.ts";
import { Control } from "./control.ts";
import { gatheredPort } from "./gathered-port.ts";
import { lastBundleKeeper } from "./last-bundle.ts";
import { type LoopLink, loopLink } from "./loop-link.ts";
import { LoopQuestions } from "./loop-questions.ts";
import type { LoopWorkerData } from "./loop-worker.ts";
import { type MachineWatch, openMachineWatch } from "./machine-watch.ts";
import type { MeshWorkerData } from "./mesh/mesh-worker.ts";
import { MeshThreadLink } from "./mesh-thread-link.ts";
import type { NodeLog } from "./node-log.ts";
import { nodeView } from "./node-view-of.ts";
import { openPersons } from "./open-persons.ts";
import type { PersonDesk } from "./person-desk.ts";
import { type PreparedThreads, prepareThreads } from "./prepared-threads.ts";
import type { RehearsedPolicy } from "./rehearse-policy.ts";
import { revokedBy } from "./revoked-by.ts";
import { serveAdmin } from "./serve-admin.ts";
import { serveNodeGrpc } from "./serve-node-grpc.ts";
import type { Table } from "./table/table.ts";
import { tableOf } from "./table-of.ts";
import { endOfWorker, watchWorker } from "./watched-worker.ts";
import { capturing, whenReady } from "./when-ready.ts";

/** What a node needs of the process it lives in. */
export type NodeParts = {
  readonly config: NodeConfig;
  /** Id of the mesh, from the trust file. */
  readonly mesh: string;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: NodeLog;
  /** Present when the coordinator is in this process: the mesh thread's end of its bus. */
  readonly busPort: MessagePort | undefined;
  /** Provider credentials from the environment, by name. */
  readonly credentials: ReadonlyMap<string, string>;
  /** Threads for it that were started early, as many loops among them as it has. */
  readonly threads?: PreparedThreads;
  /** By this thread, beforehand. */
  readonly rehearsed?: RehearsedPolicy | undefined;
  /** A thread ended that should not have: the process must end, and the rules of doubt apply. */
  readonly onLost: (what: string, error: unknown) => void;
};

/** Where a running node listens. */
export type NodeAddresses = {
  readonly gateway: string;
  readonly forward: string;
  readonly grpcSocket: string;
  readonly metrics: string;
};

export type RunningNode = {
  readonly addresses: NodeAddresses;
  readonly control: Control;
  /** Resolves once the node allows requests, or rejects after `timeoutMs` with why it does not. */
  whenReady(timeoutMs: number): Promise<void>;
  /** Resolves with why it cannot do what it is there for, if that is so: whoever runs it is to stop it. */
  readonly unfit: Promise<Error>;
  /**
   * Serves on, and resolves once nothing is open any more that is open now, or when that has had its time: for a node
   * whose place another one takes, before it is stopped.
   */
  outlive(): Promise<unknown>;
  /** Lets running requests end, takes lent money back, closes the log. Rejects at the end where a thread is left. */
  stop(): Promise<void>;
};

/** How long a thread may take to end once nothing is left for it to do. */
const THREAD_END_MS = 5_000;
const SILENT_AT_END = "its thread does not answer, and is not waited for";
const LOOP_START_TIMEOUT_MS = 30_000;
const BYTES_PER_MIB = 1024 * 1024;
const DAY_MS = 24 * 60 * 60 * 1_000;
/** How often coordinators send digests. */
const DIGEST_MS = 1_000;

/** Starts a node: its threads, its state, its doors. Rejects when anything of it cannot be had. */
export async function startNode(parts: NodeParts): Promise<RunningNode> {
  const { config, clock, random, threads = prepareThreads(config.loops) } = parts;
  const home = join(config.home, "node");
  makeFolderDurably(home);
  const table = tableOf(config);
  const store = openLmdbStore(join(home, "control"));
  // Leases belong to a start, and so do heartbeats: both name it alike.
  const booting = nextBootId(store, clock, random);
  // Its thread has the log of earlier runs to look at; meanwhile the others begin.
  const audit = startAuditOf({ parts, home, table, store, thread: threads.audit });
  const bootId = await booting;
  const mesh = startMeshThread({ parts, home, bootId, audit, table, thread: threads.mesh });
  const revoked = revokedBy(mesh.link);
  const machine = openMachineWatch(parts, audit, mesh.link);
  const shared = { parts, table, audit, mesh, sessionSecret: random.bytes(SECRET_BYTES) };
  const loops = threads.loops.map((thread, no) => startLoop(no, thread, shared));
  const links = loops.map(({ link }) => link);
  const control = new Control({
    createKeyPair,
    mesh: parts.mesh,
    node: config.nodeId,
    bootId,
    table,
    store,
    clock,
    random,
    meshLink: mesh.link,
    loops: links,
    append: audit.append,
    ...audit.money,
    log: parts.log,
    rehearsed: parts.rehearsed,
    keepBundle: lastBundleKeeper(home, (error) => parts.log.fault("last_policy", error)),
  });
  const forPersons = { parts, home, loops: links, mesh: mesh.link, audit };
  const persons = openPersons({ ...forPersons, disk: machineDisk });
  const webhook = startAlerts(parts, control, store);
  await control.start(audit.ready);
  audit.joinMesh({
    ask: mesh.link.ask,
    archives: async () => (await mesh.link.status()).coordinators,
    bootId,
  });
  const ports = await Promise.all(loops.map(({ listening }) => listening));
  const questions = new LoopQuestions(links, clock);
  const shown = { parts, control, mesh: mesh.link, questions, audit, table, machine };
  const view = nodeView(shown);
  // What is captured waits for this, and for none of the doors below.
  const { unfit, tried } = capturing(view, clock, links);
  // Opening them keeps this thread from what is waited for. One that takes nobody's place may wait for its operator.
  if (config.turnFd !== undefined) await tried;
  const grpcSocket = join(config.home, "node.sock");
  const grpc = await serveNodeGrpc(view, grpcSocket, parts, { audit, revoked });
  const admin = await serveAdmin({ parts, view, questions, control, table, mesh: mesh.link });
  return {
    control,
    unfit,
    addresses: {
      gateway: `http://${urlHost(config.host)}:${ports[0]?.gatewayPort}`,
      forward: `http://${urlHost(config.host)}:${ports[0]?.forwardPort}`,
      grpcSocket: `unix:${grpcSocket}`,
      metrics: `http://${urlHost(config.metricsHost)}:${admin.port}/metrics`,
    },
    whenReady: (timeoutMs) => whenReady(view, clock, timeoutMs),
    outlive: () => Promise.all(loops.map((loop) => loop.outlive(config.drainMs))),
    stop: () => stopNode({ ...shown, mesh, loops, webhook, grpc, admin, persons, store }),
  };
}

/** The log of a node in this home. */
function startAuditOf(of: {
  readonly parts: NodeParts;
  readonly home: string;
  readonly table: Table;
  readonly store: Store;
  readonly thread: PreparedThread;
}) {
  const { parts, home, table, store, thread } = of;
  const { config, clock, random } = parts;
  return startAudit(
    {
      home,
      moneyMarks: (run) => marksOf(store, run),
      mesh: parts.mesh,
      node: config.nodeId,
      version: parts.version,
      loops: config.loops,
      syncMaxMs: config.auditSyncMaxMs,
      reserveBytes: config.auditReserveMib * BYTES_PER_MIB,
      shipEveryMs: config.auditShipMs,
      keepBytes: config.auditKeepMib * BYTES_PER_MIB,
      keepMs: config.auditKeepDays === 0 ? undefined : config.auditKeepDays * DAY_MS,
      epochLimits: { records: config.auditEpochRecords, ageMs: config.auditEpochDays * DAY_MS },
      ...{ clock, random, disk: machineDisk },
      onFault: (message) => parts.log.fault("audit", new Error(message)),
      onLost: parts.onLost,
    },
    table,
    thread,
  );
}

/** Tells of refusals where the operator wants that. Before the control thread hears of any. */
function startAlerts(parts: NodeParts, control: Control, store: Store): Webhook | undefined {
  const { config, mesh, log } = parts;
  const webhook = openWebhook({
    ...parts,
    path: config.webhookFile,
    readPrivate: readPrivateFile,
    store,
    names: () => createNameResolver({ clock: parts.clock }),
    from: { mesh, node: config.nodeId },
    onProblem: (why) => log.fault("webhook", new Error(why)),
  });
  if (webhook !== undefined) control.feed.follow((event) => webhook.decided(event));
  return webhook;
}

/** `end` resolves with whether it has closed all that it had. */
type MeshThread = { readonly link: MeshThreadLink; end(): Promise<boolean> };

function startMeshThread(of: {
  readonly parts: NodeParts;
  readonly home: string;
  readonly bootId: string;
  readonly audit: AuditLog;
  readonly table: Table;
  readonly thread: PreparedThread;
}): MeshThread {
  const { parts, home, bootId, audit, table, thread } = of;
  const { config, busPort } = parts;
  const bus: MeshWorkerData["bus"] =
    busPort === undefined
      ? { kind: "nats", url: config.natsUrl as string, tls: config.natsTls }
      : { kind: "port", port: busPort };
  const data: MeshWorkerData = {
    tableBuffer: table.buffer,
    nodeId: config.nodeId,
    bootId,
    homeDir: home,
    wal: {
      dir: audit.walDir,
      run: audit.run,
      writer: audit.meshWriter,
      signalBuffer: audit.signalBuffer,
      syncMaxMs: config.auditSyncMaxMs,
    },
    trustFile: config.trustFile,
    ...{ gateSocket: config.gateSocket, knockFd: config.knockFd },
    ...(config.enrolToken !== undefined && { enrolToken: config.enrolToken }),
    bus,
    timing: {
      deadManMs: config.deadManMs,
      digestMs: DIGEST_MS,
      heartbeatMs: config.heartbeatMs,
    },
  };
  const { worker } = thread;
  thread.begin(data, busPort === undefined ? [] : [busPort]);
  const ended = watchWorker(worker, "mesh", parts.onLost);
  const endWithin = (ms: number) => endOfWorker(worker, ended.exit, parts.clock, ms);
  const link = new MeshThreadLink(gatheredPort(worker), parts.clock);
  return {
    link,
    end: async () => {
      ended.expected();
      return await Promise.race([link.stop(), endWithin(link.isGivenUp ? 0 : THREAD_END_MS)]);
    },
  };
}

type ListeningPorts = { readonly gatewayPort: number; readonly forwardPort: number };

type Loop = {
  readonly link: LoopLink;
  readonly listening: Promise<ListeningPorts>;
  outlive(deadlineMs: number): Promise<void>;
  /** Resolves once it has nothing to say or to write any more, with when its thread is gone: that takes longer. */
  drain(deadlineMs: number): Promise<{ readonly gone: Promise<unknown> }>;
};

const SECRET_BYTES = 32;

function startLoop(
  no: number,
  thread: PreparedThread,
  with_: {
    readonly parts: NodeParts;
    readonly table: Table;
    readonly audit: AuditLog;
    readonly mesh: MeshThread;
    readonly sessionSecret: Uint8Array;
  },
): Loop {
  const { parts, table, audit, mesh, sessionSecret } = with_;
  const { config } = parts;
  const channel = new MessageChannel();
  mesh.link.post({ t: "loop_port", loop: no, port: channel.port1 });
  const data: LoopWorkerData = {
    loop: no,
    mesh: parts.mesh,
    node: config.nodeId,
    region: config.region,
    tableBuffer: table.buffer,
    walSignal: audit.signalBuffer,
    walDir: audit.walDir,
    run: audit.run,
    auditSyncMaxMs: config.auditSyncMaxMs,
    meshPort: channel.port2,
    host: config.host,
    gatewayPort: config.portBase,
    forwardPort: config.portBase === 0 ? 0 : config.portBase + FORWARD_PORT_OFFSET,
    tunnelRanges: config.tunnelRanges,
    // The launcher opens one pair a loop; each socket is read by one loop alone.
    captureFds: config.transparentFds.filter((_, i) => Math.floor(i / 2) % config.loops === no),
    gateSocket: config.gateSocket,
    podsFile: config.podsFile,
    dnsHosts: config.dnsHosts,
    loops: config.loops,
    connectionsMax: connectionsMax(config.loops, openFilesMax()),
    credentialsDir: config.credentialsDir,
    credentialTeams: config.credentialTeams,
    credentials: parts.credentials,
    sessionSecret,
    recordsPersons: config.auditPersonsDays > 0,
  };
  const { worker } = thread;
  thread.begin(data, [channel.port2]);
  const ended = watchWorker(worker, `loop${no}`, parts.onLost);
  const endWithin = (ms: number) => endOfWorker(worker, ended.exit, parts.clock, ms);
  const link = loopLink(no, gatheredPort(worker));
  return {
    link,
    listening: firstPort(link, ended.exit, parts.clock),
    outlive: (deadlineMs) =>
      new Promise((resolve) => {
        link.onMessage(({ t }) => t === "drained" && resolve());
        link.post({ t: "outlive", deadlineMs });
      }),
    drain: async (deadlineMs) => {
      ended.expected();
      const closed = Promise.withResolvers<void>();
      link.onMessage(({ t }) => t === "closed" && closed.resolve());
      link.post({ t: "drain", deadlineMs });
      const gone = endWithin(deadlineMs + THREAD_END_MS);
      await Promise.race([closed.promise, gone]);
      return { gone };
    },
  };
}

function firstPort(link: LoopLink, exit: Promise<number>, clock: Clock): Promise<ListeningPorts> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(LOOP_START_TIMEOUT_MS, () =>
      reject(new Error(`data loop ${link.no} did not listen in time`)),
    );
    link.onMessage((message) => {
      if (message.t !== "listening") return;
      cancel();
      resolve(message);
    });
    void exit.then((code) => reject(new Error(`data loop ${link.no} ended with code ${code}`)));
  });
}

/** Doors first, so that nothing new is held; then money; then the mesh; the log last. */
async function stopNode(running: {
  readonly parts: NodeParts;
  readonly loops: readonly Loop[];
  readonly control: Control;
  readonly webhook: Webhook | undefined;
  readonly mesh: MeshThread;
  readonly audit: AuditLog;
  readonly grpc: GrpcServer;
  readonly admin: AdminServer;
  readonly machine: MachineWatch;
  readonly persons: PersonDesk | undefined;
  readonly store: Store;
}): Promise<void> {
  const { parts, loops, control, webhook, mesh, audit, grpc, admin, store } = running;
  const ends = await Promise.all(loops.map((loop) => loop.drain(parts.config.drainMs)));
  webhook?.stop();
  // Whoever watches keeps its call open, and need not be waited for before the rest ends.
  const closed = Promise.all([grpc.close(500), admin.close()]);
  // What was lent goes back by way of the mesh thread.
  if (!(await mesh.link.lives())) parts.log.fault("mesh", new Error(SILENT_AT_END));
  await control.stop();
  const isMeshClosed = await mesh.end();
  running.machine.stop();
  await closed;
  running.persons?.stop();
  await audit.stop();
  await store.close();
  await Promise.all(ends.map(({ gone }) => gone));
  if (!isMeshClosed) throw new Error("the mesh thread is held by the kernel");
}

function urlHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
