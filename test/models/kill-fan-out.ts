import type { Model } from "./explore.ts";

// Two coordinators, one node, one kill. Everything may be lost or late, and the second coordinator cut
// off, for as long as it likes.
//
// K7. Once a kill is committed, 2T later the node has it or is closed.
//
// Time goes in ticks, of which T has two. A coordinator that hears the stream learns at once what it
// holds; one that is cut off does not, goes on sending digests, and says how long it has heard nothing.

export const DEAD_MAN_TICKS = 2;
const BOUND_TICKS = 2 * DEAD_MAN_TICKS;

/** Rules of a node that can be left out, to see that they are needed. */
export type Mutation = "ignores_quorum" | "ignores_age" | "ignores_state";

type Digest = { readonly killed: boolean; readonly age: number; readonly quorumAge: number };

type Replica = {
  readonly killed: boolean;
  readonly isCut: boolean;
  /** Ticks since it heard the stream; counted to just beyond T. */
  readonly quorumAge: number;
  /** Its last digest, while that is under way. */
  readonly digest: Digest | undefined;
};

export type FanOut = {
  /** Ticks since the kill was committed, counted to just beyond the bound; -1 before. */
  readonly since: number;
  readonly replicas: readonly [Replica, Replica];
  readonly node: { readonly killed: boolean; readonly openTicks: number };
};

type Step = readonly [step: string, state: FanOut];

export function killFanOut(mutation?: Mutation): Model<FanOut> {
  const replica: Replica = { killed: false, isCut: false, quorumAge: 0, digest: undefined };
  return {
    start: {
      since: -1,
      replicas: [replica, replica],
      node: { killed: false, openTicks: 0 },
    },
    // A kill is never forgotten here, so nothing can go wrong behind a node that has it.
    next: (state) => (state.node.killed ? [] : stepsFrom(state, mutation)),
    wrong: ({ since, node }) =>
      since > BOUND_TICKS && !node.killed && node.openTicks > 0
        ? "K7: the node is open without a kill that was committed more than 2T ago"
        : undefined,
  };
}

function stepsFrom(state: FanOut, mutation: Mutation | undefined): readonly Step[] {
  return [
    ...commit(state),
    ["time passes", tick(state)],
    ...stepsOf(state, 0, mutation),
    ...stepsOf(state, 1, mutation),
  ];
}

/** The committed copy may reach the node, or be lost. */
function commit(state: FanOut): readonly Step[] {
  const [first, second] = state.replicas;
  if (state.since >= 0) return [];
  const after = { ...state, since: 0, replicas: [{ ...first, killed: true }, second] as const };
  return [
    ["the kill is committed and heard by nobody", after],
    ["the kill is committed and heard", { ...after, node: { ...state.node, killed: true } }],
  ];
}

function tick({ since, replicas, node }: FanOut): FanOut {
  const older = (replica: Replica): Replica => ({
    ...replica,
    killed: replica.killed || (!replica.isCut && since >= 0),
    // One that is joined hears the stream all the time; one that is slow to is as good as cut off.
    quorumAge: replica.isCut ? Math.min(replica.quorumAge + 1, DEAD_MAN_TICKS + 1) : 0,
    digest: replica.digest && {
      ...replica.digest,
      age: Math.min(replica.digest.age + 1, DEAD_MAN_TICKS + 1),
    },
  });
  return {
    since: since < 0 ? since : Math.min(since + 1, BOUND_TICKS + 1),
    replicas: [older(replicas[0]), older(replicas[1])],
    node: { ...node, openTicks: Math.max(0, node.openTicks - 1) },
  };
}

function stepsOf(state: FanOut, no: 0 | 1, mutation: Mutation | undefined): readonly Step[] {
  const replica = state.replicas[no];
  const { killed, isCut, quorumAge, digest } = replica;
  const name = `coordinator ${no + 1}`;
  const becomes = (change: Partial<Replica>): FanOut => {
    const [first, second] = state.replicas;
    const changed = { ...replica, ...change };
    return { ...state, replicas: no === 0 ? [changed, second] : [first, changed] };
  };
  const sent = { killed, quorumAge, age: 0 };
  const steps: Step[] = [[`${name} sends a digest`, becomes({ digest: sent })]];
  if (no === 1) {
    steps.push([`${name} is ${isCut ? "joined again" : "cut off"}`, becomes({ isCut: !isCut })]);
  }
  if (!isCut) {
    const heard = { killed: killed || state.since >= 0, quorumAge: 0 };
    steps.push([`${name} hears the stream`, becomes(heard)]);
  }
  if (digest) {
    const left = becomes({ digest: undefined });
    steps.push([`${name}'s digest comes`, { ...left, node: judge(state.node, digest, mutation) }]);
    // The node reads what the digest says that it lacks; that may fail for as long as it likes.
    const repaired = { ...state.node, killed: state.node.killed || digest.killed };
    const node = judge(repaired, digest, mutation);
    steps.push([`${name}'s digest comes, and the node repairs`, { ...left, node }]);
  }
  return steps;
}

/** What a digest does to the node. */
function judge(node: FanOut["node"], digest: Digest, mutation?: Mutation): FanOut["node"] {
  const isYoung = digest.age <= DEAD_MAN_TICKS / 2 || mutation === "ignores_age";
  const hasQuorum = digest.quorumAge <= DEAD_MAN_TICKS || mutation === "ignores_quorum";
  const isEqual = digest.killed === node.killed || mutation === "ignores_state";
  if (!isYoung || !hasQuorum || !isEqual) return node;
  const age = mutation === "ignores_age" ? 0 : digest.age;
  return { ...node, openTicks: Math.max(node.openTicks, DEAD_MAN_TICKS - age) };
}
