// A figure is a pure function of its data: the same numbers give the same bytes, so that a curve that
// changed is a figure that changed.

export type Curve = {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Each with its points in the order of x. All x and y are finite and at least 0. */
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly { readonly x: number; readonly y: number }[];
  }[];
};

const SIZE = { width: 720, height: 400 };
const EDGE = { left: 70, right: 130, top: 50, bottom: 60 };
/** Of light ground and of dark, in the order of the series. */
const COLOURS = [
  ["#1f5fbf", "#79a8f0"],
  ["#6f6f6f", "#b0b0b0"],
  ["#b3541e", "#e79a6b"],
  ["#2e7d32", "#7fc983"],
] as const;
const Y_TICKS = 5;
/** Whoever reads at night sees it on dark ground: a picture in a page has its own styles. */
const STYLE = [
  "<style>",
  "text { font-family: sans-serif; fill: #333 } .ground { fill: #fff } .grid { stroke: #ddd }",
  ...COLOURS.map(([light], no) => `.s${no} { stroke: ${light} } circle.s${no} { fill: ${light} }`),
  "@media (prefers-color-scheme: dark) {",
  "text { fill: #ccc } .ground { fill: #16181c } .grid { stroke: #3a3d44 }",
  ...COLOURS.map(([, dark], no) => `.s${no} { stroke: ${dark} } circle.s${no} { fill: ${dark} }`),
  "}",
  "</style>",
];

/**
 * Curves over counts that span powers of ten: x is logarithmic, with room for 0; y is linear and begins
 * at 0, so that what looks flat is flat.
 *
 * @throws RangeError There is no point, or one is not a number that can be drawn.
 */
export function curveSvg({ title, xLabel, yLabel, series }: Curve): string {
  const all = series.flatMap(({ points }) => points);
  if (all.length === 0) throw new RangeError("a curve has points");
  const bad = all.find(({ x, y }) => !Number.isFinite(x + y) || x < 0 || y < 0);
  if (bad !== undefined) throw new RangeError(`${bad.x}, ${bad.y} cannot be drawn`);
  const scale = scaleOf(all);
  const { width, height } = SIZE;
  const lines = series.map((one, no) => seriesLines(one, { scale, no }));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    ...STYLE,
    `<rect class="ground" width="${width}" height="${height}"/>`,
    text({ x: EDGE.left, y: 28, size: 15, of: title }),
    ...yAxis(scale),
    ...xAxis(scale, [...new Set(all.map(({ x }) => x))]),
    text({ x: EDGE.left, y: height - 14, size: 12, of: `${xLabel} (logarithmic)` }),
    text({ x: 8, y: EDGE.top - 8, size: 12, of: yLabel }),
    ...lines.flat(),
    "</svg>",
    "",
  ].join("\n");
}

type Scale = {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
  readonly yMax: number;
};

function scaleOf(all: readonly { readonly x: number; readonly y: number }[]): Scale {
  const logOf = (value: number) => Math.log10(1 + value);
  const logs = all.map(({ x }) => logOf(x));
  const [least, most] = [Math.min(...logs), Math.max(...logs)];
  const inner = {
    width: SIZE.width - EDGE.left - EDGE.right,
    height: SIZE.height - EDGE.top - EDGE.bottom,
  };
  const yMax = roundUp(Math.max(...all.map(({ y }) => y)));
  return {
    x: (value) => EDGE.left + ((logOf(value) - least) / (most - least || 1)) * inner.width,
    y: (value) => EDGE.top + (1 - value / yMax) * inner.height,
    yMax,
  };
}

/** The next of 1, 2 and 5 times a power of ten. */
function roundUp(value: number): number {
  if (value === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

function yAxis({ y, yMax }: Scale): string[] {
  return Array.from({ length: Y_TICKS + 1 }, (_, i) => {
    const value = (yMax * i) / Y_TICKS;
    const at = round(y(value));
    const [from, to] = [EDGE.left, SIZE.width - EDGE.right];
    return [
      `<line x1="${from}" y1="${at}" x2="${to}" y2="${at}" class="grid"/>`,
      text({ x: from - 8, y: at + 4, size: 11, of: count(value), anchor: "end" }),
    ].join("\n");
  });
}

function xAxis({ x }: Scale, values: readonly number[]): string[] {
  const y = SIZE.height - EDGE.bottom + 18;
  return values.map((value) =>
    text({ x: round(x(value)), y, size: 11, of: count(value), anchor: "middle" }),
  );
}

function seriesLines(
  { name, points }: Curve["series"][number],
  { scale, no }: { readonly scale: Scale; readonly no: number },
): string[] {
  const style = `s${no % COLOURS.length}`;
  const at = points.map(({ x, y }) => ({ x: round(scale.x(x)), y: round(scale.y(y)) }));
  const last = at.at(-1);
  if (last === undefined) return [];
  return [
    `<polyline class="${style}" fill="none" stroke-width="2" points="${at.map(({ x, y }) => `${x},${y}`).join(" ")}"/>`,
    ...at.map(({ x, y }) => `<circle class="${style}" cx="${x}" cy="${y}" r="3"/>`),
    text({ x: last.x + 10, y: last.y + 4, size: 12, of: name }),
  ];
}

function text(of: {
  readonly x: number;
  readonly y: number;
  readonly size: number;
  readonly of: string;
  readonly anchor?: "start" | "middle" | "end";
}): string {
  const { x, y, size, anchor = "start" } = of;
  const at = `x="${x}" y="${y}" font-size="${size}" text-anchor="${anchor}"`;
  return `<text ${at}>${escaped(of.of)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function count(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
