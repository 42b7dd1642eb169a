import type { BucketCharge } from "../../../../node/decision/bucket-charge.ts";
import type { Cost } from "../../../../node/decision/facts.ts";
import type { Charges } from "../../../../node/decision/verdict.ts";
import type { Settlement } from "../../../../node/table/reserve.ts";

/** One row and the overrun account as plain values: what the shared cells must agree with. */
export class PlainRow {
  usd = 0n;
  tokens = 0n;
  calls = 0n;
  overrun = 0n;
  unlimited = new Set<"usd" | "tokens" | "calls">();
  /** Picoseconds of debt per bucket and when it was last looked at. */
  readonly buckets = {
    requests: new PlainBucket(),
    tokens: new PlainBucket(),
    usd_micros: new PlainBucket(),
  };

  reserve(charges: Charges, nowNs: bigint): string {
    for (const metric of ["requests", "tokens", "usd_micros"] as const) {
      for (const charge of charges.buckets) {
        if (charge.metric === metric && !this.buckets[metric].fits(charge, nowNs)) return metric;
      }
    }
    const cost = this.chargeable(charges.cost);
    if (cost.usdMicros > this.usd) return "usd";
    if (cost.tokens > this.tokens) return "tokens";
    if (cost.calls > this.calls) return "calls";
    if (charges.overrunMicros > this.overrun) return "overrun";
    for (const charge of charges.buckets) this.buckets[charge.metric].take(charge, nowNs);
    this.usd -= cost.usdMicros;
    this.tokens -= cost.tokens;
    this.calls -= cost.calls;
    this.overrun -= charges.overrunMicros;
    return "taken";
  }

  chargeable(cost: Cost): Cost {
    return {
      usdMicros: this.unlimited.has("usd") ? 0n : cost.usdMicros,
      tokens: this.unlimited.has("tokens") ? 0n : cost.tokens,
      calls: this.unlimited.has("calls") ? 0n : cost.calls,
    };
  }

  release(taken: Cost, charges: Charges): void {
    this.usd += taken.usdMicros;
    this.tokens += taken.tokens;
    this.calls += taken.calls;
    this.overrun += charges.overrunMicros;
    for (const charge of charges.buckets) this.buckets[charge.metric].giveBack(charge);
  }

  settle({ held, spent, overrunHeldMicros, overrunSpentMicros }: Settlement): void {
    const above = spent.usdMicros > held.usdMicros ? spent.usdMicros - held.usdMicros : 0n;
    const byOverrun = above < overrunSpentMicros ? above : overrunSpentMicros;
    this.usd = this.after("usd", this.usd, held.usdMicros, spent.usdMicros - byOverrun);
    this.tokens = this.after("tokens", this.tokens, held.tokens, spent.tokens);
    this.calls = this.after("calls", this.calls, held.calls, spent.calls);
    this.overrun = floor0(this.overrun + overrunHeldMicros - overrunSpentMicros);
  }

  private after(unit: "usd" | "tokens" | "calls", balance: bigint, held: bigint, spent: bigint) {
    if (spent > held && this.unlimited.has(unit)) return balance;
    return floor0(balance + held - spent);
  }
}

/** A bucket that leaks: the debt a charge leaves runs off with time, never below nothing. */
export class PlainBucket {
  private debtNs = 0n;
  private seenNs = 0n;

  fits(charge: BucketCharge, nowNs: bigint): boolean {
    this.leak(nowNs);
    return floor0(this.debtNs) + step(charge) <= charge.toleranceNs;
  }

  take(charge: BucketCharge, nowNs: bigint): void {
    this.leak(nowNs);
    this.debtNs = floor0(this.debtNs) + step(charge);
  }

  giveBack(charge: BucketCharge): void {
    this.debtNs -= step(charge);
  }

  private leak(nowNs: bigint): void {
    this.debtNs -= nowNs - this.seenNs;
    this.seenNs = nowNs;
  }
}

function step(charge: BucketCharge): bigint {
  const picos = charge.amount * charge.unitPicos;
  return picos / 1000n + (picos % 1000n > 0n ? 1n : 0n);
}

function floor0(value: bigint): bigint {
  return value > 0n ? value : 0n;
}
