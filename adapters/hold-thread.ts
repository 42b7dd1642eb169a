/** Nobody else has it, so nobody ends a wait on it. */
const NOTHING = new Int32Array(new SharedArrayBuffer(4));

/** Holds the calling thread up. Until then it hears of nothing; `terminate` ends it all the same. */
export function holdThread(ms: number): void {
  Atomics.wait(NOTHING, 0, 0, ms);
}
