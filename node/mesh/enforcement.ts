import type { MeshRecord } from "../../mesh/record.ts";
import type { TrustView } from "../../mesh/trust.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Scope } from "../../proto/ids.ts";
import type { KilledBy } from "../decision/facts.ts";
import type { AckBook } from "./acks.ts";
import type { Directory } from "./directory.ts";
import type { HostStall, StallMark, StallWindow } from "./host-stall.ts";
import type { RecordStore } from "./record-store.ts";

// What a record that has become current does to this node, in this order:
//
// E1. The scope's cell is stored: from here on every loop refuses.
// E2. The kernel gate closes, where one is installed; at once where that takes microseconds.
// E3. The loops are told to cut what the kill covers.
// E4. The record goes to disk.
// E5. The mesh is told, of each of these only after it is so.
//
// The first is done at once, and the second if it can be. The others are begun in this order, in the same turn if there is time
// left in it: of many kills that come together, the last one's cell comes before the first one's ack.

/** Kills and revives that wait for a log which takes nothing; beyond that the oldest are given up. */
export const UNRECORDED_MAX = 10_000;
export const RECORD_RETRY_MS = 1_000;

/** Monotonic nanoseconds. */
export type EnforcedTimes = {
  readonly receivedNs: bigint;
  readonly enforcedNs: bigint;
  /** 0: no gate is installed. */
  readonly gatedNs: bigint;
};

/** What is heard of one change of the kernel gate. Monotonic nanoseconds. */
export type GateNews = {
  readonly done: (atNs: bigint) => void;
  /** The kernel has ended so many sockets that led to the killed; called each time that it has looked. */
  readonly swept: (count: number, atNs: bigint) => void;
};

/** A gate that was closed without anybody else's help. Monotonic nanoseconds. */
export type Shut = {
  readonly atNs: bigint;
  /** Who ends the agent's sockets was asked so, by this number. */
  readonly asked: bigint | undefined;
};

/** What the rest of the node does when state changes. */
export type EnforcementHooks = {
  /** Closes the kernel gate for a kill if that takes microseconds; `undefined`: it is not closed yet. */
  readonly shut?: (kill: MeshRecord) => Shut | undefined;
  /**
   * Closes the kernel gate for a kill, opens it for a revive.
   *
   * @param shut What `shut` has done already: it is told to whoever has to remember it.
   * @returns The time at which the kernel had it, when it has it by now. Else `done` is called once,
   *   later: with that time, or with 0 when it has not and is not waited for any longer.
   */
  readonly gate?: (record: MeshRecord, on: GateNews, shut?: Shut) => bigint | undefined;
  /**
   * Has every loop close what the kill covers; `done` is called later, with their number and time.
   * `isGated`: the kernel lets nothing but a reset through to whoever it captured.
   */
  readonly cut: (
    kill: { readonly by: KilledBy; readonly scope: string; readonly isGated: boolean },
    done: (count: number, atNs: bigint) => void,
  ) => void;
  /** A kill or revive is in force, and the mesh was told. */
  readonly onEnforced: (record: MeshRecord, times: EnforcedTimes) => void;
  /** Any record has come into force here that was not before. */
  readonly onCommand: (record: MeshRecord) => void;
  readonly onPolicy: (record: MeshRecord) => void;
  readonly onLimit: (record: MeshRecord) => void;
  readonly onDistrust: (record: MeshRecord) => void;
  /** A certificate counts no more. */
  readonly onCertificate: (record: MeshRecord) => void;
  /** Persons' keys are to be erased; `closed` of the acks once they are. */
  readonly onRedaction: (record: MeshRecord) => void;
  /** An operator's revive of this agent is in force. */
  readonly onRevived: (agentId: string) => void;
  /** The set of killed scopes changed. */
  readonly onKills: () => void;
};

export type EnforcementDeps = {
  readonly node: string;
  readonly clock: Clock;
  readonly directory: Directory;
  readonly trust: TrustView;
  readonly records: Pick<RecordStore, "add" | "flush">;
  readonly acks: AckBook;
  readonly stall: HostStall;
  readonly hooks: EnforcementHooks;
  /** Runs `fn` soon, in order of the calls. */
  readonly defer: (fn: () => void) => void;
  /** State changed, and all of the above was begun. */
  readonly onChange: () => void;
  /** `onEnforced` or `onCommand` threw; it is called again until it does not. */
  readonly onUnrecorded: (detail: string) => void;
  /** Keys that sign records and digests changed. */
  readonly onTrust: () => void;
  /** This node's own membership may have changed. */
  readonly onMembership: () => void;
};

/** How a record came. */
export type Receipt = {
  readonly receivedNs: bigint;
  readonly stallMark: StallMark;
  /** False: one of many of a repair, which heartbeats acknowledge together. */
  readonly isAcked: boolean;
};

type InForce = {
  readonly enforcedNs: bigint;
  readonly window: StallWindow;
  readonly shut: Shut | undefined;
};

export class Enforcement {
  readonly #deps: EnforcementDeps;
  readonly #killed = new Set<string>();
  readonly #unrecorded: { readonly record: MeshRecord; readonly write: () => void }[] = [];
  #cancelRetry: Cancel | undefined;
  #isClosed = false;

  constructor(deps: EnforcementDeps) {
    this.#deps = deps;
  }

  /** A record from this node's own disk, before anything else is done with the node. */
  restore(record: MeshRecord): void {
    this.#apply(record);
    // The policy is told once all is restored, so that no request under it is held for less.
    if (record.parsed.kind === "distrust") this.#deps.hooks.onDistrust(record);
    if (record.parsed.kind === "certificate") this.#deps.hooks.onCertificate(record);
    const isClosed = record.op.case !== "redact";
    // Before it came here, or after it was carried out, a backup may have been brought back: an order is done again.
    this.#deps.acks.begun(record, !isClosed);
    this.#deps.acks.assume(record, { isDurable: true, isClosed });
  }

  /** A record that has just become its scope's current one. */
  enforce(record: MeshRecord, receipt: Receipt): void {
    const { clock, stall, records, hooks, defer, acks } = this.#deps;
    this.#apply(record);
    const enforcedNs = clock.monoNs();
    const shut = record.op.case === "kill" ? hooks.shut?.(record) : undefined;
    // Not before the gate: this is where the record's hash is made.
    acks.begun(record, isEnding(record));
    records.add(record);
    const window = stall.until(receipt.stallMark, enforcedNs);
    defer(() => this.#follow(record, receipt, { enforcedNs, window, shut }));
  }

  /** Runs `fn` soon, after what kills have begun. */
  later(fn: () => void): void {
    this.#deps.defer(fn);
  }

  /** A revocation is no part of the state any more, because its contract has ended. */
  forget(record: MeshRecord): void {
    const { directory, acks, hooks } = this.#deps;
    this.#killed.delete(record.scope);
    directory.ended(record.scope);
    acks.forget(record);
    hooks.onKills();
  }

  /** Scopes that are killed now, contracts included. */
  get killed(): ReadonlySet<string> {
    return this.#killed;
  }

  #follow(
    record: MeshRecord,
    { receivedNs, isAcked }: Receipt,
    { enforcedNs, window, shut }: InForce,
  ): void {
    const { records, acks, hooks, onChange } = this.#deps;
    const by = killKind(record.parsed);
    const isClosed = !isEnding(record);
    const cut = (gatedNs: bigint): void => {
      if (by === undefined || isClosed) return;
      const kill = { by, scope: record.scope, isGated: gatedNs > 0n };
      hooks.cut(kill, (count, atNs) => acks.closed(record, count, atNs));
    };
    // Before the enforcer is told, who would be run in place of the loops.
    if (shut !== undefined) cut(shut.atNs);
    const gate = by === undefined ? undefined : hooks.gate;
    // Where it is not closed within this turn it is not waited for: the machine's helper may be gone.
    const news = {
      done: (gatedNs: bigint) => {
        cut(gatedNs);
        if (gatedNs > 0n) acks.gated(record, gatedNs);
        this.#recordKill(record, { receivedNs, enforcedNs, gatedNs });
      },
      swept: (count: number, atNs: bigint) => acks.swept(record, count, atNs),
    };
    const inTurnNs = gate?.(record, news, shut);
    const isWaiting = gate !== undefined && inTurnNs === undefined;
    if (!isWaiting && shut === undefined) cut(inTurnNs ?? 0n);
    records.flush();
    const times = { receivedNs, enforcedNs, gatedNs: inTurnNs ?? 0n };
    if (isAcked) acks.enforced(record, { ...times, stall: window, isClosed });
    else acks.assume(record, { isDurable: false, isClosed });
    if (by !== undefined && !isWaiting) this.#recordKill(record, times);
    this.#recordIt(record, () => hooks.onCommand(record));
    this.#tell(record);
    onChange();
  }

  #apply(record: MeshRecord): void {
    const { directory, trust, node } = this.#deps;
    const { parsed, scope, op } = record;
    if (killKind(parsed) !== undefined) {
      directory.store(scope, op.case === "kill");
      if (op.case === "kill") this.#killed.add(scope);
      else this.#killed.delete(scope);
    } else if (parsed.kind === "key") directory.learnKey(record);
    else if (trust.learn(record)) {
      if (parsed.kind === "trust") directory.trustChanged(record.v);
      if (parsed.kind === "node" && parsed.id === node) this.#deps.onMembership();
    }
  }

  /** Makes a last attempt at what the log has not taken. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#recordAll();
  }

  /** A log that cannot be written refuses requests by itself; it must not keep a kill from working. */
  #recordIt(record: MeshRecord, write: () => void): void {
    this.#unrecorded.push({ record, write });
    if (this.#unrecorded.length > UNRECORDED_MAX) this.#unrecorded.shift();
    if (!this.#cancelRetry) this.#recordAll();
  }

  #recordKill(record: MeshRecord, times: EnforcedTimes): void {
    this.#recordIt(record, () => this.#deps.hooks.onEnforced(record, times));
  }

  #recordAll(): void {
    this.#cancelRetry = undefined;
    for (;;) {
      const next = this.#unrecorded.shift();
      if (!next) return;
      try {
        next.write();
      } catch (error) {
        const { scope, v } = next.record;
        this.#deps.onUnrecorded(`${scope} v${v}: ${String(error)}`);
        // To the end of the line: one that the log never takes must not keep the others from it.
        this.#unrecorded.push(next);
        if (!this.#isClosed) this.#retryLater();
        return;
      }
    }
  }

  #retryLater(): void {
    this.#cancelRetry = this.#deps.clock.after(RECORD_RETRY_MS, () => this.#recordAll());
  }

  /** After the order above, whatever is not urgent. */
  #tell(record: MeshRecord): void {
    const { hooks, onTrust } = this.#deps;
    switch (record.parsed.kind) {
      case "policy":
        hooks.onPolicy(record);
        return;
      case "budget":
        hooks.onLimit(record);
        return;
      case "distrust":
        hooks.onDistrust(record);
        return;
      case "certificate":
        hooks.onCertificate(record);
        return;
      case "redaction":
        hooks.onRedaction(record);
        return;
      case "trust":
        onTrust();
        return;
      case "key":
      case "node":
        return;
      default:
        if (record.op.case === "revive" && record.parsed.kind === "agent") {
          hooks.onRevived(`${record.parsed.team}/${record.parsed.agent}`);
        }
        hooks.onKills();
    }
  }
}

/** The kind of scope cell a scope has, if it has one. */
export function killKind(scope: Scope): KilledBy | undefined {
  switch (scope.kind) {
    case "global":
    case "team":
    case "agent":
    case "contract":
      return scope.kind;
    default:
      return undefined;
  }
}

/** Whether the record ends what is there, rather than only what comes: what runs, or persons' keys. */
function isEnding({ parsed, op }: MeshRecord): boolean {
  return op.case === "redact" || (killKind(parsed) !== undefined && op.case === "kill");
}
