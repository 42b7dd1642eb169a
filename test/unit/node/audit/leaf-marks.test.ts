import { describe, expect, test } from "vitest";
import { LEAF_BYTES_MAX, putLeaf } from "../../../../audit/leaf.ts";
import type { AuditRecord } from "../../../../audit/record.ts";
import type { LeafScan } from "../../../../audit/scan-leaf.ts";
import {
  MARK_INTS,
  MARKS_KEPT,
  MarkReader,
  MarkWriter,
} from "../../../../node/audit/leaf-marks.ts";
import { createWalSignal, marksOf } from "../../../../node/audit/wal-signal.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";

const A = put(ALLOW);
const B = put({ ...DENY, t: 2 ** 45 + 2 ** 31 + 7 });

function put(record: AuditRecord) {
  const into = Buffer.alloc(LEAF_BYTES_MAX);
  const { bytes, scan } = putLeaf(record, into, 0);
  return { leaf: into.subarray(0, bytes), scan };
}

const at = (bytes: number, fileNo = 1) => ({ fileNo, bytes });

function ends() {
  const ints = new Int32Array(new SharedArrayBuffer(MARK_INTS * 4));
  return { ints, writer: new MarkWriter(ints), reader: new MarkReader(ints) };
}

describe("marks", () => {
  test("tell frame after frame where things stand in their leaves", () => {
    const { writer, reader } = ends();
    writer.tell(at(500), A.scan);
    writer.tell(at(900), B.scan);
    writer.tell(at(500, 2), A.scan);
    expect(reader.next(A.leaf, at(500))).toEqual(A.scan);
    expect(reader.next(B.leaf, at(900))).toEqual(B.scan);
    expect(reader.next(A.leaf, at(500, 2))).toEqual(A.scan);
    expect(reader.next(A.leaf, at(900, 2))).toBeUndefined();
  });

  test("of another frame are not taken for this one's, and the next ones are found again", () => {
    const { writer, reader } = ends();
    for (let no = 1; no <= 4; no += 1) writer.tell(at(no * 100), A.scan);
    expect(reader.next(A.leaf, at(101))).toBeUndefined();
    expect(reader.next(A.leaf, at(200, 2))).toBeUndefined();
    expect(reader.next(A.leaf, at(300))).toEqual(A.scan);
  });

  test("that are being changed, or that the bytes contradict, are none", () => {
    const { ints, writer, reader } = ends();
    for (let no = 1; no <= 5; no += 1) writer.tell(at(no * 100), A.scan);
    ints[0] = 0;
    expect(reader.next(A.leaf, at(100))).toBeUndefined();
    for (const moved of [{ epAt: A.scan.epAt + 1 }, { seqAt: A.scan.seqAt - 1 }, { seqAt: 1 }]) {
      const other = ends();
      other.writer.tell(at(100), { ...A.scan, ...moved } as LeafScan);
      expect(other.reader.next(A.leaf, at(100))).toBeUndefined();
    }
    expect(reader.next(A.leaf.subarray(0, A.scan.seqAt), at(200))).toBeUndefined();
    expect(reader.next(A.leaf, at(300))).toEqual(A.scan);
  });

  test("are none where the writer did not know, and where it is too far ahead", () => {
    const { writer, reader } = ends();
    writer.tell(at(100), { ...A.scan, epAt: -1 });
    expect(reader.next(A.leaf, at(100))).toBeUndefined();
    for (let no = 2; no <= MARKS_KEPT + 2; no += 1) writer.tell(at(no * 100), A.scan);
    expect(reader.next(A.leaf, at(200))).toBeUndefined();
    expect(reader.next(A.leaf, at(300))).toEqual(A.scan);
  });

  test("of each writer lie apart, and from positions", () => {
    const signal = createWalSignal(3);
    for (let no = 0; no < 3; no += 1) marksOf(signal, no).fill(no + 1);
    expect(signal.longs.every((cell) => cell === 0n)).toBe(true);
    for (let no = 0; no < 3; no += 1) {
      const own = marksOf(signal, no);
      expect(own).toHaveLength(MARK_INTS);
      expect(own.every((cell) => cell === no + 1)).toBe(true);
    }
  });
});
