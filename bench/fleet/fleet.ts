import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { fileKeys } from "../../adapters/file-keys.ts";
import { createGrpcClient } from "../../adapters/grpc-client.ts";
import { createBusHub } from "../../adapters/in-process-bus.ts";
import { openLmdbStore } from "../../adapters/lmdb-store.ts";
import { connectNatsBus, type NatsBus } from "../../adapters/nats-bus.ts";
import { COORDINATOR_RECONNECT_WAIT_MS } from "../../adapters/nats-connection.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { buildCoordinator, type Coordinator } from "../../coordinator/app.ts";
import { readCoordinatorConfig } from "../../coordinator/config.ts";
import { foundMesh, keysPath, socketPath, storePath } from "../../coordinator/found-mesh.ts";
import { rehearseCalls } from "../../coordinator/rehearse-calls.ts";
import { rehearseCommands } from "../../coordinator/rehearse-commands.ts";
import { nextRecord } from "../../mesh/record.ts";
import { REHEARSALS } from "../../mesh/rehearse-kill.ts";
import type { TrustPin } from "../../mesh/trust.ts";
import { FIRST_KILLS } from "../../ports/keep-rehearsed.ts";
import type { Keys } from "../../ports/keys.ts";
import { uuidV7 } from "../../ports/random.ts";
import { CoordinatorService } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { TrustRole, TrustSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { CONTROL_PREFIX, CONTROL_STREAM, controlSubject } from "../../proto/subjects.ts";
import { pause } from "../harness/operator.ts";
import type {
  EnforcedAt,
  FleetAnswer,
  FleetQuestion,
  FleetSetup,
  FleetStatus,
} from "./fleet-messages.ts";
import { lightNodeId, lightNodeSigner } from "./light-node.ts";
import { TappedBus } from "./tapped-bus.ts";

const PROCESSES_MAX = 4;
const NODES_PER_PROCESS_MIN = 50;
/** Of a fleet in several processes: the server and the coordinator have machines of their own beside so many nodes. */
const FLEET_NICENESS = 5;
const APPENDS_AT_ONCE = 32;
const READ_COUNT = 1_000;
const READY_MS = 120_000;
/** A kill that not every node has acknowledged by then is a fault, and never waited for without end. */
const KILL_MS = 60_000;
const LOOK_EVERY_MS = 20;

type Question = FleetQuestion extends infer Q
  ? Q extends { id: number }
    ? Omit<Q, "id">
    : never
  : never;

/** Monotonic ns, on the clock that all processes of a machine share. */
export type FleetKill = {
  readonly cmdId: string;
  /** The operator's call was made. */
  readonly askedNs: number;
  /** The coordinator said it on the fast path. */
  readonly saidNs: number;
  /** The coordinator has heard of every node that it is in force there. */
  readonly ackedNs: number;
};

/**
 * A coordinator in this process and any number of light nodes in others, over a real NATS server.
 *
 * Nodes are enrolled before they run, and begin with what the mesh knows then: what is measured is a
 * fleet that stands, not how one is founded.
 */
export class Fleet implements AsyncDisposable {
  readonly size: number;
  readonly bus: TappedBus;
  /** The coordinator's connection. */
  readonly nats: NatsBus;
  readonly calls: ReturnType<typeof clientOf>["calls"];
  readonly #stack: AsyncDisposableStack;
  readonly #processes: readonly FleetProcess[];

  private constructor(of: {
    readonly size: number;
    readonly bus: TappedBus;
    readonly nats: NatsBus;
    readonly calls: ReturnType<typeof clientOf>["calls"];
    readonly stack: AsyncDisposableStack;
    readonly processes: readonly FleetProcess[];
  }) {
    this.size = of.size;
    this.bus = of.bus;
    this.nats = of.nats;
    this.calls = of.calls;
    this.#stack = of.stack;
    this.#processes = of.processes;
  }

  /** @param ensure Makes the mesh's streams. */
  static async start(of: {
    readonly url: string;
    readonly size: number;
    readonly ensure: (bus: NatsBus) => Promise<unknown>;
  }): Promise<Fleet> {
    await using stack = new AsyncDisposableStack();
    const home = mkdtempSync(join(tmpdir(), "altf-"));
    stack.defer(() => rmSync(home, { recursive: true, force: true }));
    const reconnectWaitMs = COORDINATOR_RECONNECT_WAIT_MS;
    const nats = await connectNatsBus({ url: of.url, name: "coordinator", reconnectWaitMs });
    stack.defer(() => nats.close());
    await of.ensure(nats);
    const bus = new TappedBus(nats);
    const pin = await startCoordinator(home, bus, stack);
    await enrolAll({ home, bus: nats, pin, size: of.size });
    const baseFile = join(home, "base.json");
    writeFileSync(baseFile, JSON.stringify(await baseOf(nats)));
    const parts = splitOf(of.size);
    const niceness = parts.length > 1 ? FLEET_NICENESS : 0;
    const processes = parts.map(({ from, count }, i) => {
      const operatorPublicKey = Buffer.from(pin.operatorPublicKey).toString("hex");
      const homeDir = join(home, `fleet-${i}`);
      const { mesh } = pin;
      const { url } = of;
      const setup = { url, mesh, operatorPublicKey, baseFile, homeDir };
      return new FleetProcess({ ...setup, from, count, niceness });
    });
    for (const each of processes) stack.defer(() => each.stop());
    await Promise.all(processes.map(({ ready }) => ready));
    const client = clientOf(home);
    stack.defer(() => client.close());
    await rehearseCalls(client.calls, FIRST_KILLS);
    const { calls } = client;
    const fleet = new Fleet({ size: of.size, bus, nats, calls, stack: stack.move(), processes });
    await fleet.whenOpen();
    return fleet;
  }

  /** Kills a scope that no agent has, and waits until every node says that it is in force there. */
  async kill(scope = "team/bench"): Promise<FleetKill> {
    const cmdId = uuidV7(systemClock.nowMs(), cryptoRandom);
    const acked = this.bus.nextKill(cmdId, this.size);
    const askedNs = Number(systemClock.monoNs());
    await this.calls.kill({ cmdId, scope, reason: "bench", operator: "bench" });
    const ackedNs = await this.#untilAcked(acked);
    return { cmdId, askedNs, saidNs: this.bus.saidNs, ackedNs };
  }

  async #untilAcked(acked: Promise<number>): Promise<number> {
    const late = new AbortController();
    try {
      return await Promise.race([
        acked,
        sleep(KILL_MS, undefined, { signal: late.signal, ref: false }).then(() => {
          const { ackedCount } = this.bus;
          throw new Error(
            `${ackedCount} of ${this.size} nodes acknowledged a kill in ${KILL_MS} ms`,
          );
        }),
      ]);
    } finally {
      late.abort();
    }
  }

  /** When each node had the command, and had it in force. */
  async enforced(cmdId: string): Promise<EnforcedAt[]> {
    const said = await this.ask({ t: "enforced", cmdId });
    return said.flatMap((one) => (one.t === "enforced" ? one.times : []));
  }

  /** Consumers that the server keeps for the control stream; a node needs none. */
  async consumers(): Promise<number> {
    const { state } = await this.nats.manager().streams.info(CONTROL_STREAM);
    return state.consumer_count;
  }

  async ask(question: Question): Promise<readonly FleetAnswer[]> {
    return Promise.all(this.#processes.map((each) => each.ask(question)));
  }

  async status(): Promise<readonly FleetStatus[]> {
    const said = await this.ask({ t: "status" });
    return said.flatMap((one) => (one.t === "status" ? [one.status] : []));
  }

  /** Resolves once every node is open, which it is only with the coordinator's own state. */
  async whenOpen(): Promise<void> {
    await this.whenever("all nodes to open", (all) => sumOf(all, "open") === this.size);
  }

  async whenever(what: string, isSo: (all: readonly FleetStatus[]) => boolean): Promise<void> {
    const deadline = systemClock.monoNs() + BigInt(READY_MS) * 1_000_000n;
    for (;;) {
      const all = await this.status();
      if (isSo(all)) return;
      if (systemClock.monoNs() > deadline) {
        throw new Error(`waited in vain for ${what}: ${JSON.stringify(all)}`);
      }
      await pause(LOOK_EVERY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export function sumOf(all: readonly FleetStatus[], what: "open" | "up" | "rssBytes"): number {
  return all.reduce((sum, one) => sum + one[what], 0);
}

class FleetProcess {
  readonly ready: Promise<void>;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (said: FleetAnswer) => void>();
  readonly #ended = Promise.withResolvers<never>();
  #asked = 0;

  constructor(setup: FleetSetup) {
    const file = new URL("./fleet-process.ts", import.meta.url).pathname;
    this.#process = fork(file, [JSON.stringify(setup)], { serialization: "advanced" });
    // Whoever waits for an answer is told; nobody may be waiting.
    this.#ended.promise.catch(() => undefined);
    this.#process.once("exit", (code) => {
      this.#ended.reject(new Error(`light nodes ended with ${code}`));
    });
    const ready = new Promise<void>((resolve) => {
      this.#waiting.set(0, () => resolve());
    });
    this.ready = Promise.race([ready, this.#ended.promise]);
    this.#process.on("message", (said: FleetAnswer) => {
      this.#waiting.get(said.id)?.(said);
      this.#waiting.delete(said.id);
    });
  }

  ask(question: Question): Promise<FleetAnswer> {
    this.#asked += 1;
    const id = this.#asked;
    const answer = new Promise<FleetAnswer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#process.send({ ...question, id });
    });
    return Promise.race([answer, this.#ended.promise]);
  }

  async stop(): Promise<void> {
    this.ready.catch(() => undefined);
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }
}

function clientOf(home: string) {
  return createGrpcClient(CoordinatorService, { kind: "unix", path: socketPath(home) });
}

async function startCoordinator(
  home: string,
  bus: TappedBus,
  stack: AsyncDisposableStack,
): Promise<TrustPin> {
  const operatorKeys = fileKeys(home);
  const founded = foundMesh({ home, mesh: "fleet", operatorKeys, random: cryptoRandom });
  const read = readCoordinatorConfig({}, {}, { home });
  if ("errors" in read) throw new Error(read.errors.join("\n"));
  const store = openLmdbStore(storePath(home));
  stack.defer(() => store.close());
  const coordinator: Coordinator = await buildCoordinator(
    { ...read.config, metricsPort: 0 },
    founded.pin,
    {
      clock: systemClock,
      random: cryptoRandom,
      bus,
      store,
      keys: fileKeys(keysPath(home)),
      operator: founded.operator,
      log: () => undefined,
    },
  );
  await rehearse(fileKeys(keysPath(home)));
  await coordinator.start();
  stack.defer(() => coordinator.stop());
  await coordinator.whenReady(AbortSignal.timeout(READY_MS));
  return founded.pin;
}

/** As a coordinator's own process does before it listens, and beside its work in the minutes after that. */
async function rehearse(keys: Keys): Promise<void> {
  const hub = createBusHub(undefined);
  const ports = { clock: systemClock, random: cryptoRandom, verify: keys.verify };
  const signer = keys.loadOrCreate("coordinator");
  await rehearseCommands({ ...ports, bus: hub.connect() }, signer, REHEARSALS + FIRST_KILLS);
  await hub.close();
}

/** Writes the record that enrolment would have written, for each node. */
async function enrolAll(of: {
  readonly home: string;
  readonly bus: NatsBus;
  readonly pin: TrustPin;
  readonly size: number;
}): Promise<void> {
  const signer = fileKeys(keysPath(of.home)).loadOrCreate("enrolment");
  const left = Array.from({ length: of.size }, (_, no) => no);
  const enrol = async (no: number): Promise<void> => {
    const node = lightNodeId(no);
    const { kid, publicKey } = lightNodeSigner(no);
    const cmdId = uuidV7(systemClock.nowMs(), cryptoRandom);
    const value = create(TrustSchema, { keys: [{ kid, publicKey, role: TrustRole.NODE }] });
    const bytes = nextRecord(
      undefined,
      {
        mesh: of.pin.mesh,
        scope: `node/${node}`,
        cmdId,
        issuedAtMs: systemClock.nowMs(),
        operator: `node/${node}`,
        op: { case: "trust", value },
      },
      signer,
    );
    const stored = await of.bus.append(controlSubject({ kind: "node", id: node }), bytes, {
      msgId: cmdId,
      expectSeq: 0,
    });
    if (stored === "conflict") throw new Error(`${node} was enrolled before`);
  };
  const work = async (): Promise<void> => {
    for (let no = left.shift(); no !== undefined; no = left.shift()) await enrol(no);
  };
  await Promise.all(Array.from({ length: APPENDS_AT_ONCE }, work));
}

/** What a node that has been here for a while has on its disk. */
async function baseOf(bus: NatsBus): Promise<readonly (readonly [string, string])[]> {
  const entries: (readonly [string, string])[] = [];
  let mark = 0;
  for (;;) {
    const page = await bus.read(CONTROL_STREAM, mark + 1, READ_COUNT);
    for (const { subject, bytes, seq = 0 } of page) {
      const [kind = "", id = ""] = subject.slice(CONTROL_PREFIX.length).split(".");
      entries.push([
        `rec/${id === "" ? kind : `${kind}/${id}`}`,
        Buffer.from(bytes).toString("hex"),
      ]);
      mark = seq;
    }
    if (page.length < READ_COUNT) break;
  }
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(BigInt(mark));
  return [...entries, [`mark/${CONTROL_STREAM}`, place.toString("hex")]];
}

function splitOf(size: number): readonly { readonly from: number; readonly count: number }[] {
  const processes = Math.min(PROCESSES_MAX, Math.ceil(size / NODES_PER_PROCESS_MIN));
  const each = Math.ceil(size / processes);
  return Array.from({ length: processes }, (_, i) => ({
    from: i * each,
    count: Math.min(each, size - i * each),
  })).filter(({ count }) => count > 0);
}
