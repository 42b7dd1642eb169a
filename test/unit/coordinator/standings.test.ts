import { expect, test } from "vitest";
import { REPORT_TTL_MS, Standings } from "../../../coordinator/standings.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { Standing } from "../../../proto/gen/altrace/v1/mesh_pb.ts";

const at = (standing: Standing, standsAt = standing) => ({
  standing,
  standsAt,
  cause: "refusal",
  scoreMilli: 1_000,
});

test("an agent stands where the strictest node puts it", () => {
  const standings = new Standings(twinClock());
  expect(standings.highest("t/a")).toBe(Standing.NORMAL);
  standings.report("t/a", "n1", at(Standing.QUARANTINE));
  standings.report("t/a", "n2", at(Standing.WARNING));
  expect(standings.highest("t/a")).toBe(Standing.QUARANTINE);
  expect(standings.highest("t/b")).toBe(Standing.NORMAL);
  standings.report("t/a", "n1", at(Standing.NORMAL));
  expect(standings.highest("t/a")).toBe(Standing.WARNING);
});

test("a node is told what the others say, not what it said itself", () => {
  const standings = new Standings(twinClock());
  standings.report("t/a", "n1", at(Standing.BLOCK));
  standings.report("t/a", "n2", at(Standing.WARNING));
  expect(standings.highest("t/a", { except: "n1" })).toBe(Standing.WARNING);
  expect(standings.highest("t/a", { except: "n2" })).toBe(Standing.BLOCK);
});

test("where a budget puts it is for people: to other nodes it is no offence", () => {
  const standings = new Standings(twinClock());
  standings.report("t/a", "n1", at(Standing.NORMAL, Standing.BLOCK));
  expect(standings.highest("t/a")).toBe(Standing.NORMAL);
  expect(standings.reports("t/a")).toMatchObject([{ standsAt: Standing.BLOCK }]);
  standings.report("t/a", "n1", at(Standing.NORMAL));
  expect(standings.reports("t/a")).toEqual([]);
});

test("what a removed node said, or was said before a revive, counts no more", () => {
  const standings = new Standings(twinClock());
  standings.report("t/a", "n1", at(Standing.BLOCK));
  standings.report("t/a", "n2", at(Standing.WARNING));
  standings.forgetNode("n1");
  expect(standings.highest("t/a")).toBe(Standing.WARNING);
  standings.forgetAgent("t/a");
  expect(standings.highest("t/a")).toBe(Standing.NORMAL);
});

test("what nobody repeats is over, so that no lost word holds an agent down for ever", () => {
  const clock = twinClock();
  const standings = new Standings(clock);
  standings.report("t/a", "n1", at(Standing.BLOCK));
  clock.advance(REPORT_TTL_MS);
  standings.report("t/a", "n2", at(Standing.WARNING));
  expect(standings.highest("t/a")).toBe(Standing.BLOCK);
  clock.advance(1);
  expect(standings.reports("t/a").map(({ node }) => node)).toEqual(["n2"]);
  clock.advance(REPORT_TTL_MS);
  expect(standings.highest("t/a")).toBe(Standing.NORMAL);
  expect([...standings.agents()]).toEqual([]);
});
