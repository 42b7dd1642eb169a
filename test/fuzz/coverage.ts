import { type Profiler, Session } from "node:inspector";

/** Which blocks of the code under test have run, as the engine itself counts. */
export class Coverage implements Disposable {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    this.newBlocks();
  }

  /** Blocks known to have run. */
  get blocks(): number {
    return this.#seen.size;
  }

  /** How many blocks have run since the last look that never had before. */
  newBlocks(): number {
    const before = this.#seen.size;
    for (const block of this.#taken()) this.#seen.add(block);
    return this.#seen.size - before;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }

  #taken(): readonly string[] {
    let result: readonly Profiler.ScriptCoverage[] = [];
    // Within one thread the answer is there when the call returns.
    this.#session.post("Profiler.takePreciseCoverage", (error, answer) => {
      if (error === null) result = answer.result;
    });
    return result
      .filter(({ url }) => url.includes("/node/dataplane/"))
      .flatMap(({ scriptId, functions }) =>
        functions.flatMap(({ ranges }) =>
          ranges
            .filter(({ count }) => count > 0)
            .map(({ startOffset, endOffset }) => `${scriptId}:${startOffset}-${endOffset}`),
        ),
      );
  }
}
