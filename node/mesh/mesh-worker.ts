import { uptime } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type MessagePort, parentPort } from "node:worker_threads";
import { busOverPort } from "../../adapters/bus-over-port.ts";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { verifyEd25519 } from "../../adapters/ed25519.ts";
import { fileKeys, passingSigner } from "../../adapters/file-keys.ts";
import { knockSocket } from "../../adapters/knock-socket.ts";
import { connectLines } from "../../adapters/line-socket.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { openNatsBus } from "../../adapters/nats-bus.ts";
import { inboxPrefix } from "../../adapters/nats-permissions.ts";
import type { NatsTls } from "../../adapters/nats-tls-settings.ts";
import { type NatsUser, natsUser, storedNatsUser } from "../../adapters/nats-user.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { preferThisThread } from "../../adapters/thread-priority.ts";
import { readTrustFile } from "../../adapters/trust-file.ts";
import { openTurnPipe } from "../../adapters/turn-pipe.ts";
import type { Bus } from "../../ports/bus.ts";
import { keepRehearsed } from "../../ports/keep-rehearsed.ts";
import { beginning } from "../../ports/thread-beginning.ts";
import { openWalSignal } from "../audit/wal-signal.ts";
import { openWal, type Wal } from "../audit/wal-writer.ts";
import { gatheredPort } from "../gathered-port.ts";
import { gatePipes } from "../kernel/gate-pipes.ts";
import { openTable, type Table } from "../table/table.ts";
import type { ControlToMesh, MeshToControl, MeshToLoop } from "../thread-messages.ts";
import { alarmLog } from "./alarm-log.ts";
import { commandRecord } from "./command-record.ts";
import { GateKnock } from "./gate-knock.ts";
import { GatePipe } from "./gate-pipe.ts";
import { openHostStall } from "./host-stall.ts";
import { KernelGateLink, type KernelGateLinkDeps } from "./kernel-gate-link.ts";
import { killRecord } from "./kill-record.ts";
import { MeshThread } from "./mesh-thread.ts";
import { rehearseEnforcement } from "./rehearse-enforcement.ts";
import type { ReplicaConfig } from "./replica.ts";

/** What the thread is started with. */
export type MeshWorkerData = {
  readonly tableBuffer: SharedArrayBuffer;
  readonly nodeId: string;
  /** Id of this run of the process, which all its threads name to the mesh. */
  readonly bootId: string;
  /** The node's own folder: keys in `keys`, merged state in `mesh`. */
  readonly homeDir: string;
  readonly trustFile: string;
  readonly enrolToken?: string;
  readonly bus:
    | { readonly kind: "nats"; readonly url: string; readonly tls?: NatsTls | undefined }
    | { readonly kind: "port"; readonly port: MessagePort };
  readonly timing: ReplicaConfig["timing"];
  /** Where the machine's enforcer listens, where there is one. */
  readonly gateSocket?: string | undefined;
  /** The launcher's socket for knocks at the kernel gate. */
  readonly knockFd?: number | undefined;
  /** The WAL of this thread. */
  readonly wal: {
    readonly dir: string;
    readonly run: string;
    readonly writer: number;
    readonly signalBuffer: SharedArrayBuffer;
    readonly syncMaxMs: number;
  };
};

/** For one that takes another one's place: with what it is connected to NATS before it is its turn. */
export type MeshRehearsal = Pick<MeshWorkerData, "nodeId" | "homeDir"> & {
  readonly bus: Extract<MeshWorkerData["bus"], { kind: "nats" }>;
};

/** The only thread of a node that talks to the mesh. What it throws ends the process. */
async function run(data: MeshWorkerData): Promise<void> {
  if (!parentPort) throw new Error("the mesh thread is started as a worker");
  const control = gatheredPort(parentPort);
  const store = openLmdbStore(join(data.homeDir, "mesh"));
  const stall = openHostStall(systemClock);
  const stopping = new AbortController();
  // While it connects, what lies on the disk comes into force.
  const { bus, attempted, user } = early ?? openBus(data, userOf(data));
  const table = openTable(data.tableBuffer);
  const log = openMeshWal(data, table);
  const gate = openGate(data, {
    killed: () => thread.replica.enforcement.killed,
    onState: (faults) => control.postMessage({ t: "kernel", faults } satisfies MeshToControl),
  });
  const keys = fileKeys(join(data.homeDir, "keys"));
  const thread = new MeshThread({
    table,
    config: {
      node: data.nodeId,
      bootId: data.bootId,
      pin: readTrustFile(data.trustFile),
      enrolToken: data.enrolToken,
      nkey: user?.publicKey ?? "",
      timing: data.timing,
    },
    ports: { bus, store, keys, clock: systemClock, random: cryptoRandom, stall, nextTurn },
    post: (message) => control.postMessage(message),
    ...(gate && { gate }),
    attempted,
    bootMs: () => uptime() * 1_000,
    onAlarm: alarmLog(systemClock, (line) => warn(data, line)),
    onEnforced: (record, times) => {
      const now = { t: systemClock.nowMs(), node: data.nodeId };
      const kill = killRecord(record, times, now);
      if (kill !== undefined) log.append(kill);
    },
    onCommand: (record) => {
      const now = { t: systemClock.nowMs(), node: data.nodeId };
      const command = commandRecord(record, now);
      if (command !== undefined) log.append(command);
    },
    onStopping: () => {
      stopping.abort();
      gate?.close();
    },
    onStopped: async () => {
      await bus.close();
      await store.close();
      log.close();
      stall.close();
      control.postMessage({ t: "stopped" } satisfies MeshToControl);
      control.close();
    },
  });
  control.on("message", (message: ControlToMesh) => {
    if (message.t !== "loop_port") thread.take(message);
    else thread.addLoop(message.loop, gatheredPort(message.port, isCut));
  });
  await thread.start();
  // Only now is it known what is killed, which is the first thing that the enforcer is told.
  gate?.open();
  control.postMessage({ t: "priority", ...(await preferThisThread()) } satisfies MeshToControl);
  const onFault = (error: unknown) =>
    warn(data, { event: "rehearsal_failed", error: String(error) });
  void keepRehearsed({ clock: systemClock, signal: stopping.signal, onFault }, rehearse);
}

/** Handed to the main thread: whoever reads the log must never hold this thread up. */
function warn({ nodeId: node }: MeshWorkerData, line: object): void {
  process.stderr.write(`${JSON.stringify({ level: "warn", thread: "mesh", node, ...line })}\n`);
}

/** Kills of nobody, with a key of nobody's: first of all before it is known whose thread this is. */
async function rehearse(count?: number): Promise<void> {
  const stall = openHostStall(systemClock);
  const ports = { clock: systemClock, random: cryptoRandom, stall, nextTurn };
  await rehearseEnforcement({ ...ports, verify: verifyEd25519 }, passingSigner(), count);
  stall.close();
}

/** Nothing may keep a cut waiting. */
function isCut({ t }: MeshToLoop): boolean {
  return t === "cut";
}

function openGate(
  { gateSocket, knockFd }: MeshWorkerData,
  hooks: Pick<KernelGateLinkDeps, "killed" | "onState">,
): KernelGateLink | undefined {
  if (gateSocket === undefined) return undefined;
  const pipes = gatePipes(gateSocket);
  return new KernelGateLink({
    clock: systemClock,
    connect: (handlers) => connectLines(gateSocket, handlers),
    ...(knockFd !== undefined && { knock: new GateKnock(knockSocket(knockFd)) }),
    pipe: new GatePipe(systemClock, () => openTurnPipe(pipes.ask, pipes.say)),
    ...hooks,
    onFault: (what) =>
      process.stderr.write(`${JSON.stringify({ level: "warn", thread: "mesh", what })}\n`),
  });
}

function openMeshWal({ wal }: MeshWorkerData, table: Table): Wal {
  return openWal({
    dir: wal.dir,
    run: wal.run,
    writer: { no: wal.writer, name: "mesh" },
    table,
    signal: openWalSignal(wal.signalBuffer),
    clock: systemClock,
    syncMaxMs: wal.syncMaxMs,
    disk: machineDisk,
  });
}

type OpenedBus = {
  readonly bus: Bus;
  readonly attempted: Promise<void>;
  /** As whom: of the in-process bus nobody asks that. */
  readonly user: NatsUser | undefined;
};

function userOf({ bus, homeDir }: MeshWorkerData): NatsUser | undefined {
  return bus.kind === "nats" ? natsUser(join(homeDir, "keys")) : undefined;
}

/**
 * Beside the node whose place it takes: connecting takes a login, which is code that nothing has compiled. Nothing is said
 * and nothing listened to: to the mesh that other one is this node. Of HOME one key is read.
 */
async function connectEarly(at: MeshRehearsal): Promise<void> {
  const user = storedNatsUser(join(at.homeDir, "keys"));
  if (user === undefined) return;
  early = openBus(at, user);
  await early.attempted;
}

function openBus(
  { bus: at, nodeId }: Pick<MeshWorkerData, "bus" | "nodeId">,
  user: NatsUser | undefined,
): OpenedBus {
  if (at.kind === "port") return { bus: busOverPort(at.port), attempted: Promise.resolve(), user };
  const bus = openNatsBus({
    url: at.url,
    name: `node ${nodeId}`,
    inboxPrefix: inboxPrefix({ role: "node", name: nodeId }),
    ...(at.tls && { tls: at.tls }),
    ...(user === undefined ? {} : { nkeySeed: user.seed }),
  });
  return { bus, attempted: bus.firstAttempt, user };
}

let early: OpenedBus | undefined;
await rehearse();
await run(await beginning<MeshWorkerData, MeshRehearsal>(connectEarly));
