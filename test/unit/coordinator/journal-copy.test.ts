import { expect, test } from "vitest";
import { JournalCopy, type JournalPlace } from "../../../coordinator/journal-copy.ts";
import { StoreFault } from "../../../ports/store.ts";
import { type CommitFate, twinStore } from "../../../ports/twin-store.ts";

const MIB = 1024 * 1024;

function placeAt(n: number): JournalPlace {
  const hash = Uint8Array.of(n);
  return { seq: n, n, hash, epoch: 1, snapshotSeq: 1, endSeq: n, owesSnapshot: false };
}

/** So many entries of a mebibyte each. */
function entriesOf(count: number, byte: number): Map<string, Uint8Array> {
  const value = new Uint8Array(MIB).fill(byte);
  return new Map(Array.from({ length: count }, (_, no) => [`k${no}`, value]));
}

/** A disk that says what it was given, and fails where the test says so. */
function world() {
  const commits: number[] = [];
  const state = { fates: [] as CommitFate[] };
  const store = twinStore({
    commitFate: (writes) => {
      commits.push(writes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0));
      return state.fates.shift() ?? "good";
    },
  });
  return { store, commits, state };
}

test("a ledger that no store takes in one commit is taken over in several", async () => {
  const { store, commits } = world();
  const entries = entriesOf(20, 1);
  await new JournalCopy(store).replace(entries, placeAt(7));
  expect(Math.max(...commits)).toBeLessThan(9 * MIB);
  const again = new JournalCopy(store.crash());
  expect([again.place.n, again.entries.size, again.bytes]).toEqual([7, 20, 20 * MIB + 50]);
});

test("what a change writes is one commit with its place", async () => {
  const { store, commits } = world();
  await new JournalCopy(store).apply([{ key: "k", value: new Uint8Array(100) }], placeAt(1));
  expect(commits).toHaveLength(1);
});

test("whoever ends in the middle has read nothing, and keeps nothing of it", async () => {
  const { store, state } = world();
  await new JournalCopy(store).replace(entriesOf(3, 1), placeAt(7));
  const copy = new JournalCopy(store);
  state.fates = ["good", "good", "fails_not_persisted"];
  await expect(copy.replace(entriesOf(20, 2), placeAt(9))).rejects.toThrow(StoreFault);
  const left = store.crash();
  const again = new JournalCopy(left);
  expect([again.place.n, again.entries.size, again.bytes]).toEqual([0, 0, 0]);
  await again.replace(new Map([["k1", Uint8Array.of(3)]]), placeAt(9));
  const last = new JournalCopy(left.crash());
  expect([...last.entries]).toEqual([["k1", Uint8Array.of(3)]]);
});

test("a disk that takes it again has all of it, without a crash in between", async () => {
  const { store, state } = world();
  const copy = new JournalCopy(store);
  state.fates = ["good", "good", "fails_not_persisted"];
  await expect(copy.replace(entriesOf(20, 2), placeAt(9))).rejects.toThrow(StoreFault);
  await copy.apply([{ key: "k0", value: undefined }], placeAt(10));
  const again = new JournalCopy(store.crash());
  expect([again.place.n, again.entries.size]).toEqual([10, 19]);
});
