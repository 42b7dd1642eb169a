import { expect, test } from "vitest";
import { IdsBy } from "../../../../node/mesh/ids-by.ts";

test("a name has the ids that were added and not removed, each once", () => {
  const ids = new IdsBy();
  const of = (name: string) => [...ids.of(name)];
  expect(of("payments/bot")).toEqual([]);
  ids.add("payments/bot", "k1");
  ids.add("payments/bot", "k1");
  expect(of("payments/bot")).toEqual(["k1"]);
  ids.add("payments/bot", "k2");
  ids.add("payments/bot", "k3");
  ids.add("ops/bot", "k4");
  expect(of("payments/bot")).toEqual(["k1", "k2", "k3"]);
  ids.remove("payments/bot", "k2");
  ids.remove("payments/bot", "k9");
  expect(of("payments/bot")).toEqual(["k1", "k3"]);
  ids.remove("payments/bot", "k1");
  expect(of("payments/bot")).toEqual(["k3"]);
  ids.remove("payments/bot", "k3");
  expect(of("payments/bot")).toEqual([]);
  expect(of("ops/bot")).toEqual(["k4"]);
});

test("an id beside many is added to them, and they are not copied for it", () => {
  const ids = new IdsBy();
  ids.add("payments/bot", "k1");
  ids.add("payments/bot", "k2");
  const before = ids.of("payments/bot");
  ids.add("payments/bot", "k3");
  ids.remove("payments/bot", "k1");
  expect(ids.of("payments/bot")).toBe(before);
  expect([...before]).toEqual(["k2", "k3"]);
});
