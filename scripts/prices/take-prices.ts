import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

type Tiered = {
  readonly base: number;
  readonly tiers: readonly { start: number; price: number }[];
};
type Prices = Readonly<Record<string, number | Tiered | undefined>>;
type Match = { readonly equals?: string; readonly or?: readonly Match[] };
type Model = {
  readonly id: string;
  readonly match: Match;
  readonly context_window?: number;
  readonly deprecated?: boolean;
  readonly prices: Prices | readonly { constraint?: Constraint; prices: Prices }[];
};
type Constraint = { readonly type: string; readonly start_date?: string };
type Provider = { readonly models: readonly Model[] };
type PriceModule = {
  findProvider(options: { providerId: string }): Provider | undefined;
  calcPrice(usage: object, model: string, options: object): { model: Model } | null;
};

/** The package whose data the prices are. Nothing reads it at run time. */
export const PRICE_PACKAGE = "@pydantic/genai-prices";

/** Names that providers publish and the package matches only by a pattern. */
const PUBLISHED_NAMES: Readonly<Record<string, readonly string[]>> = {
  openai: [],
  anthropic: [
    "claude-3-5-haiku-20241022",
    "claude-3-5-haiku-latest",
    "claude-3-7-sonnet-20250219",
    "claude-3-7-sonnet-latest",
    "claude-3-haiku-20240307",
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-1-20250805",
    "claude-opus-4-20250514",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-sonnet-4-0",
    "claude-sonnet-4-20250514",
    "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
  ],
  // Without those whose prices are announced to change.
  google: [
    "gemini-2.0-flash",
    "gemini-2.0-flash-001",
    "gemini-2.0-flash-lite",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
    "gemini-3.1-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash",
    "gemini-3.5-flash-lite",
  ],
};

/**
 * Output bounds, which the package does not have, tokens. The first row whose start fits a name
 * counts; without one the context window bounds the output.
 *
 * @see https://platform.openai.com/docs/models
 * @see https://platform.claude.com/docs/en/about-claude/models/overview
 * @see https://ai.google.dev/gemini-api/docs/models
 */
const OUTPUT_TOKENS: readonly (readonly [start: string, tokens: number | undefined])[] = [
  ["text-embedding-", 0],
  ["gpt-5.5", undefined],
  ["gpt-5.6", undefined],
  ["gpt-5-chat", 16_384],
  ["gpt-5.1-chat", 16_384],
  ["gpt-5.2-chat", 16_384],
  ["gpt-5-pro", 272_000],
  ["gpt-5", 128_000],
  ["gpt-4.1", 32_768],
  ["gpt-4o-2024-05-13", 4096],
  ["gpt-4o", 16_384],
  ["gpt-4-turbo", 4096],
  ["gpt-3.5-turbo", 4096],
  ["o1-preview", 32_768],
  ["o1-mini", 65_536],
  ["o1", 100_000],
  ["o3", 100_000],
  ["o4", 100_000],
  ["claude-3-haiku", 4096],
  ["claude-3-5-haiku", 8192],
  // With a beta header the model writes more than its usual 64,000.
  ["claude-3-7-sonnet", 128_000],
  ["claude-opus-4-0", 32_000],
  ["claude-opus-4-2025", 32_000],
  ["claude-opus-4-1", 32_000],
  ["claude-opus-4-5", 64_000],
  ["claude-opus-4-", 128_000],
  ["claude-sonnet-4-6", 128_000],
  ["claude-sonnet-4-", 64_000],
  ["claude-haiku-4-5", 64_000],
  ["gemini-embedding-", 0],
  ["gemini-2.0-flash", 8192],
  ["gemini-2.5-", 65_536],
  ["gemini-3", 65_536],
];

/** Models that are priced for more than text: what they cost is not in an entry of four prices. */
const NOT_TEXT =
  /audio|image|vision|realtime|transcribe|tts|whisper|search-preview|research|computer-use/;
/** Spellings of other hosts (`gpt-35-turbo`, `gpt-5-1`), and models that are served elsewhere. */
const NOT_SERVED =
  /^gpt-35-|^gpt-\d-\d(?:-|$)|^gpt-oss-|^gemini-(?:pro|1|flash)|^gemini-2\.5-flash-preview$/;
/** Keys of a price that an entry carries, or that belong to what dialects refuse. */
const KNOWN_KEYS = new Set([
  "input_mtok",
  "output_mtok",
  "cache_read_mtok",
  "cache_write_mtok",
  // One-hour cache writes and server-side searches are parameters that are refused as unpriced.
  "cache_write_1h_mtok",
  "web_searches_kcount",
  "storage_searches_kcount",
  // Sound in is refused too.
  "input_audio_mtok",
  "cache_audio_read_mtok",
]);
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/**
 * Makes a snapshot of the prices in force on a day.
 *
 * @param folder Where the package is installed.
 * @param today ISO 8601 date.
 */
export async function takePrices(
  folder: string,
  today: string,
): Promise<{ readonly date: string; readonly source: string; readonly providers: object }> {
  const place = join(folder, "node_modules", PRICE_PACKAGE);
  const manifest = JSON.parse(await readFile(join(place, "package.json"), "utf8"));
  const prices: PriceModule = await import(pathToFileURL(join(place, manifest.module)).href);
  const providers: Record<string, Record<string, object>> = {};
  for (const [providerId, published] of Object.entries(PUBLISHED_NAMES)) {
    const provider = prices.findProvider({ providerId });
    if (provider === undefined) throw new Error(`${PRICE_PACKAGE} has no provider ${providerId}`);
    providers[providerId] = entriesOf(provider, { providerId, published, prices, today });
  }
  return { date: today, source: `${PRICE_PACKAGE} ${manifest.version}`, providers };
}

type Taking = {
  readonly providerId: string;
  readonly published: readonly string[];
  readonly prices: PriceModule;
  readonly today: string;
};

function entriesOf(
  provider: Provider,
  { providerId, published, prices, today }: Taking,
): Record<string, object> {
  const models = new Map<string, Model>();
  for (const model of provider.models) {
    if (!ownsModel(providerId, model)) continue;
    for (const name of exactNames(model.match)) models.set(name, model);
  }
  for (const name of published) {
    const found = prices.calcPrice({ input_tokens: 1 }, name, { providerId });
    if (found === null) throw new Error(`${PRICE_PACKAGE} has no price for ${providerId}/${name}`);
    models.set(name, found.model);
  }
  const entries = [...models]
    .filter(([name]) => NAME.test(name) && !NOT_TEXT.test(name) && !NOT_SERVED.test(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, model]) => {
      const entry = entryOf(name, model, today);
      return entry === undefined ? [] : [[name, entry] as const];
    });
  return Object.fromEntries(entries);
}

/** Google's platform also serves other makers' models, though not under the API that is spoken here. */
function ownsModel(providerId: string, { id }: Model): boolean {
  return providerId !== "google" || id.startsWith("gemini-");
}

function entryOf(name: string, model: Model, today: string): object | undefined {
  const prices = pricesOf(model, today);
  const known = Object.keys(prices).every((key) => KNOWN_KEYS.has(key));
  if (prices.input_mtok === undefined || !known) return undefined;
  const row = OUTPUT_TOKENS.find(([start]) => name.startsWith(start));
  const maxOutputTokens = row?.[1] ?? model.context_window;
  // Without an output price a model writes nothing; without a bound there is no worst case.
  if (maxOutputTokens === undefined) return undefined;
  if (prices.output_mtok === undefined && maxOutputTokens > 0) return undefined;

  const starts = new Set(
    Object.values(prices)
      .flatMap((price) => (typeof price === "object" ? price.tiers : []))
      .map((tier) => tier.start)
      // A tier that starts at the end of the context window can never be reached.
      .filter((start) => start < (model.context_window ?? Number.POSITIVE_INFINITY)),
  );
  if (starts.size > 1) throw new Error(`${name}: prices with more than two steps`);
  const [aboveInputTokens] = starts;
  return {
    ...fourPrices(prices, 0),
    ...(aboveInputTokens === undefined
      ? {}
      : { longContext: { aboveInputTokens, ...fourPrices(prices, aboveInputTokens + 1) } }),
    maxOutputTokens,
  };
}

/** What is in force today: the last row whose date has come. */
function pricesOf(model: Model, today: string): Prices {
  if (!Array.isArray(model.prices)) return model.prices as Prices;
  const rows = model.prices as readonly { constraint?: Constraint; prices: Prices }[];
  const current = rows.filter(
    ({ constraint }) => constraint === undefined || (constraint.start_date ?? "9999") <= today,
  );
  // Prices that change with the hour of the day have no one worst case here.
  const dated = rows.every(({ constraint }) => constraint?.type !== "time_of_date");
  return (dated ? current.at(-1)?.prices : undefined) ?? {};
}

function fourPrices(prices: Prices, inputTokens: number): object {
  const at = (key: string): number | undefined => {
    const price = prices[key];
    if (typeof price !== "object") return price === undefined ? undefined : microsPerMtok(price);
    const tier = price.tiers.findLast(({ start }) => inputTokens > start);
    return microsPerMtok(tier?.price ?? price.base);
  };
  const input = at("input_mtok") as number;
  return {
    inputMicrosPerMtok: input,
    // Where the provider publishes no price of its own for these, they are ordinary input.
    cachedInputMicrosPerMtok: at("cache_read_mtok") ?? input,
    cacheWriteMicrosPerMtok: at("cache_write_mtok") ?? input,
    outputMicrosPerMtok: at("output_mtok") ?? 0,
  };
}

/** US dollars as the package has them, decimal numbers of few places, as exact micro-dollars. */
function microsPerMtok(usd: number): number {
  const micros = Math.round(usd * 1e6);
  if (Math.abs(usd * 1e6 - micros) > 1e-3)
    throw new Error(`${usd} USD is finer than a micro-dollar`);
  return micros;
}

function exactNames(match: Match): readonly string[] {
  if (match.equals !== undefined) return [match.equals];
  return (match.or ?? []).flatMap(exactNames);
}
