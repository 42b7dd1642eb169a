import type { AuditRecord } from "../audit/record.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { CarriedOrders } from "./audit/carried-orders.ts";
import type { PersonKeys } from "./audit/person-keys.ts";
import type { ErasedPerson } from "./audit/person-slot.ts";
import type { LoopLink } from "./loop-link.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import type { Pseudonym, Redaction } from "./person-messages.ts";

/** How often old keys are looked for, and orders and erasures that the disk or the log did not take, ms. */
const TURN_EVERY_MS = 60_000;

export type PersonDeskDeps = {
  readonly node: string;
  readonly keys: PersonKeys;
  readonly carried: Pick<CarriedOrders, "has" | "add" | "close">;
  readonly mesh: Pick<MeshThreadLink, "onMessage" | "post">;
  readonly loops: readonly LoopLink[];
  readonly clock: Clock;
  readonly append: (record: AuditRecord) => void;
  /** Whether what was appended last is in the log, or on its way. */
  readonly isWritable: () => boolean;
  readonly onFault: (error: unknown) => void;
};

/**
 * The control thread's part in recording persons: it makes their keys, and erases them.
 *
 * Every order that the mesh has comes here, at each start again: what a backup brought back goes again.
 */
export class PersonDesk {
  readonly #deps: PersonDeskDeps;
  /** Pseudonyms whose erasure this run has appended, with when that was, ms since the Unix epoch. */
  readonly #appended = new Map<string, number>();
  /** Orders of which the mesh has not heard that they are done, with how many keys each has erased: none until it has. */
  readonly #orders = new Map<string, { readonly order: Redaction; erased: number | undefined }>();
  #cancel: Cancel = () => undefined;

  constructor(deps: PersonDeskDeps) {
    this.#deps = deps;
    deps.mesh.onMessage((message) => {
      if (message.t !== "redaction") return;
      this.#orders.set(message.scope, { order: message, erased: undefined });
      this.#guarded(() => this.#carryOut());
    });
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
    this.#deps.carried.close();
  }

  /**
   * What is not done is tried again: the mesh hears of an order once its keys are gone and the log says so.
   *
   * An order that is new to this home takes all keys: they were made before it was known here, whatever clock they were made
   * by. Once it was carried out it takes what was made by its time, as a backup may bring that back, and who came
   * back since stays.
   */
  #carryOut(): void {
    const { keys, carried, mesh, clock } = this.#deps;
    const nowMs = clock.nowMs();
    for (const one of this.#orders.values()) {
      const { scope, tag, by, reason, madeByMs } = one.order;
      const byMs = carried.has(scope) ? madeByMs : Number.POSITIVE_INFINITY;
      // Not once more while the log is waited for: who came back since stays.
      one.erased ??= this.#erase(() => keys.erase(tag, byMs, { by, reason, nowMs }));
      carried.add(scope);
    }
    if (!this.#append(keys.untold())) return;
    for (const { order, erased = 0 } of this.#orders.values()) {
      mesh.post({ t: "redacted", scope: order.scope, record: order.record, count: erased });
    }
    this.#orders.clear();
  }

  /** Loops hear of one that failed as well: what it left of the keys is not to be used any more. */
  #erase(erase: () => readonly ErasedPerson[]): number {
    let isKept = false;
    try {
      const { length } = erase();
      isKept = length === 0;
      return length;
    } finally {
      if (!isKept) this.#tellLoops();
    }
  }

  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#deps.onFault(error);
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
    this.#cancel = this.#deps.clock.after(TURN_EVERY_MS, () => this.#turn());
    this.#guarded(() => this.#noteTold());
    this.#guarded(() => this.#erase(() => this.#deps.keys.eraseOld(this.#deps.clock.nowMs())));
    this.#guarded(() => this.#carryOut());
  }

  /** Appended a turn ago, and the log has taken everything since: it is on the disk. */
  #noteTold(): void {
    const { keys, clock, isWritable } = this.#deps;
    if (!isWritable()) return;
    const before = clock.nowMs() - TURN_EVERY_MS;
    const areThere = keys.untold().filter(({ pseudonym }) => {
      const atMs = this.#appended.get(pseudonym);
      return atMs !== undefined && atMs <= before;
    });
    keys.told(areThere.map(({ pseudonym }) => pseudonym));
    for (const { pseudonym } of areThere) this.#appended.delete(pseudonym);
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
