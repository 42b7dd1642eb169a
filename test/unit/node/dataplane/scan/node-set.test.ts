import fc from "fast-check";
import { expect, test } from "vitest";
import { NodeSet } from "../../../../../node/dataplane/scan/node-set.ts";

test("a node set lists what was added since it was cleared, once and in order", () => {
  const nodes = fc.array(fc.nat({ max: 99 }), { maxLength: 150 });
  const reused = new NodeSet(100);
  fc.assert(
    fc.property(nodes, (added) => {
      reused.clear();
      for (const node of added) reused.add(node);
      expect(reused.sorted()).toEqual([...new Set(added)].toSorted((a, b) => a - b));
    }),
  );
});

test("a node set in falling order, which insertion cannot sort cheaply, is sorted too", () => {
  const set = new NodeSet(1000);
  for (let node = 999; node >= 0; node--) set.add(node);
  expect(set.sorted()).toEqual(Array.from({ length: 1000 }, (_, node) => node));
});
