import { Registry } from "prom-client";
import { verifyEd25519 } from "../../adapters/ed25519.ts";
import { marksOf } from "../../node/actors/stored-accounts.ts";
import type { CrashProof } from "../../node/actors/table-mark.ts";
import { type LoggedRecord, usedSince } from "../../node/audit/used-since.ts";
import { nextBootId } from "../../node/boot-id.ts";
import { Control } from "../../node/control.ts";
import { openDataLoop } from "../../node/data-loop.ts";
import type { Connections } from "../../node/dataplane/connections.ts";
import type { LoopContext } from "../../node/loop-context.ts";
import { loopLink } from "../../node/loop-link.ts";
import type { HostStall } from "../../node/mesh/host-stall.ts";
import { MeshThread } from "../../node/mesh/mesh-thread.ts";
import type { Replica } from "../../node/mesh/replica.ts";
import { MeshThreadLink } from "../../node/mesh-thread-link.ts";
import type { NodeLog } from "../../node/node-log.ts";
import { createTable, type Table } from "../../node/table/table.ts";
import type { ControlToMesh } from "../../node/thread-messages.ts";
import type { Keys, Signer } from "../../ports/keys.ts";
import { type Store, StoreFault } from "../../ports/store.ts";
import { type TwinStore, twinStore } from "../../ports/twin-store.ts";
import { type Ack, tapBus } from "./bus-tap.ts";
import type { Draw } from "./draw.ts";
import { SimBus } from "./sim-bus.ts";
import { simChannel } from "./sim-channel.ts";
import { type MachineClock, machineTime } from "./sim-clock.ts";
import { simCompute } from "./sim-compute.ts";
import { versionIn } from "./sim-contracts.ts";
import { DEAD_MAN_MS, MESH } from "./sim-coordinator.ts";
import { simLog } from "./sim-log.ts";
import { REGION } from "./sim-policy.ts";
import { SimProcess } from "./sim-process.ts";
import type { Surroundings } from "./surroundings.ts";
import { SLOW_SYNCS, syncMs } from "./sync-time.ts";

const REBOOT_MS = 300;
const NODE_KEY = "node";

/** One start of a node: everything that its crash takes away. */
export type NodeRun = {
  readonly bootId: string;
  readonly process: SimProcess;
  readonly table: Table;
  readonly replica: Replica;
  readonly control: Control;
  readonly loop: LoopContext;
  readonly connections: Connections;
};

/** A node on its machine. Its disks, its key and the faults of its clock outlive its processes. */
export class SimNode {
  readonly name: string;
  readonly machine: MachineClock;
  readonly cable = { out: false, in: false };
  readonly #world: Surroundings;
  readonly #operatorKey: Uint8Array;
  readonly #keys: Keys;
  readonly #draw: Draw;
  #meshStore: TwinStore;
  #controlStore: TwinStore;
  #process: SimProcess | undefined;
  #bus: SimBus | undefined;
  #run: NodeRun | undefined;
  /** What the loop of the last start had written into its log, and whether all of it is there. */
  #written: { readonly run: string; readonly records: LoggedRecord[] } = { run: "", records: [] };
  #isLogWhole = false;
  /** Starts so far. */
  boots = 0;

  constructor(
    world: Surroundings,
    of: {
      readonly name: string;
      readonly machine: MachineClock;
      readonly operatorKey: Uint8Array;
      readonly draw: Draw;
    },
  ) {
    this.#world = world;
    this.name = of.name;
    this.machine = of.machine;
    this.#operatorKey = of.operatorKey;
    this.#draw = of.draw;
    this.#keys = world.keys.folder();
    // What it says of its disk is true also where that takes long.
    const slow = this.#draw.chance(0.3) ? SLOW_SYNCS.busy : SLOW_SYNCS.usual;
    this.#meshStore = twinStore(this.#disk(slow));
    this.#controlStore = twinStore(this.#disk());
  }

  get signer(): Signer {
    return this.#keys.loadOrCreate(NODE_KEY);
  }

  /** Undefined while it is down or starting. */
  get run(): NodeRun | undefined {
    return this.#run;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get isOpen(): boolean {
    return this.#run?.replica.opening.isOpen ?? false;
  }

  /** Starts it on what its disks hold, and again until they let it. */
  start(): void {
    const process = new SimProcess(this.#world.time, this.machine, this.#draw.fork());
    this.#process = process;
    this.boots += 1;
    this.#boot(process).catch((error: unknown) => {
      if (!process.isAlive) return;
      if (!(error instanceof StoreFault)) this.#bug("start", error);
      this.crash();
      this.#world.time.after(REBOOT_MS, () => {
        if (this.#process === undefined) this.start();
      });
    });
  }

  /**
   * Ends it as a loss of power does: memory and table are gone, and what was on its way to a disk. Or as
   * `kill -9` does, after which the log has all that was written into it.
   */
  crash(): void {
    this.#isLogWhole = this.#draw.chance(0.5);
    this.#process?.kill();
    void this.#bus?.close();
    this.#process = undefined;
    this.#run = undefined;
    const after = (store: TwinStore): TwinStore =>
      store.crash(this.#draw.below(store.pendingCommits + 1));
    this.#meshStore = after(this.#meshStore);
    this.#controlStore = after(this.#controlStore);
  }

  /** The disk of its mesh state has not taken all that it was given. */
  get isWriting(): boolean {
    return this.#meshStore.pendingCommits > 0;
  }

  /** Its host stops running it for a while, and then it goes on as if nothing had happened. */
  suspend(ms: number): void {
    this.#process?.suspend(ms);
  }

  async #boot(process: SimProcess): Promise<void> {
    const { clock, random } = process;
    const store = process.opened(this.#controlStore);
    const bootId = await nextBootId(store, clock, random);
    const at = { node: this.name, bootId };
    const table = createTable({ rows: 96, loops: 1, scopes: 256, writers: 3, proofs: 64 });
    const [meshSide, controlOfMesh] = simChannel(process, this.#draw.fork());
    const [controlSide, loopOfControl] = simChannel(process, this.#draw.fork());
    const [meshOfLoop, loopSide] = simChannel(process, this.#draw.fork());
    const post = (message: unknown): void => meshSide.postMessage(message);
    const crashProof = this.#proofOf(store);
    const records: LoggedRecord[] = [];
    this.#written = { run: bootId, records };
    const end = () => ({ fileNo: 1, bytes: records.length });
    const onWritten = (record: LoggedRecord["record"]): void => {
      records.push({ writer: "loop0", at: end(), record });
    };
    const thread = this.#meshThread(process, { table, bootId, post });
    meshSide.on("message", (message: ControlToMesh) => thread.take(message));
    const control = new Control({
      mesh: MESH,
      node: this.name,
      bootId,
      table,
      store,
      logMark: () => ({ run: bootId, ends: { loop0: end() } }),
      crashProof,
      clock,
      random,
      meshLink: new MeshThreadLink(controlOfMesh, clock),
      loops: [loopLink(0, controlSide)],
      append: () => undefined,
      log: this.#log(process),
    });
    const { loop, connections } = openDataLoop(
      {
        data: {
          loop: 0,
          mesh: MESH,
          node: this.name,
          region: REGION,
          credentials: new Map([["openai", "sk-simulated-0123456789"]]),
          credentialsDir: undefined,
          credentialTeams: undefined,
          sessionSecret: new Uint8Array(32),
        },
        table,
        log: simLog({
          process,
          draw: this.#draw.fork(),
          faults: this.#world.logFaults,
          onRecord: (record, fate) => {
            if (fate === "kept") onWritten(record);
            if (record.k === "decision" && fate !== "lost") {
              this.#world.tell({ ...at, t: "decided", record });
            }
            if (record.k === "settle") this.#world.tell({ ...at, t: "settled", record, fate });
          },
          onWritten,
        }),
        pool: simCompute(process, this.#draw.fork()),
        pools: this.#world.provider.pools(process),
        control: loopOfControl,
        meshPort: loopSide,
        clock,
        verify: verifyEd25519,
        registry: new Registry(),
        onEnd: () => undefined,
      },
      () => undefined,
    );
    thread.take({ t: "loop_port", loop: 0, port: meshOfLoop as never });
    await thread.start();
    const { replica } = thread;
    const versionOf = (scope: string): number => versionIn(replica.state, scope);
    this.#world.tell({ ...at, t: "restored", versionOf });
    await control.start();
    this.#run = { bootId, process, table, replica, control, loop, connections };
  }

  #proofOf(store: Store): CrashProof | undefined {
    const { run, records } = this.#written;
    if (!this.#isLogWhole) return undefined;
    return { run, used: usedSince(records, marksOf(store, run)) };
  }

  #meshThread(
    process: SimProcess,
    of: {
      readonly table: Table;
      readonly bootId: string;
      readonly post: (message: unknown) => void;
    },
  ): MeshThread {
    const { clock, random, nextTurn } = process;
    const at = { node: this.name, bootId: of.bootId };
    const bus = new SimBus({
      time: this.#world.time,
      server: this.#world.server,
      process,
      weather: this.#world.weather,
      cable: this.cable,
      draw: this.#draw.fork(),
      onAppended: this.#world.onAppended,
    });
    this.#bus = bus;
    const acked = ({ scope, v, isDurable }: Ack): void => {
      const record = thread.replica.state.get(scope);
      const isKill = record?.v === v && record.op.case === "kill";
      this.#world.tell({ ...at, t: "acked", scope, v, isDurable, isKill });
    };
    const thread: MeshThread = new MeshThread({
      table: of.table,
      config: {
        node: this.name,
        bootId: of.bootId,
        pin: { mesh: MESH, operatorPublicKey: this.#operatorKey },
        enrolToken: undefined,
        nkey: "",
        timing: { deadManMs: DEAD_MAN_MS, digestMs: 1_000, heartbeatMs: 2_000 },
      },
      ports: {
        bus: tapBus(bus, {
          ack: acked,
          beat: (beat) => this.#world.tell({ ...at, ...beat, t: "beat" }),
        }),
        store: process.opened(this.#meshStore),
        keys: this.#keys,
        clock,
        random,
        stall: NO_STALL,
        nextTurn,
      },
      post: of.post,
      bootMs: () => Number(clock.monoNs()) / 1e6,
      onAlarm: () => undefined,
      onEnforced: (record) => this.#world.tell({ ...at, t: "enforced", record }),
      onCommand: () => undefined,
      onStopped: async () => undefined,
    });
    return thread;
  }

  /** A disk's faults are the world's; any other fault is a bug of ours. */
  #log(process: SimProcess): NodeLog {
    const quiet = (): void => undefined;
    return {
      decision: quiet,
      standing: quiet,
      overrun: quiet,
      callDenied: () => undefined,
      grpcRenewed: () => undefined,
      ledgerBarred: () => undefined,
      distrust: quiet,
      distrustRefused: quiet,
      distrustSet: quiet,
      kernel: () => undefined,
      meshPriority: quiet,
      policyOffered: quiet,
      policySwitched: quiet,
      policyRefused: (_version, message) => this.#bug("policy", message),
      fault: (where, error) => {
        if (process.isAlive && !isOfStore(error)) this.#bug(where, error);
      },
      started: quiet,
      replaced: () => undefined,
      stopped: quiet,
    };
  }

  #bug(where: string, error: unknown): void {
    this.#world.tell({ t: "bug", where: `${this.name} ${where}`, error });
  }

  #disk(slow: number = SLOW_SYNCS.usual) {
    const clock = machineTime(this.#world.time, this.machine);
    const delay = { clock, commitMs: () => syncMs(this.#draw, slow) };
    return { delay, commitFate: this.#world.commitFate(this.#draw.fork()) };
  }
}

function isOfStore(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof StoreFault) return true;
  }
  return false;
}

const NO_STALL: HostStall = {
  mark: (atNs) => ({ atNs, schedstat: "" }),
  until: (mark, toNs) => ({ fromNs: mark.atNs, toNs, runDelayNs: 0n }),
  longestNs: () => 0n,
  close: () => undefined,
};
