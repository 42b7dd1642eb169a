import type { Client, Dispatcher } from "undici";
import type { Clock } from "../../ports/clock.ts";

/** One connection, with the client that makes it anew when it is gone. */
type Kept = {
  readonly client: Client;
  /** Monotonic time at which it was made, nanoseconds; 0 before. */
  madeNs: bigint;
  isIdle: boolean;
  /** It takes no more requests; resolves when what it has is done and it is closed. */
  closing: Promise<void> | undefined;
};

/**
 * The connections to one origin, each of which carries one request at a time.
 *
 * Undici's own pool looks through all that it has for one that is free, twice for each request, and those
 * that carry long streams come first: with two thousand of them open a small request cost twice as much.
 * Here those that are free are known.
 *
 * P1. A connection is among the free ones exactly while nothing runs on it, and last in, first out: those
 *     that are not needed fall silent, and go.
 * P2. One that could not be made, was closed by the far side or is too old takes no further request; what it
 *     has is still carried out.
 */
export class OriginPool implements Pick<Dispatcher, "dispatch"> {
  readonly #make: () => Client;
  readonly #clock: Pick<Clock, "monoNs">;
  readonly #ageNsMax: bigint;
  readonly #idle: Kept[] = [];
  /** Whatever may have a connection, those that are closing too. */
  readonly #all = new Set<Kept>();

  /** @param of.make A client of one request at a time, which is not connected yet. */
  constructor(of: {
    readonly make: () => Client;
    readonly clock: Pick<Clock, "monoNs">;
    readonly ageMsMax: number;
  }) {
    this.#make = of.make;
    this.#clock = of.clock;
    this.#ageNsMax = BigInt(of.ageMsMax) * 1_000_000n;
  }

  /** Whether the next request most likely goes on a connection that is there. False: one has to be opened for it. */
  get hasIdle(): boolean {
    const next = this.#idle.at(-1);
    return next !== undefined && !this.#isOld(next);
  }

  /** Always takes it: there are as many connections as there is need of. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const kept = this.#take();
    const isFree = kept.client.dispatch(options, handler);
    // What is refused before it is begun leaves nothing behind that would end.
    if (isFree || kept.client.stats.size === 0) this.#putBack(kept);
    return true;
  }

  /** Connections, those included that are being made or are closing. */
  get size(): number {
    return this.#all.size;
  }

  /** Resolves when what runs has ended and all connections are closed. */
  async close(): Promise<void> {
    this.#idle.length = 0;
    await Promise.all([...this.#all].map((kept) => this.#retire(kept)));
  }

  /** Ends what runs, and closes all connections. */
  async destroy(): Promise<void> {
    this.#idle.length = 0;
    await Promise.all([...this.#all].map(({ client }) => client.destroy()));
  }

  #take(): Kept {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      kept.isIdle = false;
      if (!this.#isOld(kept)) return kept;
      void this.#retire(kept);
    }
    return this.#add();
  }

  #add(): Kept {
    const client = this.#make();
    const kept: Kept = { client, madeNs: 0n, isIdle: false, closing: undefined };
    this.#all.add(kept);
    client.on("connect", () => {
      kept.madeNs = this.#clock.monoNs();
    });
    client.on("drain", () => this.#putBack(kept));
    client.on("disconnect", () => this.#drop(kept));
    client.on("connectionError", () => this.#drop(kept));
    return kept;
  }

  #isOld({ madeNs }: Kept): boolean {
    return madeNs > 0n && this.#clock.monoNs() - madeNs > this.#ageNsMax;
  }

  #putBack(kept: Kept): void {
    if (kept.isIdle || kept.closing !== undefined || kept.client.closed) return;
    kept.isIdle = true;
    this.#idle.push(kept);
  }

  #drop(kept: Kept): void {
    if (kept.isIdle) {
      kept.isIdle = false;
      this.#idle.splice(this.#idle.indexOf(kept), 1);
    }
    void this.#retire(kept);
  }

  /** Never rejects: a fault of closing is a connection that is gone, as wanted. */
  #retire(kept: Kept): Promise<void> {
    kept.closing ??= kept.client
      .close()
      .catch(() => undefined)
      .then(() => void this.#all.delete(kept));
    return kept.closing;
  }
}
