import { createHash } from "node:crypto";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import {
  PROOFS_PER_EPOCH_MAX,
  proofsPerEpoch,
  spendProof,
  takeProofShare,
} from "../../../../node/table/proof-cells.ts";
import { createTable, type Table } from "../../../../node/table/table.ts";

const SIZE = { rows: 2, loops: 2, scopes: 2, writers: 2 };
const EPOCH = 55_937_500;

function spend(table: Table, name: string, epoch = EPOCH, now = EPOCH) {
  return spendProof(table, createHash("sha256").update(name).digest(), { epoch, now });
}

/** All of one window: the same place, and another hash each. */
function crowd(table: Table, from: number, now: number) {
  return Array.from({ length: 33 }, (_, no) => {
    const sha256 = Buffer.alloc(32);
    sha256.writeBigUInt64BE(BigInt(from + no + 1));
    return spendProof(table, sha256, { epoch: now, now });
  });
}

describe("spent proofs", () => {
  test("S1: one is spent once, whenever it is shown again while its nonce is good", () => {
    const table = createTable(SIZE);
    expect(spend(table, "a")).toBe("spent");
    expect(spend(table, "a")).toBe("replayed");
    expect(spend(table, "a", EPOCH, EPOCH + 1)).toBe("replayed");
    expect(spend(table, "b")).toBe("spent");
  });

  test("S2: it is remembered for an epoch more than its nonce is good, and then no longer", () => {
    const table = createTable(SIZE);
    expect(crowd(table, 0, EPOCH)).toEqual([...Array(32).fill("spent"), "full"]);
    // Its own epoch and the one after it are when its nonce is good; nothing drives it out in either.
    for (const now of [EPOCH + 1, EPOCH + 2]) {
      expect(crowd(table, 100 * now, now).includes("spent"), String(now)).toBe(false);
      expect(crowd(table, 0, EPOCH)[0]).toBe("replayed");
    }
    expect(crowd(table, 300, EPOCH + 3)).toEqual([...Array(32).fill("spent"), "full"]);
  });

  test("S1: of loops that are shown the same proofs at once, one takes each", async () => {
    const table = createTable(SIZE);
    const count = 5_000;
    const most = 700;
    const said = await Promise.all(
      [0, 1].map(async () => {
        const worker = new Worker(new URL("./spend.ts", import.meta.url), {
          workerData: { buffer: table.buffer, count, most },
        });
        const [[one]] = await Promise.all([once(worker, "message"), once(worker, "exit")]);
        return one as { readonly spent: number; readonly shares: number };
      }),
    );
    expect(said.reduce((sum, { spent }) => sum + spent, 0)).toBe(count);
    // S4: what one contract is given in an epoch, all loops give it together.
    expect(said.reduce((sum, { shares }) => sum + shares, 0)).toBe(most);
  });
});

describe("S4: shares of proofs", () => {
  test("a contract has as many as it may make requests, and others have theirs", () => {
    const table = createTable(SIZE);
    const take = (row: number, now: number) => takeProofShare(table, row, { now, most: 3 });
    expect([1, 2, 3, 4].map(() => take(0, 7))).toEqual([true, true, true, false]);
    expect(take(1, 7)).toBe(true);
    // A loop that is late by an epoch starts no new count.
    expect(take(0, 6)).toBe(false);
    expect(take(0, 8)).toBe(true);
  });

  test("however high its rate, it takes no more than a sixty-fourth of what is remembered", () => {
    const fast = { burst: 10 ** 9, amount: 10 ** 9, seconds: 1 };
    expect(proofsPerEpoch(fast, 32)).toBe(PROOFS_PER_EPOCH_MAX);
    expect(proofsPerEpoch({ burst: 100, amount: 10, seconds: 3 }, 32)).toBe(207);
    // Why it is refused is told to one without any rate as well.
    expect(proofsPerEpoch({ burst: 0, amount: 0, seconds: 1 }, 32)).toBe(16);
  });
});
