import { expect, test } from "vitest";
import type { Wait } from "../../../../node/dataplane/answer-scan.ts";
import { HoldBack } from "../../../../node/dataplane/hold-back.ts";

test("frames that wait count for more than their bytes, so that empty ones have a bound too", () => {
  let clear = false;
  const wait = { channel: { isClear: () => clear }, end: 1 } as unknown as Wait;
  const held = new HoldBack();
  const released: Uint8Array[] = [];
  const release = (bytes: Uint8Array) => void released.push(bytes);
  const lineFeed = Buffer.from("\n");
  held.pass(Buffer.from("data: S\n\n"), [wait], release);
  for (let count = 0; count < 10_000; count++) held.pass(lineFeed, [], release);
  expect(released).toHaveLength(0);
  expect(held.bytes).toBeGreaterThan(1_000_000);
  clear = true;
  held.pass(lineFeed, [], release);
  expect(released).toHaveLength(10_002);
  expect(held.bytes).toBe(0);
});
