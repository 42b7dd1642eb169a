import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { medianAndRange } from "./paired.ts";

const EVERY_MS = 1_000;

/** What one look at the machine took, microseconds by the clock. */
export type MachineSample = {
  /** SHA-256 of 64 KiB. */
  readonly hashUs: number;
  /** A byte over 127.0.0.1 and back, by one process. */
  readonly roundTripUs: number;
  /** 4 KiB written and synced (fdatasync). */
  readonly syncUs: number;
};

/**
 * Looks at the machine once a second while something else is measured: what a time of that minute is to be
 * compared with. A look takes a millisecond or so, in a process that is started before the bench yields its priority.
 */
export class MachineMeanwhile {
  readonly #sampler: ChildProcess;
  readonly #ended: Promise<undefined>;

  private constructor(sampler: ChildProcess) {
    this.#sampler = sampler;
    this.#ended = once(sampler, "exit").then(() => undefined);
  }

  static async start(everyMs = EVERY_MS): Promise<MachineMeanwhile> {
    const sampler = fork(join(import.meta.dirname, "machine-sampler.ts"), [String(everyMs)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const meanwhile = new MachineMeanwhile(sampler);
    if ((await meanwhile.#said()) === undefined) {
      throw new Error("whoever looks at the machine did not start");
    }
    return meanwhile;
  }

  /** Ends it, and returns what it saw: nothing, if it has ended by itself, since no bench is to be lost for that. */
  async end(): Promise<readonly MachineSample[]> {
    const said = this.#said();
    if (this.#sampler.connected) this.#sampler.send("end");
    return ((await said) as readonly MachineSample[] | undefined) ?? [];
  }

  /** What it says next; undefined: nothing, it has ended. */
  async #said(): Promise<unknown> {
    const [said] = (await Promise.race([once(this.#sampler, "message"), this.#ended])) ?? [];
    return said;
  }

  /** Ends it unheard, when what it looked beside has failed. */
  [Symbol.dispose](): void {
    if (this.#sampler.connected) this.#sampler.disconnect();
  }
}

/** In one line: medians, and the least and the most of the looks. */
export function describeMeanwhile(samples: readonly MachineSample[]): string {
  if (samples.length === 0) return "not looked at: less than a second";
  const each = (name: string, of: (sample: MachineSample) => number): string =>
    `${name} ${medianAndRange(samples.map(of), 0, "us")}`;
  return [
    each("SHA-256 of 64 KiB", ({ hashUs }) => hashUs),
    each("a byte over loopback and back", ({ roundTripUs }) => roundTripUs),
    each("4 KiB written and synced", ({ syncUs }) => syncUs),
    `${samples.length} looks`,
  ].join(", ");
}
