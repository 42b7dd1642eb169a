import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import {
  balance,
  lend,
  lendOverrun,
  overrunBalance,
  takeBack,
} from "../../../../node/table/lend.ts";
import { createRowOwner, type RowRef } from "../../../../node/table/rows.ts";
import { createTable, type Table } from "../../../../node/table/table.ts";

const LOOPS = 3;
const ROUNDS = 20_000;

type Told = {
  spent: { usd: bigint; tokens: bigint; calls: bigint; overrun: bigint };
  won: number;
  negative: number;
  strayed: number;
};

function hammer(table: Table, refs: readonly RowRef[], rounds: number): Promise<Told>[] {
  return Array.from({ length: LOOPS }, async (_, loop) => {
    const worker = new Worker(new URL("./hammer.ts", import.meta.url), {
      workerData: { buffer: table.buffer, loop, refs, rounds },
    });
    // Both are listened for at once: the exit may follow the message in the same turn.
    const [[told]] = await Promise.all([once(worker, "message"), once(worker, "exit")]);
    return told as Told;
  });
}

test("M1, M2: threads that reserve and settle at once create and lose no money", async () => {
  const table = createTable({ rows: 2, loops: LOOPS, scopes: 4, writers: LOOPS, proofs: 64 });
  const owner = createRowOwner(table);
  const refs = [0, 1].map(() => owner.allot({ team: 1, agent: 2, contract: -1 }) as RowRef);
  const lent = { usd: 0n, tokens: 0n, calls: 0n, overrun: 0n };
  const running = hammer(table, refs, ROUNDS);
  let ended = false;
  const all = Promise.all(running).finally(() => {
    ended = true;
  });
  while (!ended) {
    for (const { row } of refs) {
      // Before it is lent to: else a pause of this thread may leave the others nothing to take.
      if (lent.calls % 10n === 0n) {
        const back = takeBack(table, row);
        lent.usd -= back.usdMicros;
        lent.tokens -= back.tokens;
        lent.calls -= back.calls;
      }
      lend(table, row, { usdMicros: 50n, tokens: 80n, calls: 2n });
      lent.usd += 50n;
      lent.tokens += 80n;
      lent.calls += 2n;
    }
    lendOverrun(table, 3n);
    lent.overrun += 3n;
    await nextTurn();
  }
  const told = await all;
  const sum = (pick: (one: Told) => bigint): bigint => told.reduce((to, one) => to + pick(one), 0n);
  const left = refs.map(({ row }) => balance(table, row));
  // Which of them found something to take is the scheduler's to say.
  expect(sum((one) => BigInt(one.won))).toBeGreaterThan(0n);
  expect(sum((one) => BigInt(one.negative))).toBe(0n);
  expect(sum((one) => one.spent.usd) + left.reduce((to, one) => to + one.usdMicros, 0n)).toBe(
    lent.usd,
  );
  expect(sum((one) => one.spent.tokens) + left.reduce((to, one) => to + one.tokens, 0n)).toBe(
    lent.tokens,
  );
  expect(sum((one) => one.spent.calls) + left.reduce((to, one) => to + one.calls, 0n)).toBe(
    lent.calls,
  );
  expect(sum((one) => one.spent.overrun) + overrunBalance(table)).toBe(lent.overrun);
}, 60_000);

test("M1: what one thread holds no other can hold as well", async () => {
  const table = createTable({ rows: 1, loops: 2, scopes: 4, writers: 2, proofs: 64 });
  lend(table, 0, { usdMicros: 10n, tokens: 0n, calls: 0n });
  const duel = async (): Promise<{ won: number; shared: number }> => {
    const worker = new Worker(new URL("./duel.ts", import.meta.url), {
      workerData: { buffer: table.buffer, rounds: 300_000 },
    });
    const [[told]] = await Promise.all([once(worker, "message"), once(worker, "exit")]);
    return told as { won: number; shared: number };
  };
  const told = await Promise.all([duel(), duel()]);
  expect(told.every(({ won }) => won > 0)).toBe(true);
  expect(told.map(({ shared }) => shared)).toEqual([0, 0]);
  expect(balance(table, 0).usdMicros).toBe(10n);
}, 60_000);

test("R1, R3: a row in use by other threads is never cleared under them", async () => {
  const table = createTable({ rows: 1, loops: LOOPS, scopes: 64, writers: LOOPS, proofs: 64 });
  const owner = createRowOwner(table);
  let ref = owner.allot({ team: 1, agent: 2, contract: -1 }) as RowRef;
  lend(table, ref.row, { usdMicros: 1_000_000n, tokens: 1_000_000n, calls: 1_000_000n });
  // All generations the row will have: the loops try each, and only the live one lets them in.
  const refs = Array.from({ length: 40 }, (_, generation) => ({ row: 0, generation }));
  const running = Promise.all(hammer(table, refs, ROUNDS));
  let ended = false;
  const all = running.finally(() => {
    ended = true;
  });
  let reuses = 0;
  let lent = 1_000_000n;
  while (!ended && reuses < 39) {
    owner.retire(ref.row);
    let back = takeBack(table, ref.row).usdMicros;
    while (!owner.reclaim(ref.row)) {
      // Holds that end after the first look come back to the row: the row waits for them too.
      back += takeBack(table, ref.row).usdMicros;
      await nextTurn();
    }
    lent -= back;
    ref = owner.allot({ team: ref.generation + 2, agent: 0, contract: -1 }) as RowRef;
    lend(table, ref.row, { usdMicros: 1_000_000n, tokens: 1_000_000n, calls: 1_000_000n });
    lent += 1_000_000n;
    reuses++;
    await nextTurn();
  }
  const told = await all;
  expect(reuses).toBeGreaterThan(3);
  expect(told.reduce((to, one) => to + one.won, 0)).toBeGreaterThan(0);
  expect(told.reduce((to, one) => to + one.strayed, 0)).toBe(0);
  expect(told.reduce((to, one) => to + one.negative, 0)).toBe(0);
  const spent = told.reduce((to, one) => to + one.spent.usd, 0n);
  expect(spent + balance(table, 0).usdMicros).toBe(lent);
}, 60_000);
