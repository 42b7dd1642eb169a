import { parser } from "@prometheus-io/lezer-promql";

/** What a query in Prometheus's language asks for. */
export type PromQuery = {
  readonly metrics: readonly string[];
  /** Metrics whose growth over time is taken: only what never falls has one. */
  readonly growing: readonly string[];
  /** Labels that it groups by or selects by. */
  readonly labels: readonly string[];
  /** Labels that must have exactly this value. */
  readonly values: readonly (readonly [string, string])[];
};

/** Reads a query by Prometheus's own grammar. @throws Error It is none; the message says where. */
export function readPromQuery(text: string): PromQuery {
  const metrics: string[] = [];
  const growing: string[] = [];
  const labels: string[] = [];
  const values: [string, string][] = [];
  parser.parse(text).iterate({
    enter: ({ name, type, from, to, node }) => {
      if (type.isError) throw new Error(`${text}: not understood at ${from}`);
      const word = text.slice(from, to);
      if (name === "LabelName") labels.push(word);
      if (name === "UnquotedLabelMatcher" && node.getChild("MatchOp")?.getChild("EqlSingle")) {
        const [label = "", value = ""] = word.split("=");
        values.push([label.trim(), JSON.parse(value.trim()) as string]);
      }
      if (name !== "VectorSelector") return;
      const metric = node.getChild("Identifier");
      if (!metric) throw new Error(`${text}: names no metric`);
      const named = text.slice(metric.from, metric.to);
      metrics.push(named);
      if (node.parent?.name === "MatrixSelector") growing.push(named);
    },
  });
  return { metrics, growing, labels, values };
}

/** What a page of metrics holds: the type of each metric, and the labels of each sample. */
export class Scrape {
  readonly #types = new Map<string, string>();
  readonly #samples = new Map<string, Readonly<Record<string, string>>[]>();

  constructor(text: string) {
    for (const line of text.split("\n")) {
      const type = /^# TYPE (\S+) (\S+)/.exec(line);
      if (type) this.#types.set(type[1] as string, type[2] as string);
      const sample = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? \S+$/.exec(line);
      if (!sample) continue;
      const pairs = [...(sample[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      const labels = Object.fromEntries(pairs.map(([, label, value]) => [label, value]));
      const held = this.#samples.get(sample[1] as string) ?? [];
      this.#samples.set(sample[1] as string, [...held, labels]);
    }
  }

  /** Why the query would find nothing here, or something else than it means; empty when it would not. */
  lacks(text: string): readonly string[] {
    const query = readPromQuery(text);
    const samples = query.metrics.flatMap((metric) => this.#samples.get(metric) ?? []);
    const has = (is: (sample: Readonly<Record<string, string>>) => boolean) => samples.some(is);
    return [
      ...query.metrics.filter((one) => one !== SCRAPED && this.#typeOf(one) === undefined),
      ...query.growing.filter((metric) => this.#typeOf(metric) === "gauge"),
      ...query.labels.filter(
        (label) => !OF_PROMETHEUS.includes(label) && !has((sample) => label in sample),
      ),
      ...query.values.flatMap(([label, value]) =>
        has((sample) => sample[label] === value) ? [] : [`${label}=${value}`],
      ),
    ];
  }

  /** Parts of a histogram have its type. */
  #typeOf(metric: string): string | undefined {
    const whole = metric.replace(/_(bucket|count|sum)$/, "");
    return (
      this.#types.get(metric) ??
      (this.#types.get(whole) === "histogram" && this.#samples.has(metric)
        ? "histogram"
        : undefined)
    );
  }
}

/** Said of each target by who scrapes: whether it was to be had. */
const SCRAPED = "up";
/** Labels that are put on by who scrapes. */
const OF_PROMETHEUS: readonly string[] = ["instance", "job", "namespace", "pod"];
