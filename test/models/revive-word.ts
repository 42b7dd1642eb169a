import type { Model } from "./explore.ts";

// One scope, two coordinators, one node. An operator revives through the first coordinator while the second
// kills; words and copies may be lost, come late, and come twice.
//
// K3. At one version a kill wins.
// K4. The version that the node has never goes down.
// K6. A revive that the node has is in the stream, or was.
//
// A kill is told ahead of its commit, and a revive by the coordinator that has seen it stored; the stream itself
// tells the node nothing but when it reads.

const VERSIONS = 4;

/** Rules that can be left out, to see that they are needed. */
export type Mutation =
  /** The coordinator tells of a revive when it asks the stream to store it. */
  | "tells_before_stored"
  /** The node takes what it is told, whatever it has. */
  | "ignores_versions";

type Entry = { readonly v: number; readonly op: "kill" | "revive" };

export type ReviveWord = {
  /** What the stream holds. */
  readonly stream: Entry;
  /** Versions at which it has ever held a revive. */
  readonly revived: readonly number[];
  readonly node: Entry;
  /** The highest version that the node ever had. */
  readonly highest: number;
  /** The revive that the first coordinator is having stored, by its version. */
  readonly asked: number | undefined;
  /** The kill that the second one is having stored. */
  readonly killing: number | undefined;
  /** What is under way to the node; nothing says that it comes once, or in this order. */
  readonly words: readonly Entry[];
};

type Step = readonly [step: string, state: ReviveWord];

export function reviveWord(mutation?: Mutation): Model<ReviveWord> {
  const start: Entry = { v: 1, op: "kill" };
  return {
    start: {
      stream: start,
      revived: [],
      node: start,
      highest: 1,
      asked: undefined,
      killing: undefined,
      words: [],
    },
    next: (state) => [...revives(state, mutation), ...kills(state), ...hears(state, mutation)],
    wrong: ({ node, highest, revived }) => {
      if (node.v < highest) return "K4: the node went back to an earlier version";
      const isUnknown = node.op === "revive" && !revived.includes(node.v);
      return isUnknown ? "K6: the node has a revive that was never stored" : undefined;
    },
  };
}

function revives(state: ReviveWord, mutation?: Mutation): readonly Step[] {
  const { stream, asked } = state;
  if (asked === undefined) {
    const v = stream.v + 1;
    if (v > VERSIONS || stream.op === "revive") return [];
    const said = mutation === "tells_before_stored" ? told(state, { v, op: "revive" }) : state;
    return [["an operator revives", { ...said, asked: v }]];
  }
  // The stream compares and sets: what was built on another record is not stored.
  if (asked !== stream.v + 1) {
    return [["the revive has lost", { ...state, asked: undefined }]];
  }
  const entry: Entry = { v: asked, op: "revive" };
  const stored = {
    ...state,
    stream: entry,
    asked: undefined,
    revived: [...state.revived, asked],
  };
  return [
    ["the revive is stored, and its coordinator dies before it says so", stored],
    ["the revive is stored and told", told(stored, entry)],
  ];
}

function kills(state: ReviveWord): readonly Step[] {
  const { stream, killing } = state;
  if (killing === undefined) {
    const v = stream.v + 1;
    if (v > VERSIONS) return [];
    return [
      ["a kill is told, and to be stored", { ...told(state, { v, op: "kill" }), killing: v }],
    ];
  }
  if (killing === stream.v + 1) {
    const entry: Entry = { v: killing, op: "kill" };
    return [["the kill is stored", { ...state, stream: entry, killing: undefined }]];
  }
  const v = stream.v + 1;
  if (v > VERSIONS) return [];
  return [["the kill is signed again", { ...told(state, { v, op: "kill" }), killing: v }]];
}

function hears(state: ReviveWord, mutation?: Mutation): readonly Step[] {
  const takes = (entry: Entry): ReviveWord => {
    const node = mutation === "ignores_versions" ? entry : greater(state.node, entry);
    return { ...state, node, highest: Math.max(state.highest, node.v) };
  };
  return [
    ...state.words.map((entry): Step => [`the node hears ${entry.op} ${entry.v}`, takes(entry)]),
    ["the node reads the stream", takes(state.stream)],
  ];
}

/** Every word stays under way, so that it may come again. */
function told(state: ReviveWord, entry: Entry): ReviveWord {
  const isKnown = state.words.some(({ v, op }) => v === entry.v && op === entry.op);
  return isKnown ? state : { ...state, words: [...state.words, entry] };
}

function greater(left: Entry, right: Entry): Entry {
  if (left.v !== right.v) return left.v > right.v ? left : right;
  return left.op === "kill" ? left : right;
}
