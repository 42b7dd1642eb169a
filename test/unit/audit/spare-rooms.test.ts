import { expect, test } from "vitest";
import { BundleBuilder } from "../../../audit/bundle-builder.ts";
import { LEAF_BYTES_MAX } from "../../../audit/leaf.ts";
import { SpareRooms } from "../../../audit/spare-rooms.ts";

function filled(entryBytes: number): Buffer {
  const bundle = new BundleBuilder();
  while (!bundle.isFull) bundle.add(Buffer.alloc(entryBytes));
  return bundle.room;
}

test("a room is kept for another bundle, a bounded number of them, each once", () => {
  const rooms = new SpareRooms();
  const given = Array.from({ length: 100 }, () => Buffer.alloc(1));
  rooms.give(given.slice(0, 50));
  rooms.give(given.slice(50));
  const taken: Buffer[] = [];
  for (let room = rooms.take(); room !== undefined; room = rooms.take()) taken.push(room);
  expect(taken).toHaveLength(64);
  expect(new Set(taken).size).toBe(64);
});

test("a room that grew for entries as large as they may be is not kept", () => {
  const rooms = new SpareRooms();
  const usual = filled(800);
  rooms.give([filled(LEAF_BYTES_MAX), usual]);
  expect(rooms.take()).toBe(usual);
  expect(rooms.take()).toBeUndefined();
});
