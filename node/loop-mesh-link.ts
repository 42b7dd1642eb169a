import type { Cancel, Clock } from "../ports/clock.ts";
import type { Reason } from "../proto/reasons.ts";
import type { CutResult } from "./dataplane/teardown.ts";
import type { KilledBy } from "./decision/facts.ts";
import { type KeyAnswer, LoopKeyCache } from "./loop-key-cache.ts";
import type { LoopToMesh, MeshToLoop, RowGrant } from "./thread-messages.ts";
import type { ClosablePort } from "./thread-port.ts";

/** How long a request waits for the mesh thread to say whose key it carries. */
export const RESOLVE_TIMEOUT_MS = 1_000;
/** Keys that are asked for and not yet answered; more are refused at once. */
export const RESOLVES_PENDING_MAX = 1_024;
/** Times a key is asked for again because keys changed while its answer was under way. */
export const RESOLVES_AGAIN_MAX = 3;
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
  readonly cutScope: (by: KilledBy, scope: string) => Promise<CutResult>;
};

/** A data loop's link to the mesh thread. */
export type MeshLink = {
  /**
   * The row that serves a key, or why there is none: at once from the cache, else by asking.
   * Never rejects; `identity_unavailable` when no answer came in time or too many are waited for.
   *
   * @param keySha256 Hexadecimal SHA-256 of the whole key.
   * @param source Address that unknown keys are counted against.
   */
  resolveKey(keySha256: string, source: string): KeyAnswer | Promise<KeyAnswer>;
  /** Drops what is known of a key: its row turned out to be another's by now. */
  forget(keySha256: string): void;
  close(): void;
};

type Pending = {
  readonly keySha256: string;
  readonly source: string;
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
  #lastId = 0;

  constructor(options: MeshLinkOptions) {
    this.#options = options;
    options.port.on("message", (message: MeshToLoop) => this.#onMessage(message));
  }

  resolveKey(keySha256: string, source: string): KeyAnswer | Promise<KeyAnswer> {
    const generation = this.#options.keyGeneration();
    const known =
      this.#grants.find(keySha256, generation) ?? this.#refusals.find(keySha256, generation);
    if (known !== undefined) return known;
    const pending = this.#pendingByKey.get(keySha256);
    if (pending === undefined) return this.#ask(keySha256, source, generation);
    if (pending.source === source) return pending.answer;
    return pending.answer.then((answer) =>
      // That other source has used up its own look-ups; it says nothing about this one.
      answer === "lookups_exhausted" ? this.resolveKey(keySha256, source) : answer,
    );
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

  #ask(keySha256: string, source: string, generation: number): KeyAnswer | Promise<KeyAnswer> {
    if (this.#pendingByKey.size >= RESOLVES_PENDING_MAX) return "identity_unavailable";
    const { promise: answer, resolve } = Promise.withResolvers<KeyAnswer>();
    const cancelTimer = this.#options.clock.after(RESOLVE_TIMEOUT_MS, () =>
      this.#settle(pending, "identity_unavailable"),
    );
    const pending: Pending = {
      keySha256,
      source,
      answer,
      resolve,
      cancelTimer,
      id: 0,
      generation,
      asked: 0,
    };
    this.#pendingByKey.set(keySha256, pending);
    this.#post(pending);
    return answer;
  }

  #post(pending: Pending): void {
    const { keySha256, source } = pending;
    pending.id = ++this.#lastId;
    pending.asked++;
    this.#pendingById.set(pending.id, pending);
    this.#send({ t: "resolve", id: pending.id, keySha256, source });
  }

  #onMessage(message: MeshToLoop): void {
    if (message.t === "resolved") this.#onResolved(message);
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
    // A refusal does not say under which generation it was found: it is kept if none has passed.
    else if (LASTING.has(answer) && pending.generation === generation) {
      this.#refusals.put(pending.keySha256, answer, generation);
    }
  }

  #settle(pending: Pending, answer: KeyAnswer): void {
    pending.cancelTimer();
    this.#pendingByKey.delete(pending.keySha256);
    this.#pendingById.delete(pending.id);
    pending.resolve(answer);
  }

  async #onCut({ id, by, scope }: Extract<MeshToLoop, { t: "cut" }>): Promise<void> {
    const { count, lastClosedNs } = await this.#options.cutScope(by, scope);
    this.#send({ t: "cut_done", id, count, atNs: lastClosedNs });
  }

  #send(message: LoopToMesh): void {
    this.#options.port.postMessage(message);
  }
}
