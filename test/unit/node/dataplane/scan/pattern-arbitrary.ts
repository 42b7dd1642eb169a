import fc from "fast-check";

/** Characters that patterns and texts share: few, so that they meet, of all encoded lengths. */
const CHARACTERS = ["a", "b", "A", "1", "_", " ", "\n", "é", "É", "€", "😀"];

const literal = fc.constantFrom(...CHARACTERS.filter((character) => character !== "\n"), "\\n");

const characterClass = fc.constantFrom(
  "[ab]",
  "[^a]",
  "[^ab\\n]",
  "[a-é]",
  "[^é]",
  "[à-ÿ1]",
  "(?-i:[^é-€1])",
  "(?-i:[é-€1])",
  "[\\w-]",
  "[\\W]",
  "[^\\s]",
  "\\d",
  "\\w",
  "\\s",
  "\\D",
  "\\W",
  "\\S",
  ".",
  "(?s:.)",
  "[\\x{1F600}-\\x{1F64F}]",
);

const assertion = fc.constantFrom("\\b", "\\B", "^", "$", "\\A", "\\z", "(?m:^)", "(?m:$)");

const quantifier = fc.constantFrom("*", "+", "?", "{2}", "{0,3}", "{1,2}", "{2,}", "*?", "{0}");

const flags = fc.constantFrom("", "i", "s", "im");

function patterns({ assertions }: { assertions: boolean }): fc.Arbitrary<string> {
  const leaves = assertions
    ? [literal, literal, characterClass, assertion]
    : [literal, literal, characterClass];
  return fc.letrec<{ node: string }>((tie) => ({
    node: fc.oneof(
      { depthSize: "small", withCrossShrink: true, maxDepth: 4 },
      fc.oneof(...leaves),
      fc.tuple(tie("node"), tie("node")).map(([a, b]) => `${a}${b}`),
      fc.tuple(tie("node"), tie("node")).map(([a, b]) => `(?:${a}|${b})`),
      fc.tuple(tie("node"), quantifier).map(([node, times]) => `(?:${node})${times}`),
      fc.tuple(flags, tie("node")).map(([on, node]) => `(?${on}:${node})`),
    ),
  })).node;
}

/** Random patterns in the syntax that our engine and RE2 share. Some match the empty text. */
export const anyPattern = patterns({ assertions: true });

/** The same without conditions between two bytes. */
export const plainPattern = patterns({ assertions: false });

export function texts({ maxLength }: { maxLength: number }): fc.Arbitrary<string> {
  return fc
    .array(fc.constantFrom(...CHARACTERS), { maxLength })
    .map((characters) => characters.join(""));
}

/** Cuts bytes into pieces, some of them empty, at places drawn with them. */
export function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b);
  const edges = [0, ...sorted, bytes.length];
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
}

export const cutPlaces = fc.array(fc.nat({ max: 1000 }), { maxLength: 8 });
