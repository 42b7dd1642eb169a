import type { Histogram, Metric, Registry } from "prom-client";

type Config<L extends string> = {
  readonly name: string;
  readonly help: string;
  readonly labelName: L;
  /** Upper bounds, ascending. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
};

/** Of one value of the label. */
type Tally = { readonly counts: number[]; sum: number };

/**
 * A histogram with one label, for what every request tells. The library makes some objects and a text for each
 * value that it is told; here a value is two additions, and buckets become labels when they are read.
 */
export class TalliedHistogram<L extends string> {
  readonly #config: Config<L>;
  readonly #tallies = new Map<string, Tally>();

  constructor(config: Config<L>) {
    this.#config = config;
    const { name, help } = config;
    const metric = { name, help, type: "histogram", aggregator: "sum", get: () => this.#json() };
    config.registry.registerMetric(metric as unknown as Metric<L>);
  }

  observe(label: string, value: number): void {
    let tally = this.#tallies.get(label);
    const { buckets } = this.#config;
    if (tally === undefined) {
      tally = { counts: new Array<number>(buckets.length + 1).fill(0), sum: 0 };
      this.#tallies.set(label, tally);
    }
    let at = 0;
    while (at < buckets.length && value > (buckets[at] as number)) at++;
    tally.counts[at] = (tally.counts[at] as number) + 1;
    tally.sum += value;
  }

  /** As `Histogram.get` says it. */
  async #json(): ReturnType<Histogram<L>["get"]> {
    const { name, help, labelName, buckets } = this.#config;
    const values = [...this.#tallies].flatMap(([label, { counts, sum }]) => {
      const own = { [labelName]: label } as Record<L, string>;
      let count = 0;
      const bounded = counts.map((n, at) => {
        count += n;
        const labels = { le: buckets[at] ?? "+Inf", ...own };
        return { value: count, labels, metricName: `${name}_bucket` };
      });
      return [
        ...bounded,
        { value: sum, labels: own, metricName: `${name}_sum` },
        { value: count, labels: own, metricName: `${name}_count` },
      ];
    });
    return { name, help, type: "histogram", values, aggregator: "sum" } as never;
  }
}
