import type { Model } from "./explore.ts";

// Two coordinators that may both believe they lead, one node that starts again, one chain of links in
// the stream, and three units to spend. Every answer may be lost or late, and each coordinator may
// sleep through the other's lead.
//
// I1. What the chain's leases charge never exceeds the limit.
// I2. What the node has spent never exceeds what the chain charges.
// I4. A grant that the node holds is in the chain.
//
// A coordinator reads the chain when it takes the lead, and grants from what it has read since; it can
// append only while the chain's end is the one that it knows. The node's deadline passes before a lease
// expires at a coordinator, whatever else happens; and an expired lease stays charged until its node
// says what it spent.

export const LIMIT = 3;
const SLICE = 2;
const LEASES_MAX = 2;
const BOOTS_MAX = 1;

/** Rules that can be left out, to see that they are needed. */
export type LeaseMutation =
  /** A coordinator appends whatever the chain's end is. */
  | "appends_unconditionally"
  /** The answer goes out before the link is in the chain. */
  | "answers_before_commit"
  /** An expired lease gives back what was never settled. */
  | "refunds_by_timeout"
  /** A node that starts again spends what an earlier boot was lent. */
  | "spends_earlier_boots";

type Lease = {
  readonly amount: number;
  readonly boot: number;
  /** What the chain knows was spent; final ends it. */
  readonly spent: number;
  readonly isFinal: boolean;
};

/** A coordinator: how many links it has read, and what it makes of them. */
type Coordinator = {
  readonly leads: boolean;
  readonly read: number;
  readonly leases: readonly Lease[];
};

/** What the node was told of a lease. */
type Held = { readonly amount: number; readonly boot: number; readonly spent: number };

export type LeaseState = {
  /** Links of the chain, and the leases that they come to. */
  readonly links: number;
  readonly chain: readonly Lease[];
  readonly coordinators: readonly [Coordinator, Coordinator];
  /** By lease: told, and not yet known to be over. */
  readonly held: readonly (Held | null)[];
  readonly boot: number;
  /** Spent at the provider, in all boots and leases. */
  readonly spent: number;
  /** An answer that is under way. */
  readonly answer: { readonly lease: number; readonly held: Held } | null;
  /** Leases whose deadline has passed on the node's clock. */
  readonly late: readonly boolean[];
};

type Step = readonly [step: string, state: LeaseState];

export function leaseProtocol(mutation?: LeaseMutation): Model<LeaseState> {
  const idle: Coordinator = { leads: false, read: 0, leases: [] };
  return {
    start: {
      links: 0,
      chain: [],
      coordinators: [idle, idle],
      held: Array.from({ length: LEASES_MAX }, () => null),
      boot: 0,
      spent: 0,
      answer: null,
      late: Array.from({ length: LEASES_MAX }, () => false),
    },
    next: (state) => [
      ...coordinatorSteps(state, 0, mutation),
      ...coordinatorSteps(state, 1, mutation),
      ...nodeSteps(state, mutation),
    ],
    wrong,
  };
}

function wrong({ chain, spent, held }: LeaseState): string | undefined {
  const charged = chargesOf(chain);
  if (charged > LIMIT) return `I1: ${charged} of ${LIMIT} are charged`;
  if (spent > charged) return `I2: ${spent} were spent and ${charged} are charged`;
  const isAhead = held.some((one, lease) => one !== null && chain[lease] === undefined);
  return isAhead ? "I4: the node holds a lease that is not in the chain" : undefined;
}

function chargesOf(leases: readonly Lease[]): number {
  return leases.reduce((sum, { isFinal, spent, amount }) => sum + (isFinal ? spent : amount), 0);
}

function coordinatorSteps(
  state: LeaseState,
  no: 0 | 1,
  mutation: LeaseMutation | undefined,
): readonly Step[] {
  const own = state.coordinators[no];
  const name = `coordinator ${no + 1}`;
  const taken = { leads: true, read: state.links, leases: state.chain };
  const steps: Step[] = [[`${name} takes the lead`, withCoordinator(state, no, taken)]];
  if (!own.leads) return steps;
  const grant = granted(state, own);
  if (grant) {
    const { lease, held } = grant;
    if (mutation === "answers_before_commit" && state.answer === null) {
      steps.push([`${name} answers`, { ...state, answer: { lease, held } }]);
    }
    const leases = [...own.leases, leaseOf(held)];
    const written = append(state, no, { leases, isAnyEnd: mutation === "appends_unconditionally" });
    steps.push([`${name} grants, and its answer is lost`, written.state]);
    if (written.isWritten && state.answer === null) {
      const answer = { lease: written.lease, held };
      steps.push([`${name} grants`, { ...written.state, answer }]);
    }
  }
  steps.push(...settleSteps(state, no, mutation));
  return steps;
}

/** What this coordinator would lend, by what it knows. */
function granted(state: LeaseState, own: Coordinator): { lease: number; held: Held } | undefined {
  const amount = Math.min(SLICE, LIMIT - chargesOf(own.leases));
  if (amount <= 0 || own.leases.length >= LEASES_MAX || state.chain.length >= LEASES_MAX) {
    return undefined;
  }
  return { lease: own.leases.length, held: { amount, boot: state.boot, spent: 0 } };
}

/** The compare-and-set: whoever does not know the chain's end writes nothing and leads no more. */
function append(
  state: LeaseState,
  no: 0 | 1,
  { leases, isAnyEnd = false }: { readonly leases: readonly Lease[]; readonly isAnyEnd?: boolean },
): { readonly state: LeaseState; readonly isWritten: boolean; readonly lease: number } {
  const own = state.coordinators[no];
  const isBehind = own.read !== state.links;
  if (isBehind && !isAnyEnd) {
    const after = withCoordinator(state, no, { leads: false, read: 0, leases: [] });
    return { state: after, isWritten: false, lease: -1 };
  }
  // Written behind links that it has not read, what it grants comes on top of what they did.
  const chain = isBehind ? [...state.chain, ...leases.slice(own.leases.length)] : leases;
  const links = state.links + 1;
  const after = withCoordinator(state, no, { ...own, read: links, leases });
  return { state: { ...after, links, chain }, isWritten: true, lease: chain.length - 1 };
}

/** The node's final word about a lease, or the passing of its time. */
function settleSteps(
  state: LeaseState,
  no: 0 | 1,
  mutation: LeaseMutation | undefined,
): readonly Step[] {
  const own = state.coordinators[no];
  return own.leases.flatMap((lease, i): readonly Step[] => {
    if (lease.isFinal) return [];
    const settle = (spent: number): LeaseState => {
      const leases = own.leases.with(i, { ...lease, spent, isFinal: true });
      return append(state, no, { leases }).state;
    };
    const steps: Step[] = [];
    const held = state.held[i];
    // Only what can no longer be spent from is said to be final.
    if (held && (state.late[i] || held.boot < state.boot)) {
      steps.push([`coordinator ${no + 1} hears what lease ${i + 1} spent`, settle(held.spent)]);
    }
    // Its node's clock may be behind: the coordinator's time for it may be over first.
    if (mutation === "refunds_by_timeout") {
      steps.push([`coordinator ${no + 1} takes lease ${i + 1} back`, settle(lease.spent)]);
    }
    return steps;
  });
}

function nodeSteps(state: LeaseState, mutation: LeaseMutation | undefined): readonly Step[] {
  const { answer, boot } = state;
  const steps: Step[] = [];
  if (answer) {
    const { lease, held } = answer;
    const lost = { ...state, answer: null };
    steps.push(["the answer is lost", lost]);
    // An answer to an earlier boot's question is for nobody; nor does one come twice.
    if (held.boot === boot && state.held[lease] === null) {
      steps.push(["the answer comes", { ...lost, held: state.held.with(lease, held) }]);
    }
  }
  if (boot < BOOTS_MAX) steps.push(["the node starts again", { ...state, boot: boot + 1 }]);
  for (const [i, held] of state.held.entries()) {
    if (!held) continue;
    if (!state.late[i]) {
      steps.push([`lease ${i + 1} is over`, { ...state, late: state.late.with(i, true) }]);
    }
    const isOwn = held.boot === boot || mutation === "spends_earlier_boots";
    if (state.late[i] || !isOwn || held.spent >= held.amount) continue;
    const after = state.held.with(i, { ...held, spent: held.spent + 1 });
    steps.push([
      `one of lease ${i + 1} is spent`,
      { ...state, held: after, spent: state.spent + 1 },
    ]);
  }
  return steps;
}

function leaseOf({ amount, boot }: Held): Lease {
  return { amount, boot, spent: 0, isFinal: false };
}

function withCoordinator(state: LeaseState, no: 0 | 1, own: Coordinator): LeaseState {
  const [first, second] = state.coordinators;
  return { ...state, coordinators: no === 0 ? [own, second] : [first, own] };
}
