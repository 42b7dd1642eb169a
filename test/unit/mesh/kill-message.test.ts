import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeKillMessage, encodeKillMessage } from "../../../mesh/kill-message.ts";
import { KillSchema, RecordSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const time = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const kill = fc.record({
  mesh: text,
  v: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  scope: text,
  prev: fc.uint8Array({ maxLength: 32 }),
  cmdId: text,
  issuedAtMs: time,
  operator: text,
  op: fc
    .record({ reason: text, cause: text, contractEndMs: time })
    .map((value) => ({ case: "kill" as const, value: create(KillSchema, value) })),
});
/** What the general reader says, where it knows all of it and it is a kill. */
const inGeneral = (bytes: Uint8Array) => {
  try {
    const { $typeName: _type, $unknown, ...read } = fromBinary(RecordSchema, bytes);
    const isKnown = !$unknown && read.op.case === "kill" && !read.op.value.$unknown;
    return isKnown ? read : undefined;
  } catch {
    return undefined;
  }
};

test("a kill is written and read as any record is", () => {
  fc.assert(
    fc.property(kill, (of) => {
      const written = encodeKillMessage(of);
      expect(Buffer.from(written)).toEqual(
        Buffer.from(toBinary(RecordSchema, create(RecordSchema, of))),
      );
      expect(decodeKillMessage(written)).toEqual(inGeneral(written));
    }),
  );
});

test("bytes that were changed, cut or put together are never read as another one than in general", () => {
  let readings = 0;
  fc.assert(
    fc.property(kill, kill, fc.nat(), fc.integer({ min: 1, max: 255 }), (of, more, at, by) => {
      const whole = encodeKillMessage(of);
      const changed = Uint8Array.from(whole);
      changed[at % whole.length] = (changed[at % whole.length] as number) ^ by;
      const both = Buffer.concat([whole, encodeKillMessage(more)]);
      for (const some of [changed, whole.subarray(0, at % whole.length), both]) {
        const read = decodeKillMessage(some);
        if (read === undefined) continue;
        readings += 1;
        expect(read).toEqual(inGeneral(some));
      }
    }),
    { numRuns: 1_000 },
  );
  expect(readings).toBeGreaterThan(100);
});

test("fields of any number, wire type and order are never read as another kill than in general", () => {
  const bodies = {
    0: [[0], [0x81, 0x00], [0xff, 0x01]],
    2: [[0], [1, 0x61], [2, 0x18, 5], [1, 0xff]],
  };
  const field = fc
    .tuple(fc.integer({ min: 1, max: 7 }), fc.constantFrom(0, 2, 2, 2), fc.nat(3))
    .map(([no, type, which]) => {
      const some = bodies[type as 0 | 2];
      return { no, bytes: [(no << 3) | type, ...(some[which % some.length] as number[])] };
    });
  const inner = fc.constantFrom(
    [0],
    [2, 0x0a, 0],
    [2, 0x18, 5],
    [2, 0x10, 0],
    [4, 0x12, 0, 0x0a, 0],
  );
  let readings = 0;
  fc.assert(
    fc.property(
      fc.array(field, { maxLength: 3 }),
      fc.boolean(),
      inner,
      (fields, isSorted, kill) => {
        const some = isSorted ? fields.toSorted((a, b) => a.no - b.no) : fields;
        const bytes = Uint8Array.from([...some.flatMap((one) => one.bytes), 0x52, ...kill]);
        const read = decodeKillMessage(bytes);
        if (read === undefined) return;
        readings += 1;
        expect(read).toEqual(inGeneral(bytes));
      },
    ),
    { numRuns: 2_000 },
  );
  expect(readings).toBeGreaterThan(100);
});

test("another op, an unknown field and another wire type are left to the general reader", () => {
  const written = toBinary(
    RecordSchema,
    create(RecordSchema, { mesh: "m", op: { case: "kill", value: create(KillSchema) } }),
  );
  expect(decodeKillMessage(written)).toBeDefined();
  for (const tail of [
    [0xf8, 0x01, 0x01],
    [0x38, 0x01],
    [0x5a, 0x00],
    [0x52, 0x02, 0x20, 0x01],
  ]) {
    expect(decodeKillMessage(Buffer.concat([written, Buffer.from(tail)]))).toBeUndefined();
  }
  const ofOtherFields = [
    [0x12, 0x00, 0x52, 0x00],
    [0x52, 0x02, 0x1a, 0x00],
    [0x52, 0x04, 0x0a, 0x00, 0x0a, 0x00],
  ];
  for (const bytes of ofOtherFields) {
    expect(decodeKillMessage(Uint8Array.from(bytes))).toBeUndefined();
  }
  const revive = create(RecordSchema, { mesh: "m", op: { case: "revive", value: {} } });
  expect(decodeKillMessage(toBinary(RecordSchema, revive))).toBeUndefined();
});
