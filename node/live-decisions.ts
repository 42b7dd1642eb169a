import { setImmediate as nextTurn } from "node:timers/promises";
import type { Reason } from "../proto/reasons.ts";
import { decide } from "./decision/decide.ts";
import { type Facts, isMissing, type Missing } from "./decision/facts.ts";
import { type Asked, type Asker, factsNow } from "./gather.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";
import type { LoopContext } from "./loop-context.ts";
import { OpenList } from "./open-list.ts";
import { keyGeneration, policyVersion } from "./table/table.ts";

/** How often a loop looks whether the policy or any key has changed. */
export const JUDGE_LOOK_MS = 250;
/** Hours and the validity of keys pass without any change: everything is judged again this often. */
export const JUDGE_ALL_EVERY_MS = 15_000;
/** What is judged in one turn. */
const JUDGED_PER_TURN = 50;
/** Rate and budget were asked when it was allowed; they say nothing about going on. */
const LAST_STAGE = 12;
/** Answers about a key that say nothing about the key. */
const UNANSWERED: ReadonlySet<Reason> = new Set<Reason>([
  "contract_unavailable",
  "identity_unavailable",
  "lookups_exhausted",
  "table_full",
]);

/** Something that was allowed and goes on, and how it is ended. */
export type LiveDecision = {
  readonly asked: Asked<Asker> & Pick<AskedTunnel, "keyHandle" | "isContract">;
  readonly close: (reason: Reason) => void;
  /**
   * Where a request to a provider went. Such a request ends within what it holds whatever its agent's
   * standing comes to: what a level of the ladder ends is cut when it is reached.
   */
  readonly origin?: string;
};

/** A decision, and what it rested on when it was last looked at. `isOver`: nothing lives on it. */
type Judged = { readonly live: LiveDecision; policy: number; keys: number; isOver: boolean };

/**
 * The decisions of one loop that something still lives on: tunnels, plain HTTP that is passed on unread,
 * answers of providers; and what would be said if they were asked for now.
 *
 * Whatever such a decision rested on may change: the policy, the key, the contract, the hour. Then
 * it is put to the chain again, and what lives on it is closed with the reason of whoever objects.
 *
 * L1. Each is compared with what it was decided under itself, so a change that came between its
 *     decision and its entry here is seen at the next look.
 */
export class LiveDecisions {
  readonly #live = new OpenList<Judged>();

  get count(): number {
    return this.#live.size;
  }

  /**
   * Keeps the decision judged for as long as `work` goes on.
   *
   * @param facts What it was decided by.
   */
  async during<T>(
    live: LiveDecision,
    facts: Pick<Facts, "policy">,
    work: () => Promise<T>,
  ): Promise<T> {
    const end = this.begin(live, facts);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /**
   * Keeps the decision judged until what it returns is called.
   *
   * @param keys Generation of keys that it was decided under.
   */
  begin(
    live: LiveDecision,
    facts: Pick<Facts, "policy">,
    keys: number = live.asked.row?.keyGeneration ?? 0,
  ): () => void {
    const judged = { live, policy: facts.policy?.version ?? 0, keys, isOver: false };
    const link = this.#live.add(judged);
    return () => {
      this.#live.remove(link);
      judged.isOver = true;
    };
  }

  /** Judges all of them again. Resolves when the last one was judged. */
  judge(loop: LoopContext): Promise<void> {
    return this.#judge([...this.#live], loop);
  }

  /** Judges again what has changed under it, and everything now and then in any case. */
  watch(loop: LoopContext): void {
    let dueNs = 0n;
    const look = async (): Promise<void> => {
      const nowNs = loop.clock.monoNs();
      if (nowNs >= dueNs) {
        dueNs = nowNs + BigInt(JUDGE_ALL_EVERY_MS) * 1_000_000n;
        await this.judge(loop);
      } else {
        await this.#judge(this.#outdated(loop), loop);
      }
      loop.clock.after(JUDGE_LOOK_MS, () => void look());
    };
    loop.clock.after(JUDGE_LOOK_MS, () => void look());
  }

  #outdated({ table }: LoopContext): Judged[] {
    const policy = policyVersion(table);
    const keys = keyGeneration(table);
    const outdated: Judged[] = [];
    for (const judged of this.#live) {
      if (judged.policy !== policy || judged.keys !== keys) outdated.push(judged);
    }
    return outdated;
  }

  async #judge(all: readonly Judged[], loop: LoopContext): Promise<void> {
    let inTurn = 0;
    for (const judged of all) {
      if (++inTurn % JUDGED_PER_TURN === 0) await nextTurn();
      if (judged.isOver) continue;
      const { live } = judged;
      // Before anything is looked at: what changes meanwhile is then seen at the next look.
      const policy = policyVersion(loop.table);
      const keys = keyGeneration(loop.table);
      const isAnswered = await identifyAgain(live, loop);
      judged.policy = policy;
      if (isAnswered) judged.keys = keys;
      const objection = judged.isOver ? undefined : objectionTo(live, loop);
      if (objection !== undefined) live.close(objection);
    }
  }
}

/** What is said now against what was allowed then. */
function objectionTo({ asked, origin }: LiveDecision, loop: LoopContext): Reason | undefined {
  const now = factsNow(asked, loop, "full");
  const facts: Facts = origin === undefined ? now : { ...now, standing: "normal" };
  const { refusal } = decide(facts);
  if (refusal !== undefined && endsWhatRuns(refusal)) return refusal.reason;
  const { model } = facts;
  if (origin === undefined || model === undefined || isMissing(model)) return undefined;
  // Policy has the model's provider elsewhere by now: nobody says that it may go on where it went.
  return model.provider.origin === origin ? undefined : "policy_changed";
}

/** An orderly end lets what runs go on for its time. */
function endsWhatRuns({ stage, reason }: { readonly stage: number; readonly reason: Reason }) {
  return stage <= LAST_STAGE && reason !== "draining";
}

/** A key that changed since may have been removed, or be another agent's. False: nobody could say. */
async function identifyAgain({ asked }: LiveDecision, loop: LoopContext): Promise<boolean> {
  const { row, keyHandle, isContract, exchange } = asked;
  if (row === undefined || keyHandle === undefined) return true;
  if (row.keyGeneration === keyGeneration(loop.table)) return true;
  const answer = await loop.meshLink.resolveKey(keyHandle, exchange.head.peer, isContract);
  const gone: Missing = { missing: "key_revoked" };
  if (typeof answer === "string") {
    if (UNANSWERED.has(answer)) return false;
    asked.identity = gone;
  } else if (answer.agentId !== row.agentId || answer.contractId !== row.contractId) {
    asked.identity = gone;
  } else {
    const { agentId, keyId, contractId } = answer;
    asked.identity = { agentId, keyId, contractId };
  }
  return true;
}
