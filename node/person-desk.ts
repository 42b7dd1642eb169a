import { RpcError, type RpcErrorFields } from "../adapters/grpc-error.ts";
import type { AuditRecord } from "../audit/record.ts";
import { type OrderRefusal, openRedactOrder, type SignedOrder } from "../mesh/redact-order.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Keys } from "../ports/keys.ts";
import type { ErasedBy, PersonKeys } from "./audit/person-keys.ts";
import type { ErasedPerson } from "./audit/person-slot.ts";
import type { LoopLink } from "./loop-link.ts";
import type { Pseudonym } from "./thread-messages.ts";

/** How often old keys are looked for, and erasures that the log may not have, ms. */
const TURN_EVERY_MS = 60_000;

export type PersonDeskDeps = {
  readonly mesh: string;
  readonly node: string;
  readonly keys: PersonKeys;
  readonly loops: readonly LoopLink[];
  readonly clock: Clock;
  readonly verify: Keys["verify"];
  /** Raw public key of an operator, if it counts now. */
  readonly operatorKey: (kid: string) => Promise<Uint8Array | undefined>;
  readonly append: (record: AuditRecord) => void;
  /** Whether what was appended last is in the log, or on its way. */
  readonly isWritable: () => boolean;
  readonly onFault: (error: unknown) => void;
};

/** The control thread's part in recording persons: it makes their keys, and erases them. */
export class PersonDesk {
  readonly #deps: PersonDeskDeps;
  /** Pseudonyms whose erasure this run has appended, with when that was, ms since the Unix epoch. */
  readonly #appended = new Map<string, number>();
  #cancel: Cancel = () => undefined;

  constructor(deps: PersonDeskDeps) {
    this.#deps = deps;
    for (const loop of deps.loops) {
      loop.onMessage((message) => {
        if (message.t !== "person") return;
        const pseudonym = this.#pseudonymOf(message.person);
        loop.post({ t: "pseudonym", id: message.id, ...(pseudonym && { pseudonym }) });
      });
    }
  }

  start(): void {
    this.#turn();
  }

  stop(): void {
    this.#cancel();
    this.#deps.keys.close();
  }

  /**
   * Erases a person's keys by an operator's signed order.
   *
   * @returns What stood for the person under keys that were there until now.
   * @throws RpcError The order does not count; or the keys are erased, and the log cannot say so yet; or
   *   some are kept, because they were made after it. Or what the disk reports: nothing is certain then.
   */
  async redact(signed: SignedOrder): Promise<readonly string[]> {
    const { mesh, clock, verify, keys } = this.#deps;
    const key = await this.#deps.operatorKey(signed.kid);
    const nowMs = clock.nowMs();
    const context = { mesh, verify, nowMs, operatorKey: () => key };
    const opened = openRedactOrder(signed, context);
    if ("refused" in opened) throw refusalOf(opened.refused);
    const { person, reason, issuedAtMs } = opened.order;
    // An order that was kept and is brought again does not concern what was made after it.
    const by = { by: signed.kid, reason, nowMs };
    const erased = this.#erase(person, Number(issuedAtMs), by);
    if (!this.#append(erased)) {
      throw new RpcError({
        code: "UNAVAILABLE",
        reason: "audit_unavailable",
        message: "The keys are erased; the log will say so as soon as it can be written.",
      });
    }
    if (keys.hasKeyOf(person)) throw KEYS_LEFT;
    return erased.map(({ pseudonym }) => pseudonym);
  }

  /** Loops hear of one that failed as well: what it left of the keys is not to be used any more. */
  #erase(person: string, madeByMs: number, by: ErasedBy): readonly ErasedPerson[] {
    try {
      return this.#deps.keys.erase(person, madeByMs, by);
    } finally {
      this.#tellLoops();
    }
  }

  #pseudonymOf(person: string): Pseudonym | undefined {
    const { keys, clock, onFault } = this.#deps;
    try {
      const kept = keys.pseudonymFor(person, clock.nowMs());
      if (kept !== "full") return { text: kept.pseudonym, untilMs: kept.untilMs };
      onFault(new Error("ALTRACE_AUDIT_PERSONS_MAX keys are kept: there is no room for another"));
    } catch (error) {
      onFault(error);
    }
    return undefined;
  }

  #turn(): void {
    const { keys, clock, isWritable, onFault } = this.#deps;
    this.#cancel = clock.after(TURN_EVERY_MS, () => this.#turn());
    try {
      // Appended a turn ago, and the log has taken everything since: it is on the disk.
      const before = clock.nowMs() - TURN_EVERY_MS;
      const waiting = keys.untold();
      const areThere = waiting.filter(({ pseudonym }) => {
        const atMs = this.#appended.get(pseudonym);
        return atMs !== undefined && atMs <= before;
      });
      if (isWritable()) keys.told(areThere.map(({ pseudonym }) => pseudonym));
      for (const { pseudonym } of areThere) this.#appended.delete(pseudonym);
      if (keys.eraseOld(clock.nowMs()).length > 0) this.#tellLoops();
      this.#append(keys.untold());
    } catch (error) {
      onFault(error);
    }
  }

  /** @returns False where the log may not have taken one. */
  #append(erased: readonly ErasedPerson[]): boolean {
    const { append, isWritable, clock, node } = this.#deps;
    for (const { pseudonym: kid, by, reason: rc } of erased) {
      if (this.#appended.has(kid)) continue;
      append({ v: 1, k: "redact", t: clock.nowMs(), node, kid, by, rc });
      if (!isWritable()) return false;
      this.#appended.set(kid, clock.nowMs());
    }
    return true;
  }

  #tellLoops(): void {
    for (const loop of this.#deps.loops) loop.post({ t: "persons_erased" });
  }
}

/** Nobody may take a person for erased who is not: whoever signs may have a clock that is behind. */
const KEYS_LEFT = new RpcError({
  code: "FAILED_PRECONDITION",
  reason: "keys_made_later",
  message:
    "Keys of this person that were made after the order was signed are kept: sign another one.",
});

function refusalOf(refused: OrderRefusal): RpcError {
  const { code, message } = REFUSALS[refused];
  return new RpcError({ code, reason: refused, message });
}

const REFUSALS: { readonly [K in OrderRefusal]: Pick<RpcErrorFields, "code" | "message"> } = {
  order_malformed: { code: "INVALID_ARGUMENT", message: "The order cannot be read." },
  key_unknown: { code: "PERMISSION_DENIED", message: "No operator of this mesh has that key." },
  signature_invalid: { code: "PERMISSION_DENIED", message: "The order is not what was signed." },
  mesh_mismatch: { code: "PERMISSION_DENIED", message: "The order is for another mesh." },
  order_expired: {
    code: "FAILED_PRECONDITION",
    message: "The order was signed too long ago, or a clock is wrong: sign another one.",
  },
};
