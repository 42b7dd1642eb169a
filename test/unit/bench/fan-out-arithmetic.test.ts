import { expect, test } from "vitest";
import { largerMeshes } from "../../../bench/fan-out-arithmetic.ts";

test("larger meshes are multiplied from the measured one, and said to be arithmetic", () => {
  const measured = { nodes: 1_000, killCpuMs: 40, bareCpuMs: 20, acksPerNode: 3 };
  const [ten, hundred] = largerMeshes(measured, [10_000, 100_000]);
  expect(ten).toMatch(/^ARITHMETIC, not measured, for 10,000 nodes at 10 us/);
  expect(ten).toContain("a kill 400 ms in all");
  // 30,000 digests and 20,000 messages of heartbeats a second, 10 us each.
  expect(ten).toContain("heartbeats 0.5 cores in all");
  expect(ten).toContain("On 10 leaf servers of 1,000 nodes each: a kill 40 ms and 0.05 cores");
  expect(hundred).toContain("heartbeats 5 cores in all");
  expect(hundred).toContain("verifies 3 acks a node at 96 us: 29 s of processor time");
  expect(largerMeshes({ ...measured, nodes: 999 }, [10_000])).toEqual([]);
});
