import type { MeshRecord } from "../../mesh/record.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import { type KernelFault, readKernelFaults } from "../../proto/kernel-faults.ts";
import type { GateAnswer, GatePod, GateQuestion } from "../kernel/gate-messages.ts";
import type { GateNews, Shut } from "./enforcement.ts";
import type { Swept } from "./gate-pipe.ts";

// The mesh thread's end of the kernel gate. The other end is a process with the right to change the
// kernel's rules, which this one does not have.
//
// K1. Everything that is killed is the first thing said on every connection: what was missed is made up.
// K2. A kill waits for the gate at most GATE_WAIT_MS, and then goes on without it.
// K3. Each question is answered once: by the enforcer, by the end of the connection, or by time.
// K4. A connection that ended, or that says what cannot be read, is a fault of the layer itself.
// K5. Where there is a shorter way, a kill takes that one first and this one all the same: only the enforcer
//     remembers it. What a short way has closed is not waited for again.
// K6. What the kernel has swept is told of the latest kill of its scope, by whoever swept: the short way soon, the
//     enforcer once more after a while.
// K7. Of what a knock has closed the enforcer is told a little later: it works for a millisecond on each kill, on a
//     processor that the loops need meanwhile. Nothing that is said afterwards overtakes it.

/** A gate that is slower does not hold up the cutting of connections. Milliseconds. */
export const GATE_WAIT_MS = 50;
const RECONNECT_MS = 250;
/** K7. */
export const TOLD_AFTER_MS = 3;
/**
 * When the short way is looked at for what it has swept: before the kill's first ack goes out, and again. What
 * takes longer is left to the enforcer's word.
 */
const SWEPT_LOOKS_MS = [3, 10, 50, 200] as const;

type Connection = { send(message: GateQuestion): void; close(): void };
type Handlers = { readonly onMessage: (message: unknown) => void; readonly onEnd: () => void };

export type KernelGateLinkDeps = {
  readonly clock: Clock;
  readonly connect: (handlers: Handlers) => Connection;
  /** The way that wakes nobody, where the launcher gave a socket for it; see `GateKnock`. */
  readonly knock?:
    | { setPods(pods: readonly GatePod[]): void; close(scope: string): boolean }
    | undefined;
  /** The way that is answered within the turn; see `GatePipe`. */
  readonly pipe: {
    open(): void;
    end(scope: string): bigint | undefined;
    kill(scope: string): bigint | undefined;
    swept(no: bigint): Swept | undefined;
    close(): void;
  };
  /** Scopes that are killed now. */
  readonly killed: () => ReadonlySet<string>;
  readonly onFault: (what: string) => void;
  /** What is wrong with the machine's kernel layer, each time that it is told, or cannot be. */
  readonly onState: (faults: readonly KernelFault[]) => void;
};

type Waiting = { readonly done: (atNs: bigint) => void; readonly cancel: Cancel };

export class KernelGateLink {
  readonly #deps: KernelGateLinkDeps;
  readonly #waiting = new Map<number, Waiting>();
  /** Of killed scopes: who hears what was swept. */
  readonly #sweeps = new Map<string, GateNews["swept"]>();
  #connection: Connection | undefined;
  #cancelReconnect: Cancel | undefined;
  /** What the enforcer is still to be told, in order. */
  #untold: GateQuestion[] = [];
  #lastNo = 0;
  #isClosed = false;
  #wasReached = true;

  constructor(deps: KernelGateLinkDeps) {
    this.#deps = deps;
  }

  /** Connects, and again whenever the connection ends. */
  open(): void {
    if (this.#isClosed) return;
    const { connect, killed, pipe } = this.#deps;
    pipe.open();
    this.#connection = connect({
      onMessage: (message) => this.#take(message as GateAnswer),
      onEnd: () => this.#ended(),
    });
    const scopes = [...killed()].filter(isOfPods);
    this.#connection.send({ t: "killed", n: ++this.#lastNo, scopes });
  }

  /** Closes the gate for a kill if that takes next to no time; see `EnforcementHooks`. */
  readonly shut = ({ parsed, scope }: MeshRecord): Shut | undefined => {
    const { clock, pipe, knock } = this.#deps;
    // Without the enforcer nobody would remember it.
    if (!this.#connection || parsed.kind === "contract" || !knock?.close(scope)) return undefined;
    const atNs = clock.monoNs();
    return { atNs, asked: pipe.end(scope) };
  };

  /** Closes the gate for a kill, opens it for a revive; see `EnforcementHooks`. */
  readonly gate = (
    { op, parsed, scope }: MeshRecord,
    { done, swept }: GateNews,
    shut?: Shut,
  ): bigint | undefined => {
    const { clock } = this.#deps;
    const t = op.case;
    const hasPods = parsed.kind !== "contract" && (t === "kill" || t === "revive");
    if (!this.#connection || !hasPods) {
      // Closed, and lost since: what remembers it is told with all that is killed, on the next connection.
      if (shut !== undefined) return shut.atNs;
      clock.after(0, () => done(0n));
      return undefined;
    }
    const no = ++this.#lastNo;
    if (t === "kill") this.#sweeps.set(scope, swept);
    else this.#sweeps.delete(scope);
    const closed = shut ?? (t === "kill" ? this.#shutByProgram(scope) : undefined);
    if (closed !== undefined) {
      if (shut === undefined) this.#tell({ t, n: no, scope });
      else this.#tellLater({ t, n: no, scope });
      if (closed.asked !== undefined) this.#lookLater(closed.asked, swept);
      return closed.atNs;
    }
    this.#wait(no, done);
    this.#tell({ t, n: no, scope });
    return undefined;
  };

  #tell(question: GateQuestion): void {
    this.#tellAll();
    this.#connection?.send(question);
  }

  #tellLater(question: GateQuestion): void {
    if (this.#untold.push(question) === 1)
      this.#deps.clock.after(TOLD_AFTER_MS, () => this.#tellAll());
  }

  #tellAll(): void {
    const untold = this.#untold;
    this.#untold = [];
    for (const question of untold) this.#connection?.send(question);
  }

  #shutByProgram(scope: string): Shut | undefined {
    const asked = this.#deps.pipe.kill(scope);
    return asked === undefined ? undefined : { atNs: this.#deps.clock.monoNs(), asked };
  }

  #wait(no: number, done: (atNs: bigint) => void): void {
    const { clock, onFault } = this.#deps;
    const cancel = clock.after(GATE_WAIT_MS, () => {
      onFault(`the kernel gate has not answered within ${GATE_WAIT_MS} ms`);
      this.#settle(no, 0n);
    });
    this.#waiting.set(no, { done, cancel });
  }

  /** What waits goes on without the gate. */
  close(): void {
    this.#isClosed = true;
    this.#cancelReconnect?.();
    this.#tellAll();
    this.#connection?.close();
    this.#deps.pipe.close();
    this.#giveUp();
  }

  #lookLater(asked: bigint, swept: GateNews["swept"], looks = 0): void {
    const delayMs = SWEPT_LOOKS_MS[looks];
    if (delayMs === undefined) return;
    this.#deps.clock.after(delayMs, () => {
      const found = this.#deps.pipe.swept(asked);
      if (found === undefined) this.#lookLater(asked, swept, looks + 1);
      else if (found.errno === "0") swept(found.count, found.atNs);
      else this.#deps.onFault(`the sockets of a kill were not swept: errno ${found.errno}`);
    });
  }

  #ended(): void {
    this.#connection = undefined;
    // The next connection begins with all that is killed.
    this.#untold = [];
    this.#giveUp();
    if (this.#isClosed) return;
    if (this.#wasReached) this.#deps.onFault("the kernel gate cannot be reached");
    this.#lost("the enforcer cannot be reached");
    this.#wasReached = false;
    this.#cancelReconnect = this.#deps.clock.after(RECONNECT_MS, () => this.open());
  }

  #giveUp(): void {
    for (const no of [...this.#waiting.keys()]) this.#settle(no, 0n);
  }

  #take(answer: GateAnswer): void {
    this.#wasReached = true;
    if (answer.t === "state") {
      const faults = readKernelFaults(answer.wrong);
      if (faults === undefined) this.#lost("the enforcer says what cannot be read");
      else this.#deps.onState(faults);
    }
    if (answer.t === "swept") this.#takeSwept(answer);
    if (answer.t === "pods") this.#deps.knock?.setPods(answer.pods);
    if (answer.t !== "done") return;
    if (answer.error !== undefined) this.#deps.onFault(`the kernel gate: ${answer.error}`);
    this.#settle(answer.n, answer.error === undefined ? this.#deps.clock.monoNs() : 0n);
  }

  #takeSwept({ scope, count, atUs }: Extract<GateAnswer, { t: "swept" }>): void {
    const isCount = Number.isSafeInteger(count) && count >= 0;
    if (!isCount || !Number.isSafeInteger(atUs)) return;
    this.#sweeps.get(scope)?.(count, BigInt(atUs) * 1_000n);
  }

  #lost(what: string): void {
    this.#deps.onState([{ rc: "kernel_gate_lost", what }]);
  }

  #settle(no: number, atNs: bigint): void {
    const waiting = this.#waiting.get(no);
    if (!waiting) return;
    this.#waiting.delete(no);
    waiting.cancel();
    waiting.done(atNs);
  }
}

/** Contracts and keys have no address. There may be very many of them, and the enforcer reads a line of so many bytes. */
function isOfPods(scope: string): boolean {
  return /^(global$|team\/|agent\/)/.test(scope);
}
