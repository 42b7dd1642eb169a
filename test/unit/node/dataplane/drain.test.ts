import { describe, expect, test } from "vitest";
import type { OpenExchange } from "../../../../node/dataplane/connections.ts";
import {
  DRAIN_LOOK_MS,
  Drain,
  LATECOMER_MS,
  LATECOMERS_MS,
  TUNNEL_QUIET_MS,
  TUNNEL_THANKS_MS,
} from "../../../../node/dataplane/drain.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

/** Exchanges that are open, as their registry tells. */
function drainWorld() {
  const clock = twinClock();
  const open: OpenExchange[] = [];
  const drain = new Drain({ open: () => open }, clock);
  const add = (exchange: Partial<OpenExchange>): OpenExchange => {
    open.push(exchange as OpenExchange);
    return exchange as OpenExchange;
  };
  const begin = (last?: { upNs: bigint; downNs: bigint }) => add({ lastCarried: () => last });
  const end = (exchange: OpenExchange) => void open.splice(open.indexOf(exchange), 1);
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += DRAIN_LOOK_MS) {
      clock.advance(Math.min(DRAIN_LOOK_MS, ms - at));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  /** Whether it has resolved. */
  const watched = (waiting: Promise<void>) => {
    const seen = { isOver: false };
    void waiting.then(() => {
      seen.isOver = true;
    });
    return seen;
  };
  return { clock, drain, add, begin, end, pass, watched };
}

describe("a loop whose node is replaced", () => {
  test("waits for what was open, and not for what came meanwhile", async () => {
    const { drain, begin, end, pass, watched } = drainWorld();
    const before = begin();
    const waiting = watched(drain.outlived(60_000));
    begin();
    await pass(1_000);
    expect(waiting.isOver).toBe(false);
    end(before);
    await pass(DRAIN_LOOK_MS);
    expect(waiting.isOver).toBe(true);
  });

  test("what is left at the deadline has had its time; what came later has its own", async () => {
    const { drain, begin, end, pass, watched } = drainWorld();
    begin();
    const outlived = watched(drain.outlived(1_000));
    const later = begin();
    await pass(1_000);
    expect(outlived.isOver).toBe(true);
    const ended = watched(drain.ended(60_000));
    await pass(1_000);
    expect(ended.isOver).toBe(false);
    end(later);
    await pass(DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });

  test("told to end meanwhile, it waits for the end alone", async () => {
    const { drain, begin, pass, watched } = drainWorld();
    begin();
    expect(drain.isReplaced).toBe(false);
    const outlived = watched(drain.outlived(60_000));
    expect(drain.isReplaced).toBe(true);
    // What was open has had its time, by the word of whoever ends it.
    const ended = watched(drain.ended(60_000));
    await pass(DRAIN_LOOK_MS);
    expect([outlived.isOver, ended.isOver]).toEqual([true, true]);
  });

  test("those that came last have a moment, or until they have said what they want", async () => {
    const { drain, add, begin, pass, watched, clock } = drainWorld();
    const last = { isArriving: true };
    // Whose own time was over before: it may never say anything.
    clock.advance(LATECOMER_MS);
    add({ arrivingSinceNs: () => (last.isArriving ? 0n : undefined) });
    // Somebody else's request is under way, and takes long.
    begin();
    const moment = watched(drain.latecomers());
    await pass(LATECOMERS_MS - DRAIN_LOOK_MS);
    expect(moment.isOver).toBe(false);
    await pass(DRAIN_LOOK_MS);
    expect(moment.isOver).toBe(true);
    const served = watched(drain.latecomers());
    await pass(DRAIN_LOOK_MS);
    expect(served.isOver).toBe(false);
    last.isArriving = false;
    await pass(DRAIN_LOOK_MS);
    expect(served.isOver).toBe(true);
  });

  test("one that was taken in just before has its own time for its first word, and one that comes after has not", async () => {
    const { drain, add, pass, watched, clock } = drainWorld();
    clock.advance(LATECOMER_MS);
    const sinceNs = clock.monoNs() - 100_000_000n;
    add({ arrivingSinceNs: () => sinceNs });
    const moment = watched(drain.latecomers());
    await pass(DRAIN_LOOK_MS);
    const afterNs = clock.monoNs();
    add({ arrivingSinceNs: () => afterNs });
    await pass(LATECOMER_MS - 100 - 2 * DRAIN_LOOK_MS);
    expect(moment.isOver).toBe(false);
    await pass(2 * DRAIN_LOOK_MS);
    expect(moment.isOver).toBe(true);
  });

  test("of a connection that is read the requests are waited for, and not the connection", async () => {
    const { drain, add, begin, end, pass, watched } = drainWorld();
    add({ isCarrier: () => true });
    const within = begin();
    const outlived = watched(drain.outlived(60_000));
    await pass(DRAIN_LOOK_MS);
    expect(outlived.isOver).toBe(false);
    end(within);
    await pass(DRAIN_LOOK_MS);
    expect(outlived.isOver).toBe(true);
    const next = begin();
    const ended = watched(drain.ended(60_000));
    await pass(2 * TUNNEL_QUIET_MS);
    expect(ended.isOver).toBe(false);
    end(next);
    await pass(DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });

  test("looks soon at first, and then less often", async () => {
    const { clock, drain, begin, end, watched } = drainWorld();
    const look = async (ms: number) => {
      clock.advance(ms);
      await new Promise((resolve) => setImmediate(resolve));
    };
    const short = begin();
    const soon = watched(drain.ended(60_000));
    end(short);
    await look(1);
    expect(soon.isOver).toBe(true);
    const long = begin();
    const late = watched(drain.ended(60_000));
    for (const ms of [1, 2, 4, 8, 16, DRAIN_LOOK_MS]) await look(ms);
    end(long);
    await look(DRAIN_LOOK_MS - 1);
    expect(late.isOver).toBe(false);
    await look(1);
    expect(late.isOver).toBe(true);
  });

  test("D3: a client that says nothing is waited for as long as its first word may take", async () => {
    const { clock, drain, add, pass, watched } = drainWorld();
    const sinceNs = clock.monoNs();
    const silent = { sinceNs: sinceNs as bigint | undefined };
    add({ silentSinceNs: () => silent.sinceNs });
    const ended = watched(drain.ended(60_000));
    await pass(LATECOMER_MS - DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(false);
    // What it has said by then is under way.
    silent.sinceNs = undefined;
    await pass(LATECOMER_MS);
    expect(ended.isOver).toBe(false);
    silent.sinceNs = sinceNs;
    await pass(DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });

  test("waits no longer than it may", async () => {
    const { drain, begin, pass, watched } = drainWorld();
    begin();
    const ended = watched(drain.ended(500));
    await pass(500 - DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(false);
    await pass(DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });

  test("does not wait for a tunnel that has been quiet after an answer", async () => {
    const { clock, drain, begin, pass, watched } = drainWorld();
    const last = { upNs: clock.monoNs(), downNs: 0n };
    begin(last);
    const ended = watched(drain.ended(600_000));
    // Its answer takes long.
    await pass(3 * TUNNEL_QUIET_MS);
    expect(ended.isOver).toBe(false);
    last.downNs = clock.monoNs();
    await pass(TUNNEL_QUIET_MS - DRAIN_LOOK_MS);
    // The next piece of the answer.
    last.downNs = clock.monoNs();
    await pass(TUNNEL_QUIET_MS - DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(false);
    await pass(2 * DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });

  test("waits for an answer that was asked for before the end began, in a tunnel that had others", async () => {
    const { clock, drain, begin, pass, watched } = drainWorld();
    const last = { upNs: 0n, downNs: clock.monoNs() };
    await pass(1_000);
    last.upNs = clock.monoNs();
    begin(last);
    await pass(3 * TUNNEL_QUIET_MS);
    const ended = watched(drain.ended(600_000));
    await pass(3 * TUNNEL_QUIET_MS);
    expect(ended.isOver).toBe(false);
    last.downNs = clock.monoNs();
    // It says that it has it.
    last.upNs = clock.monoNs() + BigInt(TUNNEL_THANKS_MS) * 1_000_000n;
    await pass(TUNNEL_QUIET_MS + TUNNEL_THANKS_MS + DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });

  test("one that has long been quiet then is not waited for at all", async () => {
    const { clock, drain, begin, pass, watched } = drainWorld();
    begin({ upNs: clock.monoNs(), downNs: clock.monoNs() });
    await pass(TUNNEL_QUIET_MS);
    const ended = watched(drain.ended(600_000));
    await pass(DRAIN_LOOK_MS);
    expect(ended.isOver).toBe(true);
  });
});
