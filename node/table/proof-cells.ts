import type { Bucket } from "../../authority/rate.ts";
import { PROOF_CELLS, ROW_LONG } from "./layout.ts";
import { rowLong } from "./rows.ts";
import type { Table } from "./table.ts";

// Proofs of possession that were spent, seen by all loops.
//
// S1. A proof is spent once: of two loops that are shown it at the same time, at most one takes it.
// S2. It is remembered for as long as its nonce is good and for one epoch more, then its cell is anybody's.
//     The epoch more is for a loop that was held up between reading its clock and looking here.
// S3. Where no cell is free it is refused: what cannot be remembered is not taken.
// S4. No contract is given more cells in an epoch than it may make requests, so none can fill them.
//     What is delegated takes its rate out of its delegator's, so a tree has no more than its root.

/** Cells that one proof may lie in: looked through whole, so that none is found behind a free one. */
const WINDOW = 32;
/** A cell holds the epoch of its proof's nonce, plus one, and 36 bits of the proof's hash. */
const HASH_BITS = 36n;
const HASH_MASK = (1n << HASH_BITS) - 1n;
/** Epochs that a nonce is good for, its own included. */
const GOOD_EPOCHS = 2;
/** Proofs of any one contract in an epoch, whatever its rate. */
export const PROOFS_PER_EPOCH_MAX = PROOF_CELLS / 64;
/** So many it has even where it may make none: why a request was refused is to be told. */
const PROOFS_PER_EPOCH_MIN = 16;
const COUNT_BITS = 32n;
const COUNT_MASK = (1n << COUNT_BITS) - 1n;

export type Spent = "spent" | "replayed" | "full";

/** When: the epoch of the proof's nonce, and the one that is now. */
export type ProofTime = { readonly epoch: number; readonly now: number };

/** Whether that proof is remembered as spent: whoever shows it again may cost its holder nothing. */
export function isProofSpent(table: Table, sha256: Uint8Array, epoch: number): boolean {
  return timesFound(table, placeOf(sha256, epoch)) > 0;
}

/**
 * Spends a proof.
 *
 * @param sha256 Of everything that tells it from other proofs; at least 16 bytes.
 */
export function spendProof(table: Table, sha256: Uint8Array, { epoch, now }: ProofTime): Spent {
  const { longs } = table;
  const place = placeOf(sha256, epoch);
  const { mine } = place;
  const oldest = BigInt(now + 1 - GOOD_EPOCHS);
  if (timesFound(table, place) > 0) return "replayed";
  for (let i = 0; i < WINDOW; i++) {
    const at = cellOf(table, place, i);
    const cell = Atomics.load(longs, at);
    if (cell !== 0n && cell >> HASH_BITS >= oldest) {
      // S1: another loop may have put it here since we looked.
      if (cell === mine) return "replayed";
      continue;
    }
    const before = Atomics.compareExchange(longs, at, cell, mine);
    if (before === mine) return "replayed";
    if (before !== cell) continue;
    // Loops that disagree on which cells are old may each have found one: then neither takes it.
    return timesFound(table, place) > 1 ? "replayed" : "spent";
  }
  return "full";
}

/** Where a proof may lie, before it is wrapped to the table's cells, and what its cell holds. */
type Place = { readonly first: number; readonly mine: bigint };

function placeOf(sha256: Uint8Array, epoch: number): Place {
  const view = new DataView(sha256.buffer, sha256.byteOffset, sha256.byteLength);
  const first = view.getUint32(8);
  // Plus one: a cell that says anything is told from an empty one.
  return { first, mine: (BigInt(epoch + 1) << HASH_BITS) | (view.getBigUint64(0) & HASH_MASK) };
}

function cellOf({ layout }: Table, { first }: Place, i: number): number {
  return layout.proofsAt + ((first + i) % layout.proofs);
}

function timesFound(table: Table, place: Place): number {
  let count = 0;
  for (let i = 0; i < WINDOW; i++) {
    if (Atomics.load(table.longs, cellOf(table, place, i)) === place.mine) count += 1;
  }
  return count;
}

/** S4: what a contract may spend in an epoch of so many seconds. */
export function proofsPerEpoch({ burst, amount, seconds }: Bucket, epochS: number): number {
  const asked = burst + Math.ceil((amount / seconds) * epochS);
  return Math.min(PROOFS_PER_EPOCH_MAX, Math.max(PROOFS_PER_EPOCH_MIN, asked));
}

/** S4: counts one more proof of the row's contract; false where it has had its share of this epoch. */
export function takeProofShare(
  table: Table,
  row: number,
  { now, most }: { readonly now: number; readonly most: number },
): boolean {
  const { longs } = table;
  const cell = rowLong(table, row) + ROW_LONG.proofs;
  for (;;) {
    const before = Atomics.load(longs, cell);
    // A loop whose clock was read just before the turn of an epoch goes on with the newer count.
    const epoch = before >> COUNT_BITS > BigInt(now) ? before >> COUNT_BITS : BigInt(now);
    const count = before >> COUNT_BITS === epoch ? before & COUNT_MASK : 0n;
    if (count >= BigInt(most)) return false;
    const after = (epoch << COUNT_BITS) | (count + 1n);
    if (Atomics.compareExchange(longs, cell, before, after) === before) return true;
  }
}
