import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AckBook } from "../../../coordinator/ack-book.ts";
import type { Command } from "../../../coordinator/command.ts";
import { ackKey } from "../../../coordinator/store-keys.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { type TwinStore, twinStore } from "../../../ports/twin-store.ts";
import { AckSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";

const command = { cmdId: "one", scope: "global", v: 1, hashHex: "" } as Command;
const ack = create(AckSchema, { node: "n1", cmdId: "one", scope: "global", durable: true });

function bookOver(store: TwinStore, clock = twinClock()): AckBook {
  return new AckBook({ store, clock, tell: () => undefined });
}

test("an ack that is being written while its command is forgotten does not stay on disk", async () => {
  const disk = twinClock();
  const clock = twinClock();
  const store = twinStore({ delay: { clock: disk, commitMs: () => 10 } });
  const book = bookOver(store, clock);
  book.take(command, ack);
  const written = book.save();
  await Promise.resolve();
  expect(store.pendingCommits).toBe(1);
  book.forget("one");
  disk.advance(10);
  await written;
  expect(store.durable.has(ackKey("one", "n1"))).toBe(true);
  const cleaned = book.save();
  await Promise.resolve();
  disk.advance(10);
  await cleaned;
  expect(store.durable.size).toBe(0);
});

test("what an earlier run left of commands that are not remembered goes, and the rest stays", async () => {
  const store = twinStore();
  const value = toBinary(AckSchema, ack);
  await store.commit([
    { key: ackKey("one", "n1"), value },
    { key: ackKey("two", "n1"), value },
  ]);
  const book = bookOver(store);
  book.keepOnly((cmdId) => cmdId === "two");
  await book.save();
  expect([...store.durable.keys()]).toEqual([ackKey("two", "n1")]);
  expect([book.get("one", "n1"), book.get("two", "n1")?.node]).toEqual([undefined, "n1"]);
});

test("a heartbeat speaks of a kill's record of now, whatever was said before it was signed again", () => {
  const book = bookOver(twinStore());
  const first = { ...command, hashHex: "aa" };
  const said = { bootId: "b", isDurable: true, isClosed: true };
  expect(book.assume(first, "n1", said)).toBe(true);
  const again = { ...command, v: 2, hashHex: "bb" };
  expect(book.assume(again, "n1", { ...said, isClosed: false })).toBe(true);
  expect(book.get("one", "n1")).toMatchObject({ v: 2n, durable: true, closed: false });
  expect(book.assume(again, "n1", said)).toBe(true);
  expect(book.assume(again, "n1", said)).toBe(false);
});

test("what a heartbeat said keeps its record's hash, and no more memory than that", () => {
  const book = bookOver(twinStore());
  const said = { bootId: "b", isDurable: true, isClosed: true };
  book.assume({ ...command, hashHex: "ab".repeat(32) }, "n1", said);
  const { recordHash } = book.get("one", "n1") ?? {};
  expect(recordHash).toEqual(new Uint8Array(32).fill(0xab));
  expect(recordHash?.buffer.byteLength).toBe(32);
});

test("acks of one node, in any order, come to what any of them says is done", () => {
  const early = create(AckSchema, { ...ack, durable: false, closedCount: 0, sweptNs: 9n });
  const late = create(AckSchema, { ...ack, closed: true, closedCount: 3, sweptNs: 4n });
  for (const order of [
    [early, late],
    [late, early],
  ]) {
    const book = bookOver(twinStore());
    for (const one of order) expect(book.take(command, one)).toBe(true);
    const done = { durable: true, closed: true, closedCount: 3, sweptNs: 9n };
    expect(book.get("one", "n1")).toMatchObject(done);
  }
});

test("a refusal that comes late takes nothing back of what is enforced", () => {
  const book = bookOver(twinStore());
  const refused = create(AckSchema, { ...ack, durable: false, refused: "key_unknown" });
  book.take(command, refused);
  expect(book.get("one", "n1")?.refused).toBe("key_unknown");
  book.take(command, ack);
  book.take(command, refused);
  expect(book.get("one", "n1")).toMatchObject({ refused: "", durable: true });
});

test("whichever field of an ack says something new, it is seen, and what says nothing new is not", () => {
  const bytes = new Uint8Array(32).fill(1);
  const known = create(AckSchema, { ...ack, bootId: "b", recordHash: bytes, v: 1n });
  const book = bookOver(twinStore());
  book.take(command, known);
  const adds = (more: object) =>
    book.adds(command, fromBinary(AckSchema, toBinary(AckSchema, create(AckSchema, more))));
  expect(adds(known)).toBe(false);
  // These tell acks of one node and command apart from all others, or say what is taken back by nothing.
  const others = ["node", "scope", "cmdId", "durable", "refused", "also"];
  const names = AckSchema.fields.map(({ localName }) => localName);
  for (const name of names.filter((one) => !others.includes(one))) {
    const before = known[name as keyof typeof known];
    const isBytes = before instanceof Uint8Array;
    const now = { string: "c", number: 7, bigint: 7n, boolean: true }[typeof before as string];
    const value = isBytes ? new Uint8Array(32).fill(2) : now;
    expect(value, name).toBeDefined();
    expect(adds({ ...known, [name]: value }), name).toBe(true);
  }
});
