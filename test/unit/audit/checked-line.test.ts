import { expect, test } from "vitest";
import { encodeCheckedLine, readCheckedLine } from "../../../audit/checked-line.ts";

const LINE = '{"at":123456,"run":"00000008.ed8f01db","name":"ä"}';

test("a line is read back as it was written, also one that an earlier version wrote alone", () => {
  expect(readCheckedLine(encodeCheckedLine(LINE))).toBe(LINE);
  expect(readCheckedLine(Buffer.from(`${LINE}\n`))).toBe(LINE);
});

test("no bit of it can flip and leave a line that parses", () => {
  const bytes = encodeCheckedLine(LINE);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    const read = readCheckedLine(flipped);
    expect(() => JSON.parse(read ?? "")).toThrow(SyntaxError);
  }
});

test("what is cut off or empty is no line", () => {
  const bytes = encodeCheckedLine(LINE);
  const whole = LINE.length + 2;
  for (let length = 0; length < bytes.length; length++) {
    // Cut at its own end it is what an earlier version wrote, whole.
    const read = readCheckedLine(bytes.subarray(0, length));
    expect(read).toBe(length === whole ? LINE : undefined);
  }
});
