import { createHash } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  BODY_BYTES_MAX,
  flawOfParts,
  openParts,
  PACKED_BYTES_MAX,
  PART_BYTES,
  PARTS_MAX,
  type PackedBundle,
  PartsMalformed,
  packPolicy,
} from "../../../mesh/policy-parts.ts";
import { BUNDLE_BYTES_MAX } from "../../../policy/defaults.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type Policy, PolicySchema } from "../../../proto/gen/altrace/v1/record_pb.ts";

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest());

/** Text that packs well and is nowhere the same. */
function bundleOf(size: number): Uint8Array {
  const lines = Array.from(
    { length: Math.ceil(size / 8) },
    (_, no) => `${String(no).padStart(7)}\n`,
  );
  return Buffer.from(lines.join("").slice(0, size));
}

function packedOf(policy: Policy, parts: readonly Uint8Array[]): PackedBundle {
  return { sha256: hexOf(policy.sha256), size: Number(policy.size), parts };
}

function open(packed: PackedBundle): { readonly bundle: Uint8Array; readonly steps: number } {
  const opening = openParts(packed);
  for (let steps = 0; ; steps += 1) {
    const step = opening.next();
    if (step.done) return { bundle: step.value, steps };
  }
}

test.each([
  ["a byte", 1],
  ["the most that a record carries", BODY_BYTES_MAX],
])("a bundle of %s travels in its record", (_what, size) => {
  const bundle = bundleOf(size);
  const { policy, parts } = packPolicy(bundle);
  expect(parts).toEqual([]);
  expect(policy.parts).toEqual([]);
  expect(policy.body).toEqual(bundle);
});

test.each([
  ["one byte more", BODY_BYTES_MAX + 1],
  ["whole parts", 4 * PART_BYTES],
  ["a last part of a byte", 4 * PART_BYTES + 1],
])("of %s it has parts, a step of opening each", (_what, size) => {
  const bundle = bundleOf(size);
  const { policy, parts } = packPolicy(bundle);
  expect(policy.body).toHaveLength(0);
  expect(policy.parts.map(hexOf)).toEqual(parts.map((part) => hexOf(sha256(part))));
  expect(flawOfParts(policy)).toBeUndefined();
  const opened = open(packedOf(policy, parts));
  expect(Buffer.compare(opened.bundle, bundle)).toBe(0);
  expect(opened.bundle.buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(opened.steps).toBe(Math.ceil(size / PART_BYTES));
});

test("what cannot be packed is within what a part may have, and so on the bus", () => {
  const noise = twinRandom(3).bytes(3 * PART_BYTES);
  const { policy, parts } = packPolicy(noise);
  expect(Math.max(...parts.map(({ length }) => length))).toBeLessThanOrEqual(PACKED_BYTES_MAX);
  expect(Buffer.compare(open(packedOf(policy, parts)).bundle, noise)).toBe(0);
});

test("the largest bundle that policy takes is the largest that has parts", () => {
  expect(BUNDLE_BYTES_MAX).toBe(PARTS_MAX * PART_BYTES);
});

test("nothing comes of parts that are not what the record says", () => {
  const { policy, parts } = packPolicy(bundleOf(3 * PART_BYTES - 5));
  const [first, second, third] = parts as [Uint8Array, Uint8Array, Uint8Array];
  const bomb = deflateRawSync(Buffer.alloc(100 * PART_BYTES));
  const wrong: [string, readonly Uint8Array[]][] = [
    ["in another order", [second, first, third]],
    ["one that grows beyond its part", [first, bomb, third]],
    ["one that is too short", [first, third, third]],
    ["one that is not deflate", [first, Buffer.from("not deflate"), third]],
    ["one that is cut", [first, second.subarray(0, second.length - 9), third]],
  ];
  for (const [what, these] of wrong) {
    expect(() => open(packedOf(policy, these)), what).toThrow(PartsMalformed);
  }
});

test.each([
  ["a body beside them", { body: new Uint8Array(1) }],
  ["one too few for the size", { size: BigInt(3 * PART_BYTES + 1) }],
  ["one too many for the size", { size: BigInt(2 * PART_BYTES + 0) }],
  ["a size that needs none", { size: BigInt(BODY_BYTES_MAX), parts: [new Uint8Array(32)] }],
  ["more than there may be", { size: BigInt(PARTS_MAX * PART_BYTES + 1) }],
  ["what is no hash", { parts: [1, 2, 3].map(() => new Uint8Array(31)) }],
])("a record with %s is none", (_what, change) => {
  const sound = { size: BigInt(3 * PART_BYTES), parts: [1, 2, 3].map(() => new Uint8Array(32)) };
  expect(flawOfParts(create(PolicySchema, sound))).toBeUndefined();
  expect(flawOfParts(create(PolicySchema, { ...sound, ...change }))).toBeDefined();
});
