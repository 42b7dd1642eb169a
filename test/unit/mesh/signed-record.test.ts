import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeSignedRecord, encodeSignedRecord } from "../../../mesh/signed-record.ts";
import { SignedRecordSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";

const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 });
const kid = fc.string({ unit: "binary", minLength: 1, maxLength: 16 });
const signed = fc.record({
  payload: bytes,
  signatures: fc.array(fc.record({ kid, sig: bytes }), { maxLength: 5 }),
});
const inGeneral = (of: Uint8Array) => {
  const { payload, signatures, $unknown } = fromBinary(SignedRecordSchema, of);
  const isKnown = !$unknown && signatures.every((one) => !one.$unknown);
  return {
    isKnown,
    read: { payload, signatures: signatures.map(({ kid, sig }) => ({ kid, sig })) },
  };
};
const orNothing = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch {
    return undefined;
  }
};

test("a signed record is written and read as any message is", () => {
  fc.assert(
    fc.property(signed, (of) => {
      const written = encodeSignedRecord(of);
      expect(Buffer.from(written)).toEqual(
        Buffer.from(toBinary(SignedRecordSchema, create(SignedRecordSchema, of))),
      );
      expect(decodeSignedRecord(written)).toEqual(inGeneral(written).read);
    }),
  );
});

test("bytes that were changed or cut are never read as another record than in general", () => {
  let readings = 0;
  fc.assert(
    fc.property(signed, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (of, at, by, cut) => {
      const changed = encodeSignedRecord(of);
      const place = at % Math.min(changed.length, 24);
      changed[place] = (changed[place] as number) ^ by;
      for (const some of [changed, changed.subarray(0, cut % (changed.length + 1))]) {
        const read = orNothing(() => decodeSignedRecord(some));
        if (read === undefined) continue;
        readings += 1;
        expect(inGeneral(some)).toEqual({ isKnown: true, read });
      }
    }),
    { numRuns: 2_000 },
  );
  expect(readings).toBeGreaterThan(100);
});

test("what is unknown, of another wire type or cut short is refused", () => {
  const good = encodeSignedRecord({
    payload: Buffer.from("what was signed"),
    signatures: [{ kid: "0123456789abcdef", sig: Buffer.alloc(64) }],
  });
  expect(() => decodeSignedRecord(good.subarray(0, -1))).toThrow();
  // A third field, a first field that is a number, and the same within a signature.
  for (const more of [
    [0x1a, 0],
    [0x08, 1],
    [0x12, 2, 0x1a, 0],
    [0x12, 2, 0x08, 1],
  ])
    expect(() => decodeSignedRecord(Buffer.concat([good, Buffer.from(more)]))).toThrow();
});
