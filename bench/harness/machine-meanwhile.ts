import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { median } from "./paired.ts";

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

  private constructor(sampler: ChildProcess) {
    this.#sampler = sampler;
  }

  static async start(everyMs = EVERY_MS): Promise<MachineMeanwhile> {
    const sampler = fork(join(import.meta.dirname, "machine-sampler.ts"), [String(everyMs)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const ended = once(sampler, "exit");
    const first = await Promise.race([once(sampler, "message"), ended.then(() => undefined)]);
    if (first === undefined) throw new Error("whoever looks at the machine did not start");
    return new MachineMeanwhile(sampler);
  }

  /** Ends it, and returns what it saw. */
  async end(): Promise<readonly MachineSample[]> {
    const said = once(this.#sampler, "message");
    this.#sampler.send("end");
    const [samples] = (await said) as [MachineSample[]];
    return samples;
  }

  /** Ends it unheard, when what it looked beside has failed. */
  [Symbol.dispose](): void {
    if (this.#sampler.connected) this.#sampler.disconnect();
  }
}

/** In one line: medians, and the least and the most of the looks. */
export function describeMeanwhile(samples: readonly MachineSample[]): string {
  if (samples.length === 0) return "not looked at: less than a second";
  const each = (name: string, of: (sample: MachineSample) => number): string => {
    const sorted = samples.map(of).toSorted((one, other) => one - other);
    const [least, most] = [sorted[0], sorted.at(-1)].map((us) => us?.toFixed(0));
    return `${name} ${median(sorted).toFixed(0)} us (${least} to ${most})`;
  };
  return [
    each("SHA-256 of 64 KiB", ({ hashUs }) => hashUs),
    each("a byte over loopback and back", ({ roundTripUs }) => roundTripUs),
    each("4 KiB written and synced", ({ syncUs }) => syncUs),
    `${samples.length} looks`,
  ].join(", ");
}
