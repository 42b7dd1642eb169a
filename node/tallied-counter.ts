import { Counter, type CounterConfiguration } from "prom-client";

/** One combination of labels: what has been counted since the counter was read last. */
type Tally<L extends string> = { readonly labels: Readonly<Record<L, string>>; count: number };

/**
 * A counter of what every request counts. The library looks its labels up by a text that it makes of
 * them, each time; here that is done when somebody reads the counter.
 */
export class TalliedCounter<L extends string> {
  readonly #tallies = new Map<string, Tally<L>>();

  constructor(config: Omit<CounterConfiguration<L>, "collect">) {
    const tallies = this.#tallies;
    new Counter({
      ...config,
      collect() {
        for (const tally of tallies.values()) {
          this.inc(tally.labels, tally.count);
          tally.count = 0;
        }
      },
    });
  }

  /**
   * @param key Tells the combination of labels from all others.
   * @param labels Called once for each key.
   */
  add(key: string, labels: () => Readonly<Record<L, string>>, count = 1): void {
    const known = this.#tallies.get(key);
    if (known !== undefined) known.count += count;
    else this.#tallies.set(key, { labels: labels(), count });
  }
}
