import fc from "fast-check";
import { expect, test } from "vitest";
import { DueHeap } from "../../../mesh/due-heap.ts";

test("everything is taken once, in the order of its time, and nothing before it", () => {
  const times = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 200 });
  fc.assert(
    fc.property(times, fc.integer({ min: 0, max: 50 }), (all, nowMs) => {
      const heap = new DueHeap();
      for (const [no, atMs] of all.entries()) heap.add({ atMs, id: `${no}` });
      const taken: number[] = [];
      for (let id = heap.take(nowMs); id !== undefined; id = heap.take(nowMs))
        taken.push(Number(id));
      const due = all.filter((atMs) => atMs <= nowMs);
      expect(taken.map((no) => all[no])).toEqual(due.toSorted((a, b) => a - b));
      expect(new Set(taken).size).toBe(taken.length);
      expect(heap.size).toBe(all.length - due.length);
    }),
  );
});
