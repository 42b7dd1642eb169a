import {
  type AuditRecord,
  KERNEL_FAULTS_MAX,
  KERNEL_WORDS_CHARS_MAX,
  recordable,
} from "../audit/record.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { KernelFault, KernelFaultCode } from "../proto/kernel-faults.ts";

// What the node makes of its machine's kernel layer.
//
// W1. Until the enforcer has said that all is well, it is not: no word is `kernel_gate_lost`.
// W2. Each change of which faults there are is a record of the log; one that passed between two records
//     is in the next. A layer that flaps writes at most two records in RECORD_EVERY_MS.

const RECORD_EVERY_MS = 1_000;

export type KernelWatchDeps = {
  readonly node: string;
  readonly clock: Clock;
  readonly append: (record: AuditRecord) => void;
  readonly onChange: (faults: readonly KernelFault[]) => void;
};

const LOST: readonly KernelFault[] = [
  { rc: "kernel_gate_lost", what: "the enforcer has not said anything" },
];

/** Follows what the enforcer says, for readiness, metrics and the log. */
export class KernelWatch {
  readonly #deps: KernelWatchDeps;
  #faults = LOST;
  /** Everything that was wrong since the last record. */
  #since = new Map<string, KernelFault>();
  #recorded: string | undefined;
  #cancel: Cancel | undefined;

  constructor(deps: KernelWatchDeps) {
    this.#deps = deps;
  }

  /** Why nothing must be relied on now; empty when all is well. */
  get faults(): readonly KernelFault[] {
    return this.#faults;
  }

  /** Codes of the faults, each once. */
  codes(): readonly KernelFaultCode[] {
    return codesOf(this.#faults);
  }

  note(faults: readonly KernelFault[]): void {
    if (codesOf(faults).join() !== this.codes().join()) this.#deps.onChange(faults);
    this.#faults = faults;
    for (const one of faults) this.#since.set(`${one.rc} ${one.what}`, one);
    if (this.#cancel === undefined) this.#record();
  }

  stop(): void {
    this.#cancel?.();
  }

  #record(): void {
    const passed = [...this.#since.values()];
    this.#since = new Map();
    // What was wrong in between comes first, and how it is now behind it.
    const isNews = passed.length > 0 && this.#write(passed);
    const isNewsNow = this.#write(this.#faults);
    if (!isNews && !isNewsNow) return;
    this.#cancel = this.#deps.clock.after(RECORD_EVERY_MS, () => {
      this.#cancel = undefined;
      this.#record();
    });
  }

  #write(faults: readonly KernelFault[]): boolean {
    const { node, clock, append } = this.#deps;
    const codes = codesOf(faults);
    const text = codes.join();
    if (text === this.#recorded) return false;
    this.#recorded = text;
    const what = faults
      .slice(0, KERNEL_FAULTS_MAX)
      .map((one) => recordable(one.what, KERNEL_WORDS_CHARS_MAX));
    append({
      v: 1,
      k: "kernel",
      t: clock.nowMs(),
      node,
      rc: codes[0] ?? "ok",
      ...(codes.length > 0 && { wrong: codes }),
      ...(what.length > 0 && { what }),
    });
    return true;
  }
}

function codesOf(faults: readonly KernelFault[]): readonly KernelFaultCode[] {
  return [...new Set(faults.map(({ rc }) => rc))].sort();
}
