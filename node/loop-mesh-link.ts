import type { Delegation } from "../authority/delegation.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Reason } from "../proto/reasons.ts";
import type { CutResult } from "./dataplane/teardown.ts";
import { type KeyAnswer, LoopKeyCache } from "./loop-key-cache.ts";
import type {
  CutScope,
  DelegationAnswer,
  Funding,
  LoopToMesh,
  MeshToLoop,
  RowGrant,
} from "./thread-messages.ts";
import type { ClosablePort } from "./thread-port.ts";

/** How long a request waits for the mesh thread to say whose key it carries. */
export const RESOLVE_TIMEOUT_MS = 1_000;
/** Keys that are asked for and not yet answered; more are refused at once. */
export const RESOLVES_PENDING_MAX = 1_024;
/** Times a key is asked for again because keys changed while its answer was under way. */
export const RESOLVES_AGAIN_MAX = 3;
/** How long a delegation may take: the coordinator writes to its disk before it answers. */
export const DELEGATE_TIMEOUT_MS = 5_000;
/** Delegations that are under way; more are refused at once. */
export const DELEGATIONS_PENDING_MAX = 256;
export const GRANTS_CACHED_MAX = 65_536;
/** Kept apart from grants, so that nobody can drive them out by guessing. */
export const REFUSED_KEYS_CACHED_MAX = 8_192;

/** Refusals that stay true until `key_generation` changes. */
const LASTING: ReadonlySet<Reason> = new Set<Reason>(["key_unknown", "key_revoked"]);

export type MeshLinkOptions = {
  readonly port: ClosablePort;
  readonly clock: Clock;
  /** Reads the table's cell. */
  readonly keyGeneration: () => number;
  /** Closes what a killed scope covers on this loop. */
  readonly cutScope: (of: CutScope) => Promise<CutResult>;
};

/** A data loop's link to the mesh thread. */
export type MeshLink = {
  /**
   * The row that serves a key, or why there is none: at once from the cache, else by asking.
   * Never rejects; `identity_unavailable` when no answer came in time or too many are waited for.
   *
   * @param keySha256 Hexadecimal SHA-256 of the whole key.
   * @param source Address that unknown keys are counted against.
   * @param isContract The key looks like one that a contract is born with.
   */
  resolveKey(
    keySha256: string,
    source: string,
    isContract?: boolean,
  ): KeyAnswer | Promise<KeyAnswer>;
  /** Delegates from the contract of that key, or funds what its holder delegated. Never rejects. */
  delegate(keySha256: string, delegation: Delegation | Funding): Promise<DelegationAnswer>;
  /** Drops what is known of a key: its row turned out to be another's by now. */
  forget(keySha256: string): void;
  close(): void;
};

type Pending = {
  readonly keySha256: string;
  readonly source: string;
  readonly isContract: boolean;
  readonly answer: Promise<KeyAnswer>;
  readonly resolve: (answer: KeyAnswer) => void;
  readonly cancelTimer: Cancel;
  /** Of the last message that asked; an answer to an earlier one is not waited for. */
  id: number;
  /** What `key_generation` was then. */
  generation: number;
  asked: number;
};

/** See `MeshLink`. */
export class MeshThreadLink implements MeshLink {
  readonly #options: MeshLinkOptions;
  readonly #grants = new LoopKeyCache({ entriesMax: GRANTS_CACHED_MAX });
  readonly #refusals = new LoopKeyCache({ entriesMax: REFUSED_KEYS_CACHED_MAX });
  readonly #pendingByKey = new Map<string, Pending>();
  readonly #pendingById = new Map<number, Pending>();
  readonly #delegating = new Map<number, (answer: DelegationAnswer) => void>();
  #lastId = 0;

  constructor(options: MeshLinkOptions) {
    this.#options = options;
    options.port.on("message", (message: MeshToLoop) => this.#onMessage(message));
  }

  resolveKey(
    keySha256: string,
    source: string,
    isContract = false,
  ): KeyAnswer | Promise<KeyAnswer> {
    const generation = this.#options.keyGeneration();
    const known =
      this.#grants.find(keySha256, generation) ?? this.#refusals.find(keySha256, generation);
    if (known !== undefined) return known;
    const pending = this.#pendingByKey.get(keySha256);
    if (pending === undefined) return this.#ask({ keySha256, source, isContract }, generation);
    if (pending.source === source) return pending.answer;
    return pending.answer.then((answer) =>
      // That other source has used up its own look-ups; it says nothing about this one.
      answer === "lookups_exhausted" ? this.resolveKey(keySha256, source, isContract) : answer,
    );
  }

  delegate(keySha256: string, delegation: Delegation | Funding): Promise<DelegationAnswer> {
    const unavailable = { refused: "contract_unavailable", detail: "no answer came" } as const;
    if (this.#delegating.size >= DELEGATIONS_PENDING_MAX) return Promise.resolve(unavailable);
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      const done = (answer: DelegationAnswer) => {
        cancel();
        this.#delegating.delete(id);
        resolve(answer);
      };
      const cancel = this.#options.clock.after(DELEGATE_TIMEOUT_MS, () => done(unavailable));
      this.#delegating.set(id, done);
      this.#send({ t: "delegate", id, keySha256, delegation });
    });
  }

  forget(keySha256: string): void {
    this.#grants.delete(keySha256);
    this.#refusals.delete(keySha256);
  }

  close(): void {
    for (const pending of this.#pendingById.values()) {
      pending.cancelTimer();
      pending.resolve("identity_unavailable");
    }
    this.#pendingById.clear();
    this.#pendingByKey.clear();
    this.#options.port.close();
  }

  #ask(
    of: Pick<Pending, "keySha256" | "source" | "isContract">,
    generation: number,
  ): KeyAnswer | Promise<KeyAnswer> {
    if (this.#pendingByKey.size >= RESOLVES_PENDING_MAX) return "identity_unavailable";
    const { promise: answer, resolve } = Promise.withResolvers<KeyAnswer>();
    const cancelTimer = this.#options.clock.after(RESOLVE_TIMEOUT_MS, () =>
      this.#settle(pending, "identity_unavailable"),
    );
    const pending: Pending = {
      ...of,
      answer,
      resolve,
      cancelTimer,
      id: 0,
      generation,
      asked: 0,
    };
    this.#pendingByKey.set(of.keySha256, pending);
    this.#post(pending);
    return answer;
  }

  #post(pending: Pending): void {
    const { keySha256, source, isContract } = pending;
    pending.id = ++this.#lastId;
    pending.asked++;
    this.#pendingById.set(pending.id, pending);
    this.#send({
      t: "resolve",
      id: pending.id,
      keySha256,
      source,
      ...(isContract && { isContract }),
    });
  }

  #onMessage(message: MeshToLoop): void {
    if (message.t === "resolved") this.#onResolved(message);
    else if (message.t === "delegated") this.#delegating.get(message.id)?.(message.answer);
    else if (message.t === "forget") this.forget(message.keySha256);
    else void this.#onCut(message);
  }

  #onResolved({ id, grant, refused }: Extract<MeshToLoop, { t: "resolved" }>): void {
    const pending = this.#pendingById.get(id);
    // Nobody waits any more: it was answered with `identity_unavailable`.
    if (pending === undefined) return;
    this.#pendingById.delete(id);
    const generation = this.#options.keyGeneration();
    if (grant !== undefined && grant.keyGeneration !== generation) {
      this.#askAgain(pending, generation);
      return;
    }
    const answer = grant ?? refused ?? "identity_unavailable";
    this.#keep(pending, answer, generation);
    this.#settle(pending, answer);
  }

  /** Keys changed since the answer was given: this key may have been removed meanwhile. */
  #askAgain(pending: Pending, generation: number): void {
    if (pending.asked > RESOLVES_AGAIN_MAX) {
      this.#settle(pending, "identity_unavailable");
      return;
    }
    pending.generation = generation;
    this.#post(pending);
  }

  #keep(pending: Pending, answer: RowGrant | Reason, generation: number): void {
    if (typeof answer !== "string") this.#grants.put(pending.keySha256, answer, generation);
    // A refusal does not say under which generation it was found: it is kept if none has passed. That
    // there is no such contract may change at any time, and nobody is told of it.
    else if (LASTING.has(answer) && !pending.isContract && pending.generation === generation) {
      this.#refusals.put(pending.keySha256, answer, generation);
    }
  }

  #settle(pending: Pending, answer: KeyAnswer): void {
    pending.cancelTimer();
    this.#pendingByKey.delete(pending.keySha256);
    this.#pendingById.delete(pending.id);
    pending.resolve(answer);
  }

  async #onCut({ id, ...of }: Extract<MeshToLoop, { t: "cut" }>): Promise<void> {
    const { count, lastClosedNs } = await this.#options.cutScope(of);
    this.#send({ t: "cut_done", id, count, atNs: lastClosedNs });
  }

  #send(message: LoopToMesh): void {
    this.#options.port.postMessage(message);
  }
}
