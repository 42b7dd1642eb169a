import type { Seat } from "./seat.ts";

/** Hears of an account whose actor came into memory, or left it. */
export type AccountFollower = (account: string, isHere: boolean) => void;

/** Seats by their account, and whoever wants to know which there are without looking at all of them. */
export class SeatMap extends Map<string, Seat> {
  #tell: AccountFollower = () => undefined;

  /** Tells of all that are here, and from then on of each that comes or leaves. For one follower. */
  follow(tell: AccountFollower): void {
    this.#tell = tell;
    for (const account of this.keys()) tell(account, true);
  }

  override set(account: string, seat: Seat): this {
    super.set(account, seat);
    this.#tell(account, true);
    return this;
  }

  override delete(account: string): boolean {
    const wasHere = super.delete(account);
    if (wasHere) this.#tell(account, false);
    return wasHere;
  }
}
