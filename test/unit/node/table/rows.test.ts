import { expect, test } from "vitest";
import { bucketCharge } from "../../../../node/decision/bucket-charge.ts";
import { balance, lend, takeBack, takeBackRetired } from "../../../../node/table/lend.ts";
import { reserve, settle } from "../../../../node/table/reserve.ts";
import { controlPinner, createRowOwner, pin, unpin } from "../../../../node/table/rows.ts";
import { killedBy, NO_CELL, setKilled } from "../../../../node/table/scope-cells.ts";
import {
  setStanding,
  setUnlimitedUnits,
  standingOf,
  UNIT,
  unlimitedUnits,
} from "../../../../node/table/standing.ts";
import {
  bumpKeyGeneration,
  createTable,
  isFresh,
  keyGeneration,
  openTable,
  openUntilNs,
  policyVersion,
  setOpenUntilNs,
  setPolicyVersion,
  setSyncedAtNs,
  syncedAtNs,
} from "../../../../node/table/table.ts";

const SIZE = { rows: 3, loops: 2, scopes: 8, writers: 4, proofs: 64 };
const CELLS = { team: 1, agent: 2, contract: NO_CELL };
const NOTHING = { usdMicros: 0n, tokens: 0n, calls: 0n };

test("a row that was allotted can be pinned and used by every loop", () => {
  const table = createTable(SIZE);
  const ref = createRowOwner(table).allot(CELLS);
  if (!ref) throw new Error("full");
  expect(pin(table, 0, ref)).toBe(true);
  expect(pin(table, 0, ref)).toBe(true);
  expect(pin(table, 1, ref)).toBe(true);
  expect(pin(table, controlPinner(table), ref)).toBe(true);
});

test("a row nobody allotted cannot be pinned", () => {
  const table = createTable(SIZE);
  expect(pin(table, 0, { row: 1, generation: 0 })).toBe(false);
});

test("R2: a grant from before the row was freed pins nothing, then or later", () => {
  const table = createTable(SIZE);
  const owner = createRowOwner(table);
  const old = owner.allot(CELLS);
  if (!old) throw new Error("full");
  owner.retire(old.row);
  expect(pin(table, 0, old)).toBe(false);
  expect(pin(table, 0, { row: old.row, generation: old.generation + 1 })).toBe(false);
  expect(owner.reclaim(old.row)).toBe(true);
  const next = owner.allot({ team: 3, agent: 4, contract: 5 });
  expect(next).toEqual({ row: old.row, generation: old.generation + 1 });
  expect(pin(table, 0, old)).toBe(false);
  expect(next && pin(table, 0, next)).toBe(true);
});

test("R3: a row is not cleared while any loop or the control thread still pins it", () => {
  for (const pinner of [0, 1, 2]) {
    const table = createTable(SIZE);
    const owner = createRowOwner(table);
    const ref = owner.allot(CELLS);
    if (!ref) throw new Error("full");
    pin(table, pinner, ref);
    pin(table, pinner, ref);
    owner.retire(ref.row);
    unpin(table, pinner, ref.row);
    expect(owner.isIdle(ref.row)).toBe(false);
    expect(owner.reclaim(ref.row)).toBe(false);
    setKilled(table, CELLS.agent, true);
    expect(killedBy(table, ref.row)).toBe("agent");
    unpin(table, pinner, ref.row);
    expect(owner.reclaim(ref.row)).toBe(true);
  }
});

test("R3: money left in a freed row is found by its old generation before the row is given away", () => {
  const table = createTable(SIZE);
  const owner = createRowOwner(table);
  const ref = owner.allot(CELLS);
  if (!ref) throw new Error("full");
  pin(table, 0, ref);
  lend(table, ref.row, { usdMicros: 90n, tokens: 7n, calls: 1n });
  const charges = { cost: { ...NOTHING, usdMicros: 40n }, overrunMicros: 0n, buckets: [] };
  expect(reserve(table, ref.row, charges, 0n)).toHaveProperty("taken");
  expect(takeBackRetired(table, ref)).toEqual(NOTHING);
  owner.retire(ref.row);
  settle(table, ref.row, {
    held: charges.cost,
    spent: { ...NOTHING, usdMicros: 10n },
    overrunHeldMicros: 0n,
    overrunSpentMicros: 0n,
  });
  unpin(table, 0, ref.row);
  expect(owner.isIdle(ref.row)).toBe(true);
  expect(owner.reclaim(ref.row)).toBe(false);
  expect(takeBackRetired(table, ref)).toEqual({ usdMicros: 80n, tokens: 7n, calls: 1n });
  expect(owner.reclaim(ref.row)).toBe(true);
});

test("a late taking back never touches the money of the row's next holder", () => {
  const table = createTable(SIZE);
  const owner = createRowOwner(table);
  const old = owner.allot(CELLS);
  if (!old) throw new Error("full");
  owner.retire(old.row);
  owner.reclaim(old.row);
  const next = owner.allot(CELLS);
  expect(next?.row).toBe(old.row);
  lend(table, old.row, { ...NOTHING, usdMicros: 5n });
  expect(takeBackRetired(table, old)).toEqual(NOTHING);
  expect(balance(table, old.row)).toEqual({ ...NOTHING, usdMicros: 5n });
});

test("a row's next holder starts with nothing of the one before", () => {
  const table = createTable(SIZE);
  const owner = createRowOwner(table);
  const old = owner.allot({ team: 1, agent: 2, contract: 3 });
  if (!old) throw new Error("full");
  setStanding(table, old.row, "block");
  setUnlimitedUnits(table, old.row, UNIT.usd);
  lend(table, old.row, { usdMicros: 1n, tokens: 1n, calls: 1n });
  const of = { amount: 1n, unitPicos: 1000n, toleranceNs: 1n };
  const bucket = bucketCharge({ metric: "requests", ...of });
  const charges = { cost: NOTHING, overrunMicros: 0n, buckets: [bucket] };
  expect(reserve(table, old.row, charges, 0n)).toHaveProperty("taken");
  expect(reserve(table, old.row, charges, 0n)).toHaveProperty("limited");
  owner.retire(old.row);
  takeBack(table, old.row);
  owner.reclaim(old.row);
  const next = owner.allot(CELLS);
  expect(next?.row).toBe(old.row);
  expect(standingOf(table, old.row)).toBe("normal");
  expect(unlimitedUnits(table, old.row)).toBe(0);
  expect(balance(table, old.row)).toEqual(NOTHING);
  expect(reserve(table, old.row, charges, 0n)).toHaveProperty("taken");
});

test("a full table says so and gives a row again once one was reclaimed", () => {
  const table = createTable(SIZE);
  const owner = createRowOwner(table);
  const rows = [owner.allot(CELLS), owner.allot(CELLS), owner.allot(CELLS)];
  expect(new Set(rows.map((ref) => ref?.row)).size).toBe(3);
  expect(owner.allot(CELLS)).toBeUndefined();
  owner.retire(rows[1]?.row as number);
  expect(owner.allot(CELLS)).toBeUndefined();
  owner.reclaim(rows[1]?.row as number);
  expect(owner.allot(CELLS)?.row).toBe(rows[1]?.row);
});

test("the widest killed scope over a row is the answer, and other rows are untouched", () => {
  const table = createTable(SIZE);
  const owner = createRowOwner(table);
  const mine = owner.allot({ team: 1, agent: 2, contract: 3 });
  const other = owner.allot({ team: 4, agent: 5, contract: NO_CELL });
  if (!mine || !other) throw new Error("full");
  expect(killedBy(table, mine.row)).toBeUndefined();
  setKilled(table, 3, true);
  expect(killedBy(table, mine.row)).toBe("contract");
  setKilled(table, 2, true);
  expect(killedBy(table, mine.row)).toBe("agent");
  setKilled(table, 1, true);
  expect(killedBy(table, mine.row)).toBe("team");
  expect(killedBy(table, other.row)).toBeUndefined();
  setKilled(table, 0, true);
  expect(killedBy(table, mine.row)).toBe("global");
  expect(killedBy(table, other.row)).toBe("global");
  setKilled(table, 0, false);
  setKilled(table, 1, false);
  expect(killedBy(table, mine.row)).toBe("agent");
});

test("a new table is closed, and is open only before the instant that was set", () => {
  const table = createTable(SIZE);
  expect(isFresh(table, 0n)).toBe(false);
  setOpenUntilNs(table, 100n);
  expect(isFresh(table, 99n)).toBe(true);
  expect(isFresh(table, 100n)).toBe(false);
});

test("another thread's view of the buffer is the same table", () => {
  const table = createTable(SIZE);
  const view = openTable(table.buffer);
  expect(view.layout).toEqual(table.layout);
  setPolicyVersion(table, 7);
  setOpenUntilNs(table, 5n);
  setSyncedAtNs(table, 3, 11n);
  expect(bumpKeyGeneration(table)).toBe(1);
  expect(policyVersion(view)).toBe(7);
  expect(openUntilNs(view)).toBe(5n);
  expect([0, 1, 2, 3].map((writer) => syncedAtNs(view, writer))).toEqual([0n, 0n, 0n, 11n]);
  expect(keyGeneration(view)).toBe(1);
});

test("a buffer that holds no table, or one cut short, is refused", () => {
  expect(() => openTable(new SharedArrayBuffer(4096))).toThrow(/no table/);
  const table = createTable(SIZE);
  const cut = new SharedArrayBuffer(table.buffer.byteLength - 64);
  new Uint8Array(cut).set(new Uint8Array(table.buffer).subarray(0, cut.byteLength));
  expect(() => openTable(cut)).toThrow(/size/);
});

test("no two cells of a table share a place", () => {
  const table = createTable({ rows: 5, loops: 2, scopes: 9, writers: 3, proofs: 64 });
  const owner = createRowOwner(table);
  const refs = Array.from({ length: 5 }, () => owner.allot({ team: 1, agent: 2, contract: 3 }));
  const before = new Uint8Array(table.buffer).slice();
  const touched = new Set<number>();
  const touch = (name: string, fn: () => void): void => {
    fn();
    const now = new Uint8Array(table.buffer);
    for (let i = 0; i < now.length; i++) {
      if (now[i] === before[i]) continue;
      expect(touched.has(i), `${name} shares byte ${i}`).toBe(false);
      touched.add(i);
    }
    before.set(now);
  };
  for (let cell = 0; cell < 9; cell++) touch(`scope ${cell}`, () => setKilled(table, cell, true));
  for (let w = 0; w < 3; w++) touch(`synced ${w}`, () => setSyncedAtNs(table, w, 1n));
  touch("open", () => setOpenUntilNs(table, 1n));
  touch("policy", () => setPolicyVersion(table, 1));
  touch("keys", () => bumpKeyGeneration(table));
  for (const ref of refs) {
    if (!ref) throw new Error("full");
    for (let pinner = 0; pinner < 3; pinner++) {
      touch(`pin ${pinner} of ${ref.row}`, () => pin(table, pinner, ref));
    }
    touch(`standing ${ref.row}`, () => setStanding(table, ref.row, "block"));
    touch(`money ${ref.row}`, () => lend(table, ref.row, { usdMicros: 1n, tokens: 1n, calls: 1n }));
  }
});
