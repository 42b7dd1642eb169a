import { expect, test } from "vitest";
import { pooledRandom } from "../../../ports/pooled-random.ts";
import { twinRandom } from "../../../ports/twin-random.ts";

test("a pool hands out each byte of its source once, and asks it seldom", () => {
  let asked = 0;
  const source = twinRandom(1);
  const random = pooledRandom({
    bytes(count) {
      asked++;
      return source.bytes(count);
    },
  });
  const drawn = new Set<string>();
  for (let i = 0; i < 1_000; i++) {
    const bytes = random.bytes(10);
    expect(bytes).toHaveLength(10);
    drawn.add(Buffer.from(bytes).toString("hex"));
  }
  expect(drawn.size).toBe(1_000);
  expect(asked).toBe(3);
});

test("more than the pool holds comes from the source", () => {
  expect(pooledRandom(twinRandom(1)).bytes(10_000)).toHaveLength(10_000);
});
