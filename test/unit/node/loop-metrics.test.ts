import { AggregatorRegistry, Counter, Histogram, Registry } from "prom-client";
import { expect, test } from "vitest";
import { TalliedCounter } from "../../../node/tallied-counter.ts";
import { TalliedHistogram } from "../../../node/tallied-histogram.ts";

const BUCKETS = [0.001, 0.01, 1];
/** On bounds, between them, and beyond the last. */
const VALUES = [0, 0.001, 0.0011, 0.01, 0.5, 1, 1.5];

test("a tallied histogram reads as the library's own, bucket for bucket", async () => {
  const [own, library] = [new Registry(), new Registry()];
  const tallied = new TalliedHistogram({
    ...{ name: "took", help: "h", labelName: "way", buckets: BUCKETS, registry: own },
  });
  const histogram = new Histogram({
    ...{ name: "took", help: "h", labelNames: ["way"], buckets: BUCKETS, registers: [library] },
  });
  for (const value of VALUES) {
    for (const way of value > 0.5 ? ["b"] : ["a", "b"]) {
      tallied.observe(way, value);
      histogram.observe({ way }, value);
    }
  }
  const texts = [];
  for (const registry of [own, library]) {
    const json = await registry.getMetricsAsJSON();
    texts.push(await AggregatorRegistry.aggregate([json, json]).metrics());
  }
  expect(texts[0]).toBe(texts[1]);
  expect(texts[0]).toContain(`took_bucket{le="+Inf",way="b"} ${2 * VALUES.length}`);
});

test("a tallied counter has counted everything once, whenever it is read", async () => {
  const registry = new Registry();
  const config = { name: "n", help: "h", labelNames: ["of"], registers: [registry] };
  const tallied = new TalliedCounter(config);
  const expected = new Counter({ ...config, registers: [] });
  for (const label of ["x", "y", "x"]) {
    tallied.add(label, () => ({ of: label }), 2);
    expected.inc({ of: label }, 2);
    await registry.getMetricsAsJSON();
  }
  expect(await registry.getMetricsAsJSON()).toEqual([await expected.get()]);
});
