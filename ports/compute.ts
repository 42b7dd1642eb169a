/** Why a computation has no result. `busy`: the queue is full and the task never ran. */
export class ComputeFault extends Error {
  readonly code: "deadline" | "busy" | "failed";
  constructor(code: ComputeFault["code"], message: string, options?: { cause: unknown }) {
    super(`${code}: ${message}`, options);
    this.name = "ComputeFault";
    this.code = code;
  }
}

/** Work that would hold up a data loop, done elsewhere. Input and output are structured-cloneable. */
export type Compute<Input, Output> = {
  /** Rejects with ComputeFault. After `deadlineMs` the work is abandoned and its worker ended if hung. */
  run(input: Input, deadlineMs: number): Promise<Output>;
  close(): Promise<void>;
};
