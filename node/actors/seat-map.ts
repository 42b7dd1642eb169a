import type { Seat } from "./seat.ts";

/** What became of an account: its actor came into memory, shows something else than before, or left. */
export type AccountNewsKind = "came" | "changed" | "left";

/** Hears of an account's actor. Not of what requests take from its row: that a change follows upon. */
export type AccountFollower = (account: string, what: AccountNewsKind) => void;

/** Seats by their account, and whoever wants to know of some without looking at all of them. */
export class SeatMap extends Map<string, Seat> {
  readonly #followers: AccountFollower[] = [];

  /** Tells of all that are here, and from then on of each that comes, changes or leaves. */
  follow(tell: AccountFollower): void {
    this.#followers.push(tell);
    for (const account of this.keys()) tell(account, "came");
  }

  override set(account: string, seat: Seat): this {
    super.set(account, seat);
    this.#tell(account, "came");
    return this;
  }

  override delete(account: string): boolean {
    const wasHere = super.delete(account);
    if (wasHere) this.#tell(account, "left");
    return wasHere;
  }

  /** Of a seat whose state has changed, after all that follows from it was done. */
  changed(account: string): void {
    this.#tell(account, "changed");
  }

  #tell(account: string, what: AccountNewsKind): void {
    for (const tell of this.#followers) tell(account, what);
  }
}
