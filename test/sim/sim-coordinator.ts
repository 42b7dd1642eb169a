import { ledgerSettings } from "../../coordinator/config.ts";
import { beginEpoch } from "../../coordinator/epoch.ts";
import { CoordinatorMetrics } from "../../coordinator/metrics.ts";
import { buildParts, type Parts } from "../../coordinator/parts.ts";
import { PLACED_EVERYWHERE } from "../../coordinator/placement.ts";
import { limitsOfPolicy } from "../../coordinator/policy-limits.ts";
import { modelsOfPolicy } from "../../coordinator/policy-models.ts";
import { ratesOfPolicy } from "../../coordinator/policy-rates.ts";
import { foundTrust } from "../../coordinator/trust-bundle.ts";
import type { Keys, Signer } from "../../ports/keys.ts";
import { StoreFault } from "../../ports/store.ts";
import { type TwinStore, twinStore } from "../../ports/twin-store.ts";
import { tapBus } from "./bus-tap.ts";
import type { Draw } from "./draw.ts";
import type { LeaseJournal } from "./lease-journal.ts";
import { SimBus } from "./sim-bus.ts";
import type { MachineClock } from "./sim-clock.ts";
import { machineTime } from "./sim-clock.ts";
import { versionIn } from "./sim-contracts.ts";
import { SimProcess } from "./sim-process.ts";
import type { Surroundings } from "./surroundings.ts";
import { syncMs } from "./sync-time.ts";

export const MESH = "sim";
export const DEAD_MAN_MS = 12_000;
export const MARGIN_MS = 2_000;
export const LEASE_TTL_MS = 12_000;
const HOUSEKEEPING_MS = 1_000;
const REBOOT_MS = 300;
/** The least that the ledger lends, so that little money is enough for many leases. */
const SLICES = { min: 50_000, max: 1_500_000 };

export type SimCoordinatorOptions = {
  readonly name: string;
  /** It has the operator's key in its HOME, and so founds the mesh. */
  readonly isFounder: boolean;
  /** Its ledger is a chain in a stream, as over NATS; otherwise it lies on its own disk. */
  readonly isLedgerShared: boolean;
  readonly leaderTtlMs: number;
  readonly journal: LeaseJournal;
  readonly machine: MachineClock;
  readonly operator: Signer;
  readonly draw: Draw;
};

/** A coordinator on its machine: its disk and its keys outlive its processes. */
export class SimCoordinator {
  readonly name: string;
  readonly cable = { out: false, in: false };
  readonly #of: SimCoordinatorOptions;
  readonly #world: Surroundings;
  readonly #machine: MachineClock;
  readonly #keys: Keys;
  readonly #draw: Draw;
  #store: TwinStore;
  #process: SimProcess | undefined;
  #bus: SimBus | undefined;
  #parts: Parts | undefined;
  #stopping = new AbortController();

  constructor(world: Surroundings, of: SimCoordinatorOptions) {
    this.name = of.name;
    this.#of = of;
    this.#world = world;
    this.#machine = of.machine;
    this.#draw = of.draw;
    this.#keys = world.keys.folder();
    this.#store = twinStore(this.#disk());
  }

  /** Undefined while it is down, or has not read its disk. */
  get parts(): Parts | undefined {
    return this.#parts;
  }

  get enrolment(): Signer {
    return this.#keys.loadOrCreate("enrolment");
  }

  get signer(): Signer {
    return this.#keys.loadOrCreate("coordinator");
  }

  /** The ledger's wall clock runs with this one. */
  nowMs(): number {
    return machineTime(this.#world.time, this.#machine).nowMs();
  }

  /** Starts it on what its disk holds, and again until its disk lets it. */
  start(): void {
    const process = new SimProcess(this.#world.time, this.#machine, this.#draw.fork());
    this.#process = process;
    this.#boot(process).catch((error: unknown) => {
      if (!process.isAlive) return;
      if (!(error instanceof StoreFault)) {
        this.#world.tell({ t: "bug", where: "coordinator", error });
      }
      this.crash();
      this.#world.time.after(REBOOT_MS, () => {
        if (this.#process === undefined) this.start();
      });
    });
  }

  /** Ends it as a loss of power does. */
  crash(): void {
    this.#stopping.abort();
    this.#process?.kill();
    void this.#bus?.close();
    this.#process = undefined;
    this.#parts = undefined;
    this.#store = this.#store.crash(this.#draw.below(this.#store.pendingCommits + 1));
  }

  /** Its host stops running it for a while, and then it goes on as if nothing had happened. */
  suspend(ms: number): void {
    this.#process?.suspend(ms);
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  async #boot(process: SimProcess): Promise<void> {
    const { clock, random } = process;
    this.#stopping = new AbortController();
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
    const store = process.opened(this.#store);
    const epoch = await beginEpoch(store);
    if (!this.#of.isLedgerShared) this.#world.tell({ t: "led", coordinator: this.name });
    const tell = this.#teller(process);
    const parts: Parts = buildParts({
      config: this.#config(),
      pin: { mesh: MESH, operatorPublicKey: this.#of.operator.publicKey },
      epoch,
      clock,
      random,
      bus: tapBus(bus, {
        beat: ({ stateHash }) => {
          const knowsKill = (scope: string, v: number): boolean => {
            const { state } = parts.replica;
            const known = versionIn(state, scope);
            return known > v || (known === v && state.get(scope)?.op.case === "kill");
          };
          this.#world.tell({ t: "digest", stateHash, knowsKill });
        },
      }),
      store,
      verify: this.#keys.verify,
      signer: this.signer,
      enrolmentSigner: this.enrolment,
      witnessSigner: this.#keys.loadOrCreate("witness"),
      outsideLogs: [],
      outsidePolicy: () => "",
      witnessedOf: () => undefined,
      placementOf: () => PLACED_EVERYWHERE,
      limitsOf: limitsOfPolicy,
      readAhead: async () => undefined,
      modelsOf: modelsOfPolicy,
      ratesOf: ratesOfPolicy,
      tell,
      metrics: new CoordinatorMetrics(),
      onFenced: () => undefined,
    });
    parts.replica.start();
    parts.ledger.start();
    parts.registry.start();
    parts.requests.start();
    parts.commands.resume();
    parts.saidAgain.start();
    parts.peerDigests.start();
    void foundTrust({
      ...parts,
      mesh: MESH,
      clock,
      random,
      tell,
      operator: this.#of.isFounder ? this.#of.operator : undefined,
      coordinator: this.signer,
      enrolment: this.enrolment,
      signal: this.#stopping.signal,
    });
    parts.digest.start();
    const keepHouse = (): void => {
      parts.registry.sweep();
      clock.after(HOUSEKEEPING_MS, keepHouse);
    };
    keepHouse();
    this.#parts = parts;
  }

  #config() {
    const { name, isLedgerShared, leaderTtlMs } = this.#of;
    const natsUrl = isLedgerShared ? "nats://sim" : undefined;
    return { ...CONFIG, replicaId: name, natsUrl, leaderTtlMs };
  }

  /** A disk that fails is the world's doing; a ledger that does not add up is ours. */
  #teller(process: SimProcess): (event: string, fields?: unknown) => void {
    return (event, fields) => {
      if (!process.isAlive) return;
      if (event === "ledger_led") this.#world.tell({ t: "led", coordinator: this.name });
      const isOfLedger = event === "ledger_failed" || event === "journal_failed";
      const isCorrupt = isOfLedger && /Corrupt|JournalFault/.test(JSON.stringify(fields));
      if (event !== "handler_failed" && !isCorrupt) return;
      this.#world.tell({ t: "bug", where: `coordinator ${this.name}`, error: fields });
    };
  }

  #disk() {
    const clock = machineTime(this.#world.time, this.#machine);
    const { journal, isLedgerShared } = this.#of;
    return {
      delay: { clock, commitMs: () => syncMs(this.#draw) },
      commitFate: this.#world.commitFate(this.#draw.fork()),
      onPersisted: (writes: Parameters<LeaseJournal["persisted"]>[0]) => {
        if (isLedgerShared) journal.copied(writes);
        else journal.persisted(writes);
      },
    };
  }
}

const CONFIG = {
  home: "/nowhere",
  mesh: undefined,
  natsReplicas: 1 as const,
  trustFile: undefined,
  metricsHost: "127.0.0.1",
  metricsPort: 0,
  grpcTls: undefined,
  natsTls: undefined,
  witness: undefined,
  outside: undefined,
  digestMs: 1_000,
  deadManMs: DEAD_MAN_MS,
  containmentMarginMs: MARGIN_MS,
  nodeSilentMs: 7_000,
  ledger: ledgerSettings({ leaseTtlMs: LEASE_TTL_MS, usdMicros: SLICES }),
  autoKillsPerMinute: 2,
  commandsMax: 1_000,
  archive: undefined,
  drainMs: 0,
  logLevel: "silent" as const,
};
