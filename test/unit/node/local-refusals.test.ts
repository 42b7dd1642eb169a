import { describe, expect, test } from "vitest";
import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import { NOTHING } from "../../../node/actors/account-book.ts";
import { REFUSAL_BELIEVED_NS } from "../../../node/actors/top-ups.ts";
import { LocalRefusals, REFUSALS_KEPT_MAX } from "../../../node/local-refusals.ts";
import type { TopUpRequest } from "../../../node/loop-control-link.ts";
import { lendOverrun } from "../../../node/table/lend.ts";
import { setMoneyReturned } from "../../../node/table/refusal-no.ts";
import { reserve, settle } from "../../../node/table/reserve.ts";
import { NodeWorld } from "./actors/node-world.ts";

const USD = 1_000_000;
const A = "agent/research/a";
const DAY_ENDS = Date.UTC(2026, 10, 23);

function limited(account: string, limit: number, window: "day" | "total", parent?: string) {
  return { account, parent, limits: [{ unit: "usd_micros", window, limit }] };
}

/** A loop beside real actors over a real ledger, as the control thread connects them. */
class OneLoop {
  readonly world = new NodeWorld({
    limits: [
      limited("overrun", USD, "total"),
      limited("team/research", 2 * USD, "day"),
      limited(A, 10 * USD, "total", "team/research"),
    ] as unknown as AccountLimits,
  });
  readonly row = this.world.row(A);
  readonly refusals = new LocalRefusals(this.world.table, () => this.world.clock.monoNs());
  asks = 0;

  request(usdMicros: number, over: Partial<TopUpRequest> = {}): TopUpRequest {
    const need = { ...NOTHING, usdMicros: BigInt(usdMicros) };
    const agentId = "research/a";
    return { ...this.row, agentId, contractId: undefined, need, overrunMicros: 0n, ...over };
  }

  async ask(request: TopUpRequest) {
    const again = this.refusals.answerTo(request);
    if (again !== undefined) return again;
    this.asks += 1;
    const answer = await this.world.host.topUp(A, request.need, request.floor);
    this.refusals.note(request, answer);
    return answer;
  }

  /** Takes so much out of the row, as a request does that goes on. */
  async hold(usdMicros: number): Promise<() => void> {
    expect(await this.ask(this.request(usdMicros))).toMatchObject({ outcome: "ok" });
    const cost = { ...NOTHING, usdMicros: BigInt(usdMicros) };
    const { table, clock } = this.world;
    const held = reserve(
      table,
      this.row.row,
      { cost, overrunMicros: 0n, buckets: [] },
      clock.monoNs(),
    );
    if (!("taken" in held)) throw new Error("not held");
    return () => {
      const free = { spent: NOTHING, overrunHeldMicros: 0n, overrunSpentMicros: 0n };
      settle(table, this.row.row, { held: held.taken, ...free });
      this.world.host.settled(A, NOTHING);
    };
  }
}

describe("a no that is said again", () => {
  test("is the actor's own, word for word, and asks nobody", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    const first = await one.ask(one.request(300_000));
    expect(first).toMatchObject({
      outcome: "exhausted",
      left: { usdMicros: 100_000n },
      refusal: {
        shortfall: { account: "team/research", window: "day:2026-11-22", endsAtMs: DAY_ENDS },
      },
    });
    one.asks = 0;
    for (let i = 0; i < 1_000; i++) expect(await one.ask(one.request(300_000))).toEqual(first);
    expect(await one.ask(one.request(4 * USD))).toMatchObject({ outcome: "exhausted" });
    expect(one.asks).toBe(0);
  });

  test("is asked for again when too many others were told since", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    const request = one.request(300_000);
    const answer = await one.ask(request);
    const others = (count: number) => {
      for (let i = 1; i <= count; i++)
        one.refusals.note({ ...request, row: request.row + i }, answer);
    };
    others(REFUSALS_KEPT_MAX - 1);
    expect(one.refusals.answerTo(request)).toEqual(answer);
    others(REFUSALS_KEPT_MAX);
    expect(one.refusals.answerTo(request)).toBeUndefined();
  });

  test("is not said to whoever needs less than what was refused", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    expect(await one.ask(one.request(100_000))).toMatchObject({ outcome: "ok" });
  });

  test("is not said to whoever may lower its limit to what is left", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    const floor = { ...NOTHING, usdMicros: 50_000n };
    expect(one.refusals.answerTo(one.request(300_000, { floor }))).toBeUndefined();
    const dear = { ...NOTHING, usdMicros: 200_000n };
    expect(one.refusals.answerTo(one.request(300_000, { floor: dear }))).toBeDefined();
  });

  test("ends with the time for which the ledger's word is believed", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    one.world.clock.advance(Number(REFUSAL_BELIEVED_NS / 1_000_000n) - 1);
    expect(one.refusals.answerTo(one.request(300_000))).toBeDefined();
    one.world.clock.advance(1);
    expect(one.refusals.answerTo(one.request(300_000))).toBeUndefined();
  });

  test("ends when the row has the money, from whichever request it came back", async () => {
    const one = new OneLoop();
    const end = await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    end();
    expect(await one.ask(one.request(300_000))).toMatchObject({ outcome: "ok" });
  });

  test.each<[string, (one: OneLoop) => unknown]>([
    ["limits change", (one) => one.world.host.limitsChanged()],
    ["the row's money is taken back", (one) => one.world.host.tick(-1n)],
    ["the account has another row", (one) => one.world.host.rowCame(A)],
  ])("ends when %s", async (_what, happen) => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    happen(one);
    expect(one.refusals.answerTo(one.request(300_000))).toBeUndefined();
  });

  test("ends when this node brought money back to the ledger", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    setMoneyReturned(one.world.table, 1);
    expect(one.refusals.answerTo(one.request(300_000))).toBeUndefined();
  });

  test("is not another generation's", async () => {
    const one = new OneLoop();
    await one.hold(1_900_000);
    await one.ask(one.request(300_000));
    const generation = one.row.generation + 1;
    expect(one.refusals.answerTo(one.request(300_000, { generation }))).toBeUndefined();
  });

  test("to the overrun account stands while that lacks as much", async () => {
    const one = new OneLoop();
    const share = { ...NOTHING, usdMicros: BigInt(2 * USD) };
    const { outcome, ...no } = await one.world.host.topUp("overrun", share);
    expect(outcome).toBe("exhausted");
    const request = one.request(10, { overrunMicros: share.usdMicros });
    one.refusals.note(request, { ...no, outcome: "overrun_exhausted" });
    expect(one.refusals.answerTo(request)).toMatchObject({ outcome: "overrun_exhausted" });
    lendOverrun(one.world.table, share.usdMicros);
    expect(one.refusals.answerTo(request)).toBeUndefined();
  });
});
