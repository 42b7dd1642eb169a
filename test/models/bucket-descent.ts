import type { Model } from "./explore.ts";

// A node and a coordinator compare their states: the node sends what sums up each bucket, the coordinator
// answers with its records of those that differ, and the node offers what the answer does not have.
//
// K1. A comparison that nothing was lost of, and beside which nothing new came up, leaves both alike.
// K4. No version that a replica has goes down.
//
// There are two scopes, each in a bucket of its own. Any message may be lost, and either side may hear of a
// new record at any moment that the other has not heard of.

const VERSIONS_MAX = 2;

/** Rules that can be left out, to see that they are needed. */
export type DescentMutation = "offers_nothing" | "takes_what_is_told" | "looks_at_one_bucket";

type Versions = readonly [number, number];

export type Descent = {
  readonly node: Versions;
  readonly coordinator: Versions;
  /** What the node had when it asked. */
  readonly question: Versions | undefined;
  /** The coordinator's versions in the buckets that differ; -1 in those that do not. */
  readonly answer: Versions | undefined;
  /** Offered by the node and on their way; 0 for none. */
  readonly offers: Versions;
  /** "ended" once all messages of a comparison have come. */
  readonly phase: "idle" | "asked" | "ended";
  /** Whether something was lost or came up since the node asked. */
  readonly isDisturbed: boolean;
  readonly hasFallen: boolean;
};

type Step = readonly [step: string, state: Descent];

export function bucketDescent(mutation?: DescentMutation): Model<Descent> {
  return {
    start: {
      node: [0, 0],
      coordinator: [0, 0],
      question: undefined,
      answer: undefined,
      offers: [0, 0],
      phase: "idle",
      isDisturbed: false,
      hasFallen: false,
    },
    next: (state) => [...news(state), ...messages(state, mutation)],
    wrong: ({ node, coordinator, phase, isDisturbed, hasFallen }) => {
      if (hasFallen) return "K4: a version went down";
      const differ = node.some((version, scope) => version !== coordinator[scope]);
      if (phase === "ended" && !isDisturbed && differ) return "K1: they differ after a comparison";
      return undefined;
    },
  };
}

/** A record of the next version that only one side hears of. */
function news(state: Descent): readonly Step[] {
  return ([0, 1] as const).flatMap((scope) => {
    const version = Math.max(state.node[scope], state.coordinator[scope]) + 1;
    if (version > VERSIONS_MAX) return [];
    const after = { ...state, isDisturbed: true };
    return [
      [
        `the node hears of ${scope} v${version}`,
        { ...after, node: at(state.node, scope, version) },
      ],
      [
        `the coordinator hears of ${scope} v${version}`,
        { ...after, coordinator: at(state.coordinator, scope, version) },
      ],
    ] satisfies Step[];
  });
}

function messages(state: Descent, mutation: DescentMutation | undefined): readonly Step[] {
  const { question, answer, offers, phase, node } = state;
  if (phase !== "asked") {
    const asked = { ...state, question: node, phase: "asked", isDisturbed: false } as const;
    return [["the node asks", asked]];
  }
  if (question) {
    const answered = { ...state, question: undefined, answer: answerTo(state, mutation) };
    return [
      ["the question is lost", lost({ ...state, question: undefined })],
      ["the coordinator answers", answered],
    ];
  }
  if (answer) {
    return [
      ["the answer is lost", lost({ ...state, answer: undefined })],
      ["the answer comes", take(state, answer, mutation)],
    ];
  }
  const scope = offers.findIndex((version) => version > 0);
  if (scope < 0) return [["the comparison ends", { ...state, phase: "ended" }]];
  const left = { ...state, offers: at(offers, scope, 0) };
  const merged = Math.max(state.coordinator[scope] as number, offers[scope] as number);
  return [
    [`the offer of ${scope} is lost`, { ...left, isDisturbed: true }],
    [`the offer of ${scope} comes`, { ...left, coordinator: at(state.coordinator, scope, merged) }],
  ];
}

function answerTo({ question, coordinator }: Descent, mutation?: DescentMutation): Versions {
  const [first, second] = coordinator.map((version, scope) =>
    version === question?.[scope] ? -1 : version,
  ) as [number, number];
  return mutation === "looks_at_one_bucket" && first >= 0 ? [first, -1] : [first, second];
}

function take(state: Descent, answer: Versions, mutation?: DescentMutation): Descent {
  const isTold = (scope: number): boolean => (answer[scope] as number) >= 0;
  const node = state.node.map((own, scope) => {
    const told = answer[scope] as number;
    if (!isTold(scope)) return own;
    return mutation === "takes_what_is_told" ? told : Math.max(own, told);
  }) as unknown as Versions;
  const offers = node.map((own, scope) => {
    const isOffered = isTold(scope) && own !== answer[scope] && mutation !== "offers_nothing";
    return isOffered ? own : 0;
  }) as unknown as Versions;
  const hasFallen = node.some((version, scope) => version < (state.node[scope] as number));
  return { ...state, answer: undefined, node, offers, hasFallen };
}

function lost(state: Descent): Descent {
  return { ...state, isDisturbed: true, phase: "ended" };
}

function at(versions: Versions, scope: number, version: number): Versions {
  const [first, second] = versions;
  return scope === 0 ? [version, second] : [first, version];
}
