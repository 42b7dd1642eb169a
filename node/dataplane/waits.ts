import type { Clock } from "../../ports/clock.ts";
import { type Link, OpenList } from "../open-list.ts";

/** Who waits. */
export type Waiting = {
  /** The time is over, and nobody has ended the wait. */
  onDue(): void;
};

/** One that waits; `end` of its waits ends it. */
export type Wait = Link<Entry>;

type Entry = { readonly who: Waiting; readonly dueNs: bigint; readonly among: Alike };

/** Those that wait for equally long: they fall due in the order in which they began. */
type Alike = { readonly delayMs: number; readonly waits: OpenList<Entry>; isTimed: boolean };

/**
 * Many waits of few lengths, nearly all of which are ended long before they are over: a request waits for its
 * provider for as long as policy says, and a thousand of them need one timer and not a thousand.
 *
 * W1. As a timer of its own would, a wait falls due once, not before its time, and never after it was ended.
 * W2. Of each length that anybody waits for, one timer runs; it is for the longest waiting.
 */
export class Waits {
  readonly #clock: Clock;
  readonly #byDelay = new Map<number, Alike>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param nowNs Monotonic now, as the clock tells it. */
  begin(who: Waiting, delayMs: number, nowNs: bigint): Wait {
    const among = this.#byDelay.get(delayMs) ?? this.#open(delayMs);
    const dueNs = nowNs + BigInt(Math.ceil(delayMs * NS_PER_MS));
    const wait = among.waits.add({ who, dueNs, among });
    if (!among.isTimed) this.#time(among, delayMs);
    return wait;
  }

  /** Does nothing for one that is over or was ended. */
  end(wait: Wait): void {
    wait.item.among.waits.remove(wait);
  }

  #open(delayMs: number): Alike {
    const among: Alike = { delayMs, waits: new OpenList(), isTimed: false };
    this.#byDelay.set(delayMs, among);
    return among;
  }

  #time(among: Alike, ms: number): void {
    among.isTimed = true;
    this.#clock.after(ms, () => this.#look(among));
  }

  #look(among: Alike): void {
    const nowNs = this.#clock.monoNs();
    try {
      this.#endDue(among, nowNs);
    } finally {
      among.isTimed = false;
      const next = among.waits.first;
      if (next !== undefined) this.#time(among, Number(next.item.dueNs - nowNs) / NS_PER_MS);
      // Policies come and go, and with them the lengths that they name.
      else this.#byDelay.delete(among.delayMs);
    }
  }

  #endDue({ waits }: Alike, nowNs: bigint): void {
    for (let wait = waits.first; wait !== undefined; wait = waits.first) {
      if (wait.item.dueNs > nowNs) return;
      waits.remove(wait);
      wait.item.who.onDue();
    }
  }
}

const NS_PER_MS = 1_000_000;
