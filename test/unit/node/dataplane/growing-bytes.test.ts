import { expect, test } from "vitest";
import { GrowingBytes } from "../../../../node/dataplane/growing-bytes.ts";

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));

test("what comes in one piece is that piece", () => {
  const bytes = new GrowingBytes();
  const piece = bytesOf("abc");
  bytes.add(piece);
  expect(bytes.take()).toBe(piece);
  expect(bytes).toMatchObject({ length: 0 });
});

test("pieces are joined in their order, and none of them is written to", () => {
  const bytes = new GrowingBytes();
  const shared = bytesOf("abcdef");
  for (const at of [0, 1, 2, 3, 4, 5]) bytes.add(shared.subarray(at, at + 1));
  bytes.add(bytesOf("gh"));
  expect(bytes.length).toBe(8);
  expect(Buffer.from(bytes.take()).toString()).toBe("abcdefgh");
  expect(Buffer.from(shared).toString()).toBe("abcdef");
});

test("what was taken is not changed by what comes after", () => {
  const bytes = new GrowingBytes();
  for (const text of ["a", "b", "c"]) bytes.add(bytesOf(text));
  const taken = bytes.take();
  for (const text of ["x", "y", "z"]) bytes.add(bytesOf(text));
  expect(Buffer.from(taken).toString()).toBe("abc");
});

test("memory follows the bytes, not the number of pieces", () => {
  const bytes = new GrowingBytes();
  const piece = bytesOf("x");
  for (let count = 0; count < 100_000; count++) bytes.add(piece);
  expect(bytes.take().buffer.byteLength).toBeLessThanOrEqual(200_000);
});
