import { type BusHub, createBusHub } from "../../adapters/in-process-bus.ts";
import { type TwinStore, twinStore } from "../../ports/twin-store.ts";
import { JOURNAL_STREAM, LEADER_STREAM } from "../../proto/subjects.ts";
import type { Draw } from "./draw.ts";
import { type MachineClock, machineTime, type SimTime } from "./sim-clock.ts";

/** Copies of the stream's disk, to which a loss of power may take it back. */
const SNAPSHOT_EVERY_MS = 4_000;
const LEDGER_KEYS = new RegExp(`^bus/(${JOURNAL_STREAM}|${LEADER_STREAM})/`);

/**
 * The server between everybody: it stores the streams and passes messages on. It may stop, and come
 * back with an older disk than the one whose appends it had acknowledged.
 */
export class SimServer {
  readonly #time: SimTime;
  readonly #machine: MachineClock;
  readonly #draw: Draw;
  #store: TwinStore;
  #snapshot: ReadonlyMap<string, Uint8Array> = new Map();
  #hub: BusHub | undefined;
  #incarnation = 0;

  constructor(time: SimTime, machine: MachineClock, draw: Draw) {
    this.#time = time;
    this.#machine = machine;
    this.#draw = draw;
    this.#store = twinStore(this.#disk());
    this.#hub = createBusHub(this.#store, machineTime(time, machine));
    this.#keepSnapshots();
  }

  /** Undefined while it is down. */
  get hub(): BusHub | undefined {
    return this.#hub;
  }

  /** Another one after each start. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** Whether a stream on its disk has this message. */
  holds(message: Uint8Array): boolean {
    return [...this.#store.durable.values()].some((stored) =>
      Buffer.from(stored).includes(message),
    );
  }

  stop(): void {
    this.#hub = undefined;
    this.#store = this.#store.crash(this.#draw.below(this.#store.pendingCommits + 1));
  }

  /**
   * @param rolledBack Streams of which the disk lost what was written last, acknowledged or not:
   *   `all`, or all but the ledger's, which several coordinators have stored with every append.
   */
  async start(rolledBack: "none" | "all" | "but_ledger"): Promise<void> {
    const stays = (key: string): boolean =>
      rolledBack === "none" || (rolledBack === "but_ledger" && LEDGER_KEYS.test(key));
    const kept = new Map([
      ...[...this.#snapshot].filter(([key]) => !stays(key)),
      ...[...this.#store.durable].filter(([key]) => stays(key)),
    ]);
    this.#store = twinStore(this.#disk(), kept);
    this.#incarnation += 1;
    this.#hub = createBusHub(this.#store, machineTime(this.#time, this.#machine));
  }

  #disk() {
    const clock = machineTime(this.#time, this.#machine);
    return { delay: { clock, commitMs: () => this.#draw.between(0.1, 2) } };
  }

  #keepSnapshots(): void {
    this.#time.after(SNAPSHOT_EVERY_MS, () => {
      if (this.#draw.chance(0.5)) this.#snapshot = new Map(this.#store.durable);
      this.#keepSnapshots();
    });
  }
}
