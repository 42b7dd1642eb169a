import { expect, test } from "vitest";
import { describeMeanwhile, MachineMeanwhile } from "../../../bench/harness/machine-meanwhile.ts";

test("medians, with the least and the most", () => {
  const samples = [3, 1, 200].map((us) => ({ hashUs: us, roundTripUs: 2 * us, syncUs: 3 * us }));
  expect(describeMeanwhile(samples)).toBe(
    "SHA-256 of 64 KiB 3 us (1 to 200), a byte over loopback and back 6 us (2 to 400), " +
      "4 KiB written and synced 9 us (3 to 600), 3 looks",
  );
});

test("nothing seen is not told as a figure", async () => {
  using machine = await MachineMeanwhile.start(3_600_000);
  expect(describeMeanwhile(await machine.end())).toMatch(/^not looked at/);
});

test("whoever looks and has ended has seen nothing, and is not waited for", async () => {
  using machine = await MachineMeanwhile.start(3_600_000);
  machine[Symbol.dispose]();
  expect(await machine.end()).toEqual([]);
});
