/** What is wrong with a state, and the steps that lead there from the start. */
export type Counterexample = { readonly wrong: string; readonly steps: readonly string[] };

export type Model<S> = {
  readonly start: S;
  /** Everything that may happen next, each with its name. */
  readonly next: (state: S) => readonly (readonly [step: string, state: S])[];
  /** The invariant that the state breaks; `undefined`: none. */
  readonly wrong: (state: S) => string | undefined;
};

/** Far more than any model here has: one that grows without end is a mistake in it. */
const STATES_MAX = 1_000_000;

/**
 * Visits every state that a model can reach, breadth first, so that a counterexample is a shortest one.
 *
 * @throws RangeError There are more than `STATES_MAX` of them.
 */
export function explore<S>(model: Model<S>): {
  readonly states: number;
  readonly found: Counterexample | undefined;
} {
  const seen = new Map<string, { readonly from: string; readonly step: string }>();
  const first = JSON.stringify(model.start);
  seen.set(first, { from: "", step: "" });
  const queue: S[] = [model.start];
  for (const state of queue) {
    const key = JSON.stringify(state);
    const wrong = model.wrong(state);
    if (wrong !== undefined) {
      return { states: seen.size, found: { wrong, steps: stepsTo(seen, key) } };
    }
    for (const [step, after] of model.next(state)) {
      const afterKey = JSON.stringify(after);
      if (seen.has(afterKey)) continue;
      if (seen.size >= STATES_MAX) throw new RangeError(`more than ${STATES_MAX} states`);
      seen.set(afterKey, { from: key, step });
      queue.push(after);
    }
  }
  return { states: seen.size, found: undefined };
}

function stepsTo(
  seen: ReadonlyMap<string, { readonly from: string; readonly step: string }>,
  end: string,
): readonly string[] {
  const steps: string[] = [];
  for (let at = seen.get(end); at && at.from !== ""; at = seen.get(at.from)) steps.unshift(at.step);
  return steps;
}
