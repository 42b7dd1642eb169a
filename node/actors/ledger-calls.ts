import type { CompiledPolicy } from "../../policy/compiled-policy.ts";
import type { Clock } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";
import { newLease } from "./account-book.ts";
import type { AgentMessage, Asking } from "./agent-state.ts";
import { totalScore } from "./cause-scores.ts";
import type { LeaseAnswer, LedgerPort } from "./ledger-port.ts";
import type { Seat } from "./seat.ts";
import type { SettlementOutbox } from "./settlement-outbox.ts";

/** Time before a lease's deadline at which its money is taken out of the table, nanoseconds. */
export const DEADLINE_MARGIN_NS = 100_000_000n;
const NS_PER_MS = 1_000_000n;
/** Least time between questions for an account whose requests the ledger refuses, nanoseconds. */
const POLL_AFTER_REFUSAL_NS = 5_000_000_000n;

/** How long a no waits for what this node is giving back; requests wait little longer than that. */
const OWED_WAIT_MS = 100;
/** Questions for one need whose leases ended with their window before anybody could use them. */
const ENDED_ASKS_MAX = 3;
const NO_ANSWER: LeaseAnswer = { outcome: "unavailable" };

export type LedgerCallsDeps = {
  readonly ledger: LedgerPort;
  readonly outbox: Pick<SettlementOutbox, "returned" | "sending">;
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
    const { ledger, outbox, post } = this.#deps;
    this.#call(seat, async () => {
      const ask = async () => {
        const { returned } = outbox;
        const asked = await this.#answer(seat, () => ledger.lease(seat.account, need, want));
        return { ...asked, returned };
      };
      let asked = await ask();
      for (let asks = 1; asks < ENDED_ASKS_MAX && this.#hasEnded(asked); asks++) {
        await this.#passEnd(seat, asked);
        asked = await ask();
      }
      // Money that this node gives back may make it fit: the ledger has it once that has arrived.
      if (asked.answer?.outcome === "exhausted" && outbox.sending !== undefined) {
        await this.#atMost(OWED_WAIT_MS, outbox.sending);
        asked = await ask();
      }
      const { answer, sentNs } = asked;
      post(seat, leaseMessage(answer ?? NO_ANSWER, asked, true));
      // A no says nothing of how much was spent, and that may be all there was.
      const isLate = sentNs - seat.polledNs >= POLL_AFTER_REFUSAL_NS;
      if (answer?.outcome === "exhausted" && isLate) seat.pollTicks = Math.max(seat.pollTicks, 1);
    });
  }

  /** A lease that was granted and not heard of would stay charged until its window ends. */
  findLost(seat: Seat): void {
    const { ledger, outbox, post } = this.#deps;
    this.#call(seat, async () => {
      const { returned } = outbox;
      const { answer, sentNs } = await this.#answer(seat, () => ledger.again(seat.account));
      if (answer?.outcome !== "granted") return;
      post(seat, leaseMessage(answer, { sentNs, returned }, false));
    });
  }

  /**
   * Tells the mesh where the agent's own offences put it, and asks for its kill where one is due. What
   * the mesh knows of it comes back as news.
   */
  async report(seat: Seat): Promise<void> {
    if (!seat.account.startsWith("agent/")) return;
    const { ledger, policy, clock, post, onFault } = this.#deps;
    const { level, standing, cause, killFor, scores } = seat.state.ladder;
    const ladder = policy()?.ladder;
    seat.polledNs = clock.monoNs();
    const isHeard = await ledger
      .standing({
        agentId: seat.account.slice("agent/".length),
        standing: level,
        standsAt: standing,
        cause: killFor ?? cause,
        scoreMilli: ladder === undefined ? 0 : totalScore(scores, ladder, clock.nowMs()),
        askKill: killFor !== undefined,
      })
      .catch(onFault);
    if (isHeard && killFor !== undefined) post(seat, { t: "kill_heard" });
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

  /** Granted so shortly before its window ends that nothing of it may be lent any more. */
  #hasEnded({ answer, sentNs }: Asked): boolean {
    if (answer?.outcome !== "granted") return false;
    return this.#deps.clock.monoNs() >= deadlineNs(answer, sentNs);
  }

  /**
   * Gives back a lease that ended before it came, and waits until the next window has begun: asking
   * before would bring another of that kind, and a no for want of a few more milliseconds would be
   * no word about anybody's money. The grant lies behind by the time it is heard of, so its window has
   * ended once the lease's whole time has passed from here on.
   */
  async #passEnd(seat: Seat, asked: Asked & { readonly returned: number }): Promise<void> {
    const { answer } = asked;
    if (answer?.outcome !== "granted") return;
    this.#deps.post(seat, leaseMessage(answer, asked, false));
    await pause(this.#deps.clock, answer.ttlMs + 1);
  }

  #atMost(ms: number, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#deps.clock.after(ms, resolve);
      void work.finally(() => {
        cancel();
        resolve();
      });
    });
  }

  async #answer(seat: Seat, ask: () => Promise<LeaseAnswer | undefined>): Promise<Asked> {
    const sentNs = this.#deps.clock.monoNs();
    let answer: LeaseAnswer | undefined;
    try {
      answer = await ask();
    } catch (error) {
      this.#deps.onFault(error);
      answer = NO_ANSWER;
    }
    seat.unanswered = answer?.outcome === "unavailable";
    return { answer, sentNs };
  }
}

type Asked = { readonly answer: LeaseAnswer | undefined; readonly sentNs: bigint };
type Granted = Extract<LeaseAnswer, { readonly outcome: "granted" }>;

/** Nothing of the lease is lent from here on; monotonic nanoseconds. */
function deadlineNs({ ttlMs }: Granted, sentNs: bigint): bigint {
  return sentNs + BigInt(ttlMs) * NS_PER_MS - DEADLINE_MARGIN_NS;
}

function leaseMessage(
  answer: LeaseAnswer,
  { sentNs, returned }: { readonly sentNs: bigint; readonly returned: number },
  answers: boolean,
): AgentMessage {
  if (answer.outcome !== "granted") return { t: "not_leased", answer, returned };
  const { leaseId: id, epoch, amount, unlimited } = answer;
  const lease = newLease({ id, epoch, amount, deadlineNs: deadlineNs(answer, sentNs) });
  return { t: "leased", lease, unlimited, answers };
}
