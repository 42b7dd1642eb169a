import type { CallRecord } from "../audit/record.ts";
import type { Clock } from "../ports/clock.ts";
import { LEAST_ROLE, snakeCase } from "../proto/call-roles.ts";
import type { CallerOf } from "./grpc-caller.ts";
import type { RpcError } from "./grpc-error.ts";

/** A call over TLS that its caller may not make, as a record has it. */
export type Denial = Pick<CallRecord, "op" | "rc" | "via" | "who" | "role" | "crt" | "n">;

/** Equal ones within this time are counted, ms. */
const GATHER_MS = 1_000;
/** Kinds that are told apart at a time; all others are one. */
const KINDS_MAX = 1_000;

/**
 * Tells of denied calls so that nobody fills a log by repeating one: the first at once, equal ones after it
 * as a number.
 */
export class Denials {
  readonly #clock: Clock;
  readonly #tell: (denial: Denial) => void;
  readonly #repeats = new Map<string, number>();

  constructor(clock: Clock, tell: (denial: Denial) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** @param method As HTTP/2 carries it, with its slash. */
  note(why: RpcError, method: string, caller: CallerOf | undefined): void {
    const denial = this.#denialOf(why, method, caller);
    const kind = `${denial.op} ${denial.rc} ${denial.crt}`;
    const repeats = this.#repeats.get(kind);
    if (repeats !== undefined) {
      this.#repeats.set(kind, repeats + 1);
      return;
    }
    this.#repeats.set(kind, 0);
    this.#tell(denial);
    this.#clock.after(GATHER_MS, () => {
      const n = this.#repeats.get(kind) ?? 0;
      this.#repeats.delete(kind);
      if (n > 0) this.#tell({ ...denial, n });
    });
  }

  #denialOf(why: RpcError, method: string, caller: CallerOf | undefined): Denial {
    const listed = method.slice(1);
    // What nobody may call is a name that the caller made up.
    const isListed = Object.hasOwn(LEAST_ROLE, listed);
    const op = isListed ? snakeCase(listed.slice(listed.indexOf("/") + 1)) : "unlisted";
    const denial = { op, rc: why.reason, via: "tls" as const };
    if (caller === undefined || this.#repeats.size >= KINDS_MAX) return denial;
    const { name, role, fingerprint } = caller;
    return { ...denial, who: name, role, crt: fingerprint };
  }
}
