import { type MeshRecord, openRecord, restoreRecord } from "../../mesh/record.ts";
import { openReviveNotice } from "../../mesh/revive-notice.ts";
import type { MeshState } from "../../mesh/state.ts";
import { coordinatorKey, type TrustView } from "../../mesh/trust.ts";
import type { BusMessage } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Keys } from "../../ports/keys.ts";
import {
  COMMITTED_PREFIX,
  CONTROL_STREAM,
  controlSubject,
  REVIVE_PREFIX,
  REVOCATION_STREAM,
} from "../../proto/subjects.ts";
import type { AckBook } from "./acks.ts";
import type { Enforcement } from "./enforcement.ts";
import type { HostStall } from "./host-stall.ts";
import type { Arrival } from "./intake.ts";

// Which bytes become state, whichever way they came.
//
// I1. Only what `openRecord` takes: a good signature of somebody who may sign it, on its own subject.
// I2. What is not committed may only kill. A revive, or anything that widens, waits for its commit.
// I3. A record that is known already is acknowledged again and changes nothing.

export type MergingDeps = {
  readonly mesh: string;
  readonly state: MeshState;
  readonly trust: TrustView;
  readonly verify: Keys["verify"];
  readonly clock: Clock;
  readonly stall: HostStall;
  readonly acks: AckBook;
  readonly enforcement: Enforcement;
  /** A committed record came live, or a kill that is new and of which nobody said its sequence. */
  readonly onLive: (stream: string, seq: number | undefined, isNew: boolean) => void;
  /** While true, records of a repair are not acknowledged one by one. */
  readonly isStarting: () => boolean;
  readonly onAlarm: (name: "record_refused" | "versions_crossed", detail: string) => void;
};

type Way = "live" | "repair" | "told";

export class Merging {
  readonly #deps: MergingDeps;
  /** Current records by subject without its prefix, to know a repetition by its bytes alone. */
  readonly #bySubject = new Map<string, MeshRecord>();

  constructor(deps: MergingDeps) {
    this.#deps = deps;
  }

  /** From this node's own disk. */
  restore(record: MeshRecord): void {
    if (!this.#deps.state.merge(record).changed) return;
    this.#remember(record);
    this.#deps.enforcement.restore(record);
  }

  /** A revocation is no part of the state any more. */
  forget(record: MeshRecord): void {
    this.#bySubject.delete(tailOf(controlSubject(record.parsed)));
    this.#deps.enforcement.forget(record);
  }

  /** From the fast path, the committed broadcast, or a coordinator's word on a revive. */
  live(arrival: Arrival): void {
    if (arrival.subject.startsWith(REVIVE_PREFIX)) this.#revived(arrival);
    else this.#live(arrival);
  }

  #live(arrival: Arrival): void {
    const result = this.#take(arrival, "live");
    if (!result || (arrival.seq === undefined && !result.isNew)) return;
    this.#deps.onLive(streamOf(result.record), arrival.seq, result.isNew);
  }

  /** I2: a coordinator says that it is committed. It may say so of nothing else. */
  #revived(arrival: Arrival): void {
    const { trust, clock, verify, onAlarm } = this.#deps;
    const { subject, bytes } = arrival;
    const notice = openReviveNotice(bytes, coordinatorKey(trust, clock.nowMs()), verify);
    const named = notice && restoreRecord(notice.record, { mesh: this.#deps.mesh });
    if (!notice || !named?.ok || named.record.op.case !== "revive") {
      onAlarm("record_refused", `no revive that a coordinator vouches for on ${subject}`);
      return;
    }
    const { record, seq } = notice;
    this.#live({ ...arrival, subject: COMMITTED_PREFIX + tailOf(subject), bytes: record, seq });
  }

  /** From a stream, read by a repair. Returns the record, if it is one that counts. */
  committed({ subject, bytes, seq }: BusMessage): MeshRecord | undefined {
    return this.#take({ subject, bytes, seq, ...this.#now() }, "repair")?.record;
  }

  /** From a coordinator's answer, which holds only what was committed. */
  told(bytes: Uint8Array): MeshRecord | undefined {
    return this.#take({ subject: "", bytes, seq: undefined, ...this.#now() }, "told")?.record;
  }

  #now(): Pick<Arrival, "receivedNs" | "stallMark"> {
    const receivedNs = this.#deps.clock.monoNs();
    return { receivedNs, stallMark: this.#deps.stall.mark(receivedNs) };
  }

  #take(
    arrival: Arrival,
    way: Way,
  ): { readonly record: MeshRecord; readonly isNew: boolean } | undefined {
    const known = this.#known(arrival);
    if (known) {
      if (way === "live") this.#deps.acks.repeat(known, arrival.seq !== undefined);
      return { record: known, isNew: false };
    }
    const record = this.#open(arrival, way);
    if (!record) return undefined;
    if (way === "live" && arrival.seq === undefined && record.op.case !== "kill") return undefined;
    const merge = this.#deps.state.merge(record);
    if (merge.outcome === "conflict") {
      this.#deps.onAlarm("versions_crossed", `${record.scope} v${record.v}`);
    }
    if (merge.changed) {
      const isAcked = way === "live" || this.#isAwaited(record);
      const { receivedNs, stallMark } = arrival;
      this.#deps.enforcement.enforce(record, {
        receivedNs,
        stallMark,
        isAcked,
      });
      this.#remember(record);
      if (record.parsed.kind === "contract") this.#forgetSoon();
    } else if (merge.outcome === "known" && way === "live") {
      this.#deps.acks.repeat(record, arrival.seq !== undefined);
    }
    return { record, isNew: merge.changed };
  }

  /** The current record that came again, byte for byte; what is told comes without its subject. */
  #known({ subject, bytes }: Pick<Arrival, "subject" | "bytes">): MeshRecord | undefined {
    const isNamed = subject !== "";
    const read = isNamed ? undefined : restoreRecord(bytes, { mesh: this.#deps.mesh });
    const scope = read?.ok ? read.record.scope : "";
    const { state } = this.#deps;
    const current = isNamed ? this.#bySubject.get(tailOf(subject)) : state.get(scope);
    return current && Buffer.compare(current.bytes, bytes) === 0 ? current : undefined;
  }

  /** Of what a repair brought: somebody waits to hear of it more than heartbeats say. */
  #isAwaited({ op }: MeshRecord): boolean {
    return op.case === "redact" || (op.case === "kill" && !this.#deps.isStarting());
  }

  /** A revocation may let many earlier ones go, and kills come before that. */
  #forgetSoon(): void {
    this.#deps.enforcement.later(() => {
      if (this.#deps.state.forgetEnded()) this.#forgetSoon();
    });
  }

  #open({ subject, bytes, receivedNs }: Arrival, way: Way): MeshRecord | undefined {
    const { mesh, trust, verify, clock, acks, onAlarm } = this.#deps;
    const opened = openRecord(bytes, {
      mesh,
      trust,
      verify,
      nowMs: clock.nowMs(),
      ...(way === "told" ? {} : { subject }),
    });
    if (opened.ok) return opened.record;
    onAlarm("record_refused", `${opened.reason}: ${opened.detail}`);
    if (way !== "live") return undefined;
    // Whoever sent it waits for an ack: the record says which, though nobody vouches for that.
    const named = restoreRecord(bytes, { mesh });
    if (named.ok) acks.refused(named.record, opened.reason, receivedNs);
    return undefined;
  }

  #remember(record: MeshRecord): void {
    this.#bySubject.set(tailOf(controlSubject(record.parsed)), record);
  }
}

function streamOf({ parsed }: MeshRecord): string {
  return parsed.kind === "contract" ? REVOCATION_STREAM : CONTROL_STREAM;
}

/** `kill.global` of `alt.ctl.kill.global`, and of the same under every other prefix. */
function tailOf(subject: string): string {
  return subject.slice(subject.indexOf(".", "alt.".length) + 1);
}
