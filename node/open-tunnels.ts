import { setImmediate as nextTurn } from "node:timers/promises";
import type { Reason } from "../proto/reasons.ts";
import { decide } from "./decision/decide.ts";
import type { Missing } from "./decision/facts.ts";
import { type Asked, type Asker, factsNow } from "./gather.ts";
import type { AskedTunnel } from "./gather-tunnel.ts";
import type { LoopContext } from "./loop-context.ts";
import { keyGeneration, policyVersion } from "./table/table.ts";

/** How often a loop looks whether the policy or any key has changed. */
export const JUDGE_LOOK_MS = 250;
/** Hours and the validity of keys pass without any change: everything is judged again this often. */
export const JUDGE_ALL_EVERY_MS = 15_000;
/** Tunnels that are judged in one turn. */
const JUDGED_PER_TURN = 50;
/** Rate and budget were asked when it was opened; they say nothing about going on. */
const LAST_STAGE = 12;
/** Answers about a key that say nothing about the key. */
const UNANSWERED: ReadonlySet<Reason> = new Set<Reason>([
  "contract_unavailable",
  "identity_unavailable",
  "lookups_exhausted",
  "table_full",
]);

/** Something that is passed on unread, and how it is ended. */
type Open = {
  readonly asked: Asked<Asker> & Pick<AskedTunnel, "keyHandle" | "isContract">;
  readonly close: (reason: Reason) => void;
};

/**
 * The tunnels of one loop that are open, with what else is passed on unread, and what would be said if
 * they were asked for now.
 *
 * A tunnel lives on under the decision that opened it. Whatever that decision rested on may change:
 * the policy, the agent's standing, its key, the hour. Then it is put to the chain again, and closed with the
 * reason of whoever objects.
 */
export class OpenTunnels {
  readonly #open = new Set<Open>();

  get count(): number {
    return this.#open.size;
  }

  /** Keeps the tunnel judged for as long as `work` goes on. */
  async during<T>(open: Open, work: () => Promise<T>): Promise<T> {
    this.#open.add(open);
    try {
      return await work();
    } finally {
      this.#open.delete(open);
    }
  }

  /** Judges all of them again. Resolves when the last one was judged. */
  async judge(loop: LoopContext): Promise<void> {
    let inTurn = 0;
    for (const open of [...this.#open]) {
      if (++inTurn % JUDGED_PER_TURN === 0) await nextTurn();
      if (this.#open.has(open)) await judgeOne(open, loop);
    }
  }

  /** Judges again whenever something has changed, and now and then in any case. */
  watch(loop: LoopContext): void {
    let seen = { policy: policyVersion(loop.table), keys: keyGeneration(loop.table) };
    let dueNs = 0n;
    const look = async (): Promise<void> => {
      const now = { policy: policyVersion(loop.table), keys: keyGeneration(loop.table) };
      const nowNs = loop.clock.monoNs();
      const isDue = nowNs >= dueNs || now.policy !== seen.policy || now.keys !== seen.keys;
      if (isDue) {
        seen = now;
        dueNs = nowNs + BigInt(JUDGE_ALL_EVERY_MS) * 1_000_000n;
        await this.judge(loop);
      }
      loop.clock.after(JUDGE_LOOK_MS, () => void look());
    };
    loop.clock.after(JUDGE_LOOK_MS, () => void look());
  }
}

async function judgeOne({ asked, close }: Open, loop: LoopContext): Promise<void> {
  await identifyAgain(asked, loop);
  const { refusal } = decide(factsNow(asked, loop, "full"));
  // An orderly end lets what runs go on for its time.
  if (refusal === undefined || refusal.stage > LAST_STAGE || refusal.reason === "draining") return;
  close(refusal.reason);
}

/** A key that changed since may have been removed, or be another agent's. */
async function identifyAgain(asked: Open["asked"], loop: LoopContext): Promise<void> {
  const { row, keyHandle, isContract, exchange } = asked;
  if (row === undefined || keyHandle === undefined) return;
  if (row.keyGeneration === keyGeneration(loop.table)) return;
  const answer = await loop.meshLink.resolveKey(keyHandle, exchange.head.peer, isContract);
  const gone: Missing = { missing: "key_revoked" };
  if (typeof answer === "string") {
    if (!UNANSWERED.has(answer)) asked.identity = gone;
  } else if (answer.agentId !== row.agentId || answer.contractId !== row.contractId) {
    asked.identity = gone;
  } else {
    const { agentId, keyId, contractId } = answer;
    asked.identity = { agentId, keyId, contractId };
  }
}
