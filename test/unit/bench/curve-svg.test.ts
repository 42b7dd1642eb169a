import { expect, test } from "vitest";
import { type Curve, curveSvg } from "../../../bench/plots/curve-svg.ts";

const CURVE: Curve = {
  title: "Cost <by> agents & streams",
  xLabel: "agents",
  yLabel: "us",
  series: [
    { name: "flat", points: [9, 99, 999].map((x) => ({ x, y: 40 })) },
    { name: "rising", points: [9, 99, 999].map((x, i) => ({ x, y: 10 * (i + 1) })) },
  ],
};

/** Where the points of each line are, `x,y`. */
function drawn(svg: string): number[][][] {
  return [...svg.matchAll(/<polyline [^>]*points="([^"]+)"/g)].map(([, points]) =>
    (points as string).split(" ").map((one) => one.split(",").map(Number)),
  );
}

test("the same data are the same bytes", () => {
  expect(curveSvg(structuredClone(CURVE))).toBe(curveSvg(CURVE));
});

test("what is flat is drawn flat, what rises rises, and powers of ten are equally far apart", () => {
  const [flat = [], rising = []] = drawn(curveSvg(CURVE));
  expect(new Set(flat.map(([, y]) => y)).size).toBe(1);
  const heights = rising.map(([, y]) => y as number);
  expect(heights).toEqual(heights.toSorted((one, other) => other - one));
  const [first = 0, second = 0, third = 0] = flat.map(([x]) => x as number);
  expect(second - first).toBeCloseTo(third - second, 0);
});

test("y begins at 0: half of a figure is half as high", () => {
  const points = [0, 1, 2].map((x) => ({ x, y: 50 * x }));
  const [[low, middle, high] = []] = drawn(curveSvg({ ...CURVE, series: [{ name: "", points }] }));
  expect(low?.[1]).toBe(340);
  expect(high?.[1]).toBe(50);
  expect(middle?.[1]).toBe(195);
});

test("names are text, whatever they hold", () => {
  expect(curveSvg(CURVE)).toContain("Cost &lt;by&gt; agents &amp; streams");
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])(
  "%s is not drawn as if it was a figure",
  (y) => {
    const series = [{ name: "", points: [{ x: 1, y }] }];
    expect(() => curveSvg({ ...CURVE, series })).toThrow(RangeError);
    expect(() => curveSvg({ ...CURVE, series: [] })).toThrow(RangeError);
  },
);
