import type { Clock } from "../../ports/clock.ts";
import type { TurnPipe } from "../../ports/turn-pipe.ts";

// The short way to the kernel gate. The long one is a connection to the enforcer, which remembers what is
// killed, and which takes a millisecond to be woken; this one ends at a small program that only adds to
// the kernel's sets and ends sockets, and is answered within the turn in which a kill is put in force.
//
// S1. A kill goes the long way too: what the program did is never all that was done.
// S2. The turn lasts at most TURN_NS longer for it. The program does nothing that it reads later.
// S3. One that did not answer in time is not asked for REST_NS: many kills at once wait for it once.

/** How long a turn waits for the answer. The thread must never be busy for a millisecond. */
export const TURN_NS = 700_000n;
export const REST_NS = 50_000_000n;
/** Looks that follow at once, each some microseconds: an answer takes less time than giving up the processor. */
const LOOKS_AT_ONCE = 100;
const PAUSE_US = 50;
/** Answers lie at the place of their number's rest; see node/kernel/gate-helper. */
const PLACES = 64n;
/** After so long a revive may have come, and the program leaves what the agent holds then. */
const END_NS = 200_000_000n;
/** After so many the engine has compiled what a kill runs through. */
const REHEARSALS = 100;
/** No pod has it, so nothing is closed. */
const NOBODY = "agent/rehearsal/nobody";

/** What came of a killed agent's sockets. Monotonic nanoseconds. */
export type Swept = { readonly errno: string; readonly count: number; readonly atNs: bigint };

export class GatePipe {
  readonly #clock: Clock;
  readonly #open: () => TurnPipe | undefined;
  #pipes: TurnPipe | undefined;
  #lastNo: bigint;
  #notBeforeNs = 0n;
  #isRehearsed = false;

  /** @param open Undefined: the program is not there. */
  constructor(clock: Clock, open: () => TurnPipe | undefined) {
    this.#clock = clock;
    this.#open = open;
    // Other numbers than those of a process before this one, whose answers may still lie there.
    this.#lastNo = clock.monoNs();
  }

  /**
   * Opens the pipes, if they are not, so that no kill has to; and the first time asks for nobody until
   * this runs as compiled code. A kill is rare, and the first one would else take longer than it may.
   */
  open(): void {
    this.#notBeforeNs = 0n;
    this.#pipes ??= this.#open();
    if (this.#pipes === undefined || this.#isRehearsed) return;
    this.#isRehearsed = true;
    for (let i = 0; i < REHEARSALS && this.#ask(NOBODY) !== undefined; i++)
      this.swept(this.#lastNo);
    this.#notBeforeNs = 0n;
  }

  /**
   * Closes the gate for a scope.
   *
   * @returns The question's number: the kernel has it. Undefined: that is not known, or it is not so; the long
   *   way says.
   */
  kill(scope: string): bigint | undefined {
    return this.#ask(scope) === "0" ? this.#lastNo : undefined;
  }

  /**
   * Has the sockets of a scope ended for which the gate is closed already, and the gate closed for good. Nothing is
   * waited for.
   *
   * @returns The question's number.
   */
  end(scope: string): bigint | undefined {
    this.#pipes ??= this.#open();
    const no = ++this.#lastNo;
    const line = `= ${no} ${this.#clock.monoNs() + END_NS} ${scope}\n`;
    if (this.#pipes?.write(line) === true) return no;
    this.close();
    return undefined;
  }

  /** What came of the sockets of a kill by its question's number; undefined for nothing yet. */
  swept(no: bigint): Swept | undefined {
    const [, errno, count, atNs] = this.#answerTo(no) ?? [];
    if (errno === undefined || count === undefined || atNs === undefined) return undefined;
    return { errno, count: Number(count), atNs: BigInt(atNs) };
  }

  close(): void {
    this.#pipes?.close();
    this.#pipes = undefined;
  }

  /** The kernel's error number, or undefined: no answer in time. */
  #ask(scope: string): string | undefined {
    const nowNs = this.#clock.monoNs();
    if (nowNs < this.#notBeforeNs) return undefined;
    this.#pipes ??= this.#open();
    const pipes = this.#pipes;
    if (pipes === undefined) return this.#rest(nowNs);
    const no = ++this.#lastNo;
    const deadlineNs = nowNs + TURN_NS;
    if (!pipes.write(`${no} ${deadlineNs} ${scope}\n`)) {
      this.close();
      return this.#rest(nowNs);
    }
    for (let looks = 0; ; looks++) {
      const errno = this.#answerTo(no)?.[0];
      if (errno !== undefined) return errno;
      const laterNs = this.#clock.monoNs();
      if (laterNs > deadlineNs) return this.#rest(laterNs);
      if (looks >= LOOKS_AT_ONCE) pipes.pause(PAUSE_US);
    }
  }

  #rest(nowNs: bigint): undefined {
    this.#notBeforeNs = nowNs + REST_NS;
    return undefined;
  }

  /**
   * The words at the place of a number; undefined while another's answer lies there. The number stands at
   * both ends, because a look may meet the program while it writes.
   */
  #answerTo(no: bigint): readonly string[] | undefined {
    const text = this.#pipes?.look(Number(no % PLACES)) ?? "";
    if (!text.startsWith(`${no} `)) return undefined;
    const words = text.trimEnd().split(" ");
    return words.at(-1) === words[0] ? words.slice(1, -1) : undefined;
  }
}
