import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { KeptKey } from "../../../mesh/kept-key.ts";
import { openRecord, restoreRecord } from "../../../mesh/record.ts";
import { decodeSignedRecord } from "../../../mesh/signed-record.ts";
import { context, kill, MESH, opened, operator, sign, virtualKey } from "./sample-mesh.ts";

const SCOPE = "key/abcdefgh";

test("a key's record says all that it was signed with, read again each time it is asked", () => {
  const op = virtualKey("payments/worker");
  const bytes = sign(SCOPE, op, operator, { v: 2, operator: "bob@example.test" });
  const { payload } = decodeSignedRecord(bytes);
  for (const read of [openRecord(bytes, context()), restoreRecord(bytes, { mesh: MESH })]) {
    const record = opened(read);
    expect(record).toBeInstanceOf(KeptKey);
    expect(record.v).toBe(2);
    expect(record.parsed).toEqual({ kind: "key", id: "abcdefgh" });
    expect(record.prev).toEqual(Buffer.alloc(32, 9));
    expect(record.operator).toBe("bob@example.test");
    expect(record.op.case).toBe("key");
    expect(record.op.value).toEqual(op.value);
    expect(record.hash).toEqual(createHash("sha256").update(payload).digest());
  }
});

test("it keeps nothing of the memory that it came in", () => {
  const came = Buffer.from(sign(SCOPE, virtualKey()));
  const bytes = Buffer.from(came);
  const record = opened(openRecord(came, context()));
  came.fill(0);
  expect(Buffer.compare(record.bytes, bytes)).toBe(0);
  expect(record.op.value).toEqual(virtualKey().value);
});

test("a key's removal is a kill, and kept as one", () => {
  expect(opened(openRecord(sign(SCOPE, kill()), context()))).not.toBeInstanceOf(KeptKey);
});
