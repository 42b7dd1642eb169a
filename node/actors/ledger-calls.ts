import type { CompiledPolicy } from "../../policy/compiled-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import { newLease } from "./account-book.ts";
import type { AgentMessage, Asking } from "./agent-state.ts";
import type { LadderChange } from "./ladder.ts";
import type { LeaseAnswer, LedgerPort } from "./ledger-port.ts";
import type { Seat } from "./seat.ts";

/** Time before a lease's deadline at which its money is taken out of the table, nanoseconds. */
export const DEADLINE_MARGIN_NS = 100_000_000n;
const NS_PER_MS = 1_000_000n;

export type LedgerCallsDeps = {
  readonly ledger: LedgerPort;
  readonly clock: Clock;
  readonly policy: () => CompiledPolicy | undefined;
  readonly onFault: (error: unknown) => void;
  readonly post: (seat: Seat, message: AgentMessage) => void;
};

/** What actors ask of the ledger. Every question ends in a message to the actor, whatever happens. */
export class LedgerCalls {
  readonly #deps: LedgerCallsDeps;

  constructor(deps: LedgerCallsDeps) {
    this.#deps = deps;
  }

  ask(seat: Seat, { need, want }: Asking): void {
    const { ledger, post } = this.#deps;
    this.#call(seat, async () => {
      const { answer, sentNs } = await this.#answer(seat, () =>
        ledger.lease(seat.account, need, want),
      );
      post(seat, leaseMessage(answer ?? "unavailable", sentNs, true));
    });
  }

  /** A lease that was granted and not heard of would stay charged until its window ends. */
  findLost(seat: Seat): void {
    const { ledger, post } = this.#deps;
    this.#call(seat, async () => {
      const { answer, sentNs } = await this.#answer(seat, () => ledger.again(seat.account));
      if (answer === undefined || typeof answer === "string") return;
      post(seat, leaseMessage(answer, sentNs, false));
    });
  }

  /** Tells the mesh of this node's own view, and takes its highest over where it is higher. */
  async standing(seat: Seat, { from, to, cause }: LadderChange): Promise<void> {
    const { ledger, policy, post, onFault } = this.#deps;
    // What the mesh said is not our own view; and below quarantine only the way down is news.
    if (cause === "mesh" || !(isGrave(to) || isGrave(from))) return;
    const agentId = seat.account.slice("agent/".length);
    const askKill = cause !== "decay" && policy()?.ladder.autoKill.has(cause) === true;
    try {
      const highest = await ledger.standing({ agentId, standing: to, cause, askKill });
      // A fall is not answered by climbing back, or two nodes would hold each other up for ever.
      const isClimb = cause !== "decay" && cause !== "operator";
      if (isClimb && highest) post(seat, { t: "mesh_standing", standing: highest });
    } catch (error) {
      onFault(error);
    }
  }

  /** Makes a call once the one before it has ended. */
  #call(seat: Seat, make: () => Promise<void>): void {
    const before = seat.calling;
    const call = (async () => {
      await before;
      await make();
    })().finally(() => {
      if (seat.calling === call) seat.calling = undefined;
    });
    seat.calling = call;
  }

  async #answer(
    seat: Seat,
    ask: () => Promise<LeaseAnswer | undefined>,
  ): Promise<{ readonly answer: LeaseAnswer | undefined; readonly sentNs: bigint }> {
    const sentNs = this.#deps.clock.monoNs();
    let answer: LeaseAnswer | undefined;
    try {
      answer = await ask();
    } catch (error) {
      this.#deps.onFault(error);
      answer = "unavailable";
    }
    seat.unanswered = answer === "unavailable";
    return { answer, sentNs };
  }
}

function leaseMessage(answer: LeaseAnswer, sentNs: bigint, answers: boolean): AgentMessage {
  if (typeof answer === "string") return { t: "not_leased", outcome: answer };
  const deadlineNs = sentNs + BigInt(answer.ttlMs) * NS_PER_MS - DEADLINE_MARGIN_NS;
  const { leaseId: id, epoch, amount, unlimited } = answer;
  return { t: "leased", lease: newLease({ id, epoch, amount, deadlineNs }), unlimited, answers };
}

function isGrave(standing: LadderChange["to"]): boolean {
  return standing === "quarantine" || standing === "block";
}
