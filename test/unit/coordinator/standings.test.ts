import { expect, test } from "vitest";
import { Standings } from "../../../coordinator/standings.ts";
import { Standing } from "../../../proto/gen/altrace/v1/mesh_pb.ts";

test("an agent stands where the strictest node puts it", () => {
  const standings = new Standings();
  expect(standings.highest("t/a")).toBe(Standing.NORMAL);
  standings.report("t/a", "n1", Standing.QUARANTINE);
  expect(standings.report("t/a", "n2", Standing.WARNING)).toBe(Standing.QUARANTINE);
  expect(standings.highest("t/b")).toBe(Standing.NORMAL);
  expect(standings.report("t/a", "n1", Standing.NORMAL)).toBe(Standing.WARNING);
});

test("what a removed node said, or was said before a revive, counts no more", () => {
  const standings = new Standings();
  standings.report("t/a", "n1", Standing.BLOCK);
  standings.report("t/a", "n2", Standing.WARNING);
  standings.forgetNode("n1");
  expect(standings.highest("t/a")).toBe(Standing.WARNING);
  standings.forgetAgent("t/a");
  expect(standings.highest("t/a")).toBe(Standing.NORMAL);
});
