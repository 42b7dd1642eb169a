import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Link, OpenList } from "../../../node/open-list.ts";

describe("a list of what is open", () => {
  test("holds what a Set would, in its order, whatever is put in and taken out", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (steps) => {
        const list = new OpenList<number>();
        const twin = new Set<number>();
        const links: Link<number>[] = [];
        for (const [no, step] of steps.entries()) {
          const link = links[step];
          if (link === undefined) {
            links.push(list.add(no));
            twin.add(no);
          } else {
            expect(list.remove(link)).toBe(twin.delete(link.item));
          }
          expect([...list]).toEqual([...twin]);
          expect(list.size).toBe(twin.size);
        }
      }),
    );
  });

  test("lets go of what is taken out: its place leads to no other", () => {
    const list = new OpenList<string>();
    const [, middle] = ["first", "middle", "last"].map((item) => list.add(item));
    if (middle === undefined) throw new Error("nothing was put in");
    list.remove(middle);
    expect(middle).toEqual({ item: "middle", before: undefined, after: undefined, isIn: false });
    expect([...list]).toEqual(["first", "last"]);
  });
});
