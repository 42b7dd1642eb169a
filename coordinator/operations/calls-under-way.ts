import type { OwnEntry } from "./operations-log.ts";

/** Calls that wait to be written down; what comes beyond is refused. */
const CALLS_WAITING_MAX = 10_000;

type Waiting = {
  readonly call: OwnEntry;
  readonly tell: (fault: string | undefined) => void;
};

/** Calls on their way to the log: while some are being written, others gather for the next write. */
export class CallsUnderWay {
  readonly #send: (calls: readonly OwnEntry[]) => void;
  #gathered: Waiting[] = [];
  #sent: readonly Waiting[] = [];
  #isEnded = false;
  #onIdle: () => void = () => undefined;

  constructor(send: (calls: readonly OwnEntry[]) => void) {
    this.#send = send;
  }

  /** Resolves once the call is on the disk; to the words of a fault where that is not known. */
  add(call: OwnEntry): Promise<string | undefined> {
    if (this.#isEnded) return Promise.resolve(ENDED);
    if (this.#gathered.length >= CALLS_WAITING_MAX) return Promise.resolve("too many calls wait");
    return new Promise((tell) => {
      this.#gathered.push({ call, tell });
      this.#sendNext();
    });
  }

  /** What was sent last is on the disk, or has failed. */
  written(fault: string | undefined): void {
    for (const { tell } of this.#sent) tell(fault);
    this.#sent = [];
    this.#sendNext();
    if (this.#sent.length === 0) this.#onIdle();
  }

  /** Resolves once nothing waits any more. */
  async drained(): Promise<void> {
    if (this.#sent.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** Nobody writes any more. */
  end(): void {
    this.#isEnded = true;
    const gathered = this.#gathered;
    this.#gathered = [];
    this.written(ENDED);
    for (const { tell } of gathered) tell(ENDED);
  }

  #sendNext(): void {
    if (this.#sent.length > 0 || this.#gathered.length === 0) return;
    this.#sent = this.#gathered;
    this.#gathered = [];
    this.#send(this.#sent.map(({ call }) => call));
  }
}

const ENDED = "the thread of logs has ended";
