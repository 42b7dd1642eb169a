import { isName, parseScope } from "../proto/ids.ts";
import { isRegionCode } from "../proto/region-code.ts";
import { BASE_URL_GRAMMAR, parseBaseUrl } from "./base-url.ts";
import type { LongContextPrice, PriceEntry } from "./compiled-policy.ts";
import * as defaults from "./defaults.ts";
import {
  type Field,
  type FieldMap,
  readBoolean,
  readEntries,
  readInteger,
  readListOf,
  readMap,
  readMatching,
  readParsed,
  readReference,
  readText,
  readWord,
} from "./field-reader.ts";
import { parseMilli, parseUsdMicros } from "./money.ts";
import { isPlainName } from "./pattern.ts";
import type { ModelDocument, ProviderDocument } from "./policy-document.ts";
import { type CatalogueEntry, lookUpPrice } from "./price-catalogue.ts";
import { type Reading, readOptional, readOr, readRequired } from "./reading.ts";
import { didYouMean } from "./suggestion.ts";

export const PROVIDER_FIELDS = [
  "dialect",
  "base_url",
  "credential",
  "credential_of",
  "region",
  "clearance",
  // Only in a file: a bundle holds the prices themselves.
  "price_list",
] as const;
export const MODEL_FIELDS = [
  "aliases",
  "by_own_name",
  "upstream_name",
  "max_output_tokens",
  "price",
  "distrust",
  "sessions",
] as const;
const FOUR_PRICES = [
  "input_usd_per_mtok",
  "cached_input_usd_per_mtok",
  "cache_write_usd_per_mtok",
  "output_usd_per_mtok",
] as const;
export const PRICE_FIELDS = [
  ...FOUR_PRICES,
  "fixed_usd_per_call",
  "tokens_per_message",
  "tokens_per_tool",
  "tokens_fixed",
  "long_context",
] as const;
export const LONG_CONTEXT_FIELDS = ["above_input_tokens", ...FOUR_PRICES] as const;

const DIALECTS = ["openai", "anthropic", "gemini", "mcp"] as const;
const CREDENTIAL_OWNERS = ["all", "team"] as const;
const UPSTREAM_NAME = /^[\x21-\x7e]{1,128}$/;
const MONEY_GRAMMAR = 'an amount in US dollars such as "12.50", of at most six decimal places';
const TOKENS = { min: 0, max: 1_000_000_000 };
const SURCHARGE_TOKENS = { min: 0, max: 1_000_000 };

/** A provider as its file has it: where its prices are looked up is not part of the document. */
export type ReadProvider = ProviderDocument & { readonly priceList: string };

export function readProviders(
  field: Field,
  reading: Reading & { readonly levels: readonly string[] },
): ReadonlyMap<string, ReadProvider> {
  const providers = new Map<string, ReadProvider>();
  for (const [name, entry] of readEntries(field) ?? []) {
    if (!isName(name)) entry.findings.error(entry, "malformed", "is not a name of [a-z0-9-]");
    const map = readMap(entry, reading.complete ? PROVIDER_FIELDS.slice(0, -1) : PROVIDER_FIELDS);
    if (map !== undefined) providers.set(name, readProvider(map, { ...reading, name }));
  }
  if (providers.size > defaults.PROVIDERS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.PROVIDERS_MAX} providers`);
  }
  return providers;
}

function readProvider(
  map: FieldMap,
  { levels, name }: { readonly levels: readonly string[]; readonly name: string },
): ReadProvider {
  const isUrl = (text: string) => parseBaseUrl(text) !== undefined;
  const baseUrl = readRequired({ map, name: "base_url", fallback: "" }, (field) =>
    readMatching(field, isUrl, BASE_URL_GRAMMAR),
  );
  const region = map.get("region");
  const owner = map.get("credential_of");
  const priceList = map.get("price_list");
  return {
    dialect: readRequired({ map, name: "dialect", fallback: "openai" }, (field) =>
      readWord(field, DIALECTS),
    ),
    baseUrl: baseUrl.replace(/\/$/, ""),
    credential: readRequired({ map, name: "credential", fallback: "" }, (field) =>
      readMatching(field, isName, "a credential's name of [a-z0-9-]"),
    ),
    credentialOf: (owner && readWord(owner, CREDENTIAL_OWNERS)) ?? "all",
    region:
      region && readMatching(region, isRegionCode, 'an ISO 3166 code such as "US" or "US-CA"'),
    clearance: readRequired({ map, name: "clearance", fallback: "" }, (field) =>
      readReference(field, levels, "classification level"),
    ),
    priceList: (priceList && readText(priceList)) ?? name,
  };
}

export function readModels(
  field: Field,
  reading: Reading & { readonly providers: ReadonlyMap<string, ReadProvider> },
): ReadonlyMap<string, ModelDocument> {
  const models = new Map<string, ModelDocument>();
  for (const [id, entry] of readEntries(field) ?? []) {
    // The grammar of a scope, so that a distrust record can name every model.
    if (parseScope(`distrust/${id}`) === undefined) {
      const message = `must be provider/model, both of [a-z0-9._-] and at most 64 characters`;
      entry.findings.error(entry, "malformed", message);
      continue;
    }
    const map = readMap(entry, MODEL_FIELDS);
    const providerName = id.slice(0, id.indexOf("/"));
    const provider = reading.providers.get(providerName);
    if (provider === undefined) {
      const hint = didYouMean(providerName, reading.providers.keys());
      entry.findings.error(
        entry,
        "unknown_reference",
        `there is no provider "${providerName}"${hint}`,
      );
    } else if (map !== undefined) {
      models.set(id, readModel(map, { ...reading, id, provider }));
    }
  }
  if (models.size > defaults.MODELS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.MODELS_MAX} models`);
  }
  return models;
}

function readModel(
  map: FieldMap,
  reading: Reading & { readonly id: string; readonly provider: ReadProvider },
): ModelDocument {
  const ownName = reading.id.slice(reading.id.indexOf("/") + 1);
  const upstreamName = readOr(reading, { map, name: "upstream_name", fallback: ownName }, (field) =>
    readMatching(field, (text) => UPSTREAM_NAME.test(text), "a model's name"),
  );
  const catalogued =
    reading.catalogue &&
    lookUpPrice(reading.catalogue, { provider: reading.provider.priceList, model: upstreamName });
  const model = {
    aliases: readOr<readonly string[]>(
      reading,
      { map, name: "aliases", fallback: [] },
      readAliases,
    ),
    // Every MCP server's one model is called alike, and is asked for by its server.
    byOwnName: readOr(
      reading,
      { map, name: "by_own_name", fallback: reading.provider.dialect !== "mcp" },
      readBoolean,
    ),
    upstreamName,
    maxOutputTokens: readMaxOutput(map, catalogued),
    price: readModelPrice(map, { ...reading, catalogued, upstreamName }),
  };
  return { ...model, ...readSessions(map, { ...reading, price: model.price }) };
}

const SESSIONS = ["unread"] as const;

/** Nobody counts what is said in a session, so policy says what one costs, and that it may go unread. */
function readSessions(
  map: FieldMap,
  { provider, price }: { readonly provider: ReadProvider; readonly price: PriceEntry },
): Pick<ModelDocument, "sessions"> {
  const field = map.get("sessions");
  if (field === undefined) return {};
  if (provider.dialect !== "openai") {
    field.findings.error(field, "conflict", "only providers of the dialect openai have sessions");
  }
  if (price.fixedMicros === 0) {
    const message = 'needs "price" with "fixed_usd_per_call": that is what a session costs';
    field.findings.error(field, "unpriced_model", message);
  }
  const sessions = readWord(field, SESSIONS);
  return sessions === undefined ? {} : { sessions };
}

function readAliases(field: Field): readonly string[] | undefined {
  const isAlias = (text: string) => isPlainName(text) && text === text.toLowerCase();
  const aliases = readListOf(field, (item) =>
    readMatching(item, isAlias, "a model's name in lower case"),
  );
  if (aliases !== undefined && aliases.length > defaults.ALIASES_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.ALIASES_MAX} aliases`);
  }
  return aliases;
}

function readMaxOutput(map: FieldMap, catalogued: CatalogueEntry | undefined): number {
  if (map.get("max_output_tokens") === undefined && catalogued !== undefined) {
    return catalogued.maxOutputTokens;
  }
  return readRequired({ map, name: "max_output_tokens", fallback: 0 }, (field) =>
    readInteger(field, defaults.MAX_OUTPUT_TOKENS),
  );
}

function readModelPrice(
  map: FieldMap,
  reading: Reading & {
    readonly provider: ReadProvider;
    readonly catalogued: CatalogueEntry | undefined;
    readonly upstreamName: string;
  },
): PriceEntry {
  const distrustMilli = readOr(
    reading,
    { map, name: "distrust", fallback: defaults.DISTRUST_MILLI },
    readDistrust,
  );
  const own = map.get("price");
  const ownMap = own && readMap(own, PRICE_FIELDS);
  const dialect = reading.provider.dialect;
  if (ownMap !== undefined) return { ...readPrice(ownMap, { ...reading, dialect }), distrustMilli };
  if (own === undefined && reading.catalogued === undefined) {
    const list = `${reading.provider.priceList}/${reading.upstreamName}`;
    const message = reading.complete
      ? 'the field "price" is missing'
      : `the price catalogue has no "${list}", so the field "price" must say what it costs`;
    map.findings.error(map, "unpriced_model", message);
  }
  const { maxOutputTokens: _, ...prices } = reading.catalogued ?? {
    ...NO_PRICES,
    maxOutputTokens: 0,
  };
  return { ...prices, ...surcharges(dialect), distrustMilli };
}

/** Stands for a price whose absence was reported. */
const NO_PRICES = {
  inputMicrosPerMtok: 0,
  cachedInputMicrosPerMtok: 0,
  cacheWriteMicrosPerMtok: 0,
  outputMicrosPerMtok: 0,
} as const;

function surcharges(dialect: ProviderDocument["dialect"]) {
  return {
    fixedMicros: 0,
    tokensPerMessage: defaults.TOKENS_PER_MESSAGE,
    tokensPerTool: defaults.TOKENS_PER_TOOL,
    tokensFixed: defaults.TOKENS_FIXED[dialect],
  };
}

function readPrice(
  map: FieldMap,
  reading: Reading & { readonly dialect: ProviderDocument["dialect"] },
): Omit<PriceEntry, "distrustMilli"> {
  const standard = surcharges(reading.dialect);
  const tokens = (name: string, fallback: number) =>
    readOr(reading, { map, name, fallback }, (field) => readInteger(field, SURCHARGE_TOKENS));
  const prices = readFourPrices(map, reading);
  return {
    ...prices,
    fixedMicros: readOr(reading, { map, name: "fixed_usd_per_call", fallback: 0 }, readUsd),
    tokensPerMessage: tokens("tokens_per_message", standard.tokensPerMessage),
    tokensPerTool: tokens("tokens_per_tool", standard.tokensPerTool),
    tokensFixed: tokens("tokens_fixed", standard.tokensFixed),
    ...readOptional(map, { name: "long_context", as: "longContext" }, (field) =>
      readLongContext(field, { ...reading, prices }),
    ),
  };
}

type FourPrices = Omit<LongContextPrice, "aboveInputTokens">;

function readFourPrices(map: FieldMap, reading: Reading): FourPrices {
  const input = readRequired({ map, name: "input_usd_per_mtok", fallback: 0 }, readUsd);
  const cached = readOr(
    reading,
    { map, name: "cached_input_usd_per_mtok", fallback: input },
    readUsd,
  );
  const cachedField = map.get("cached_input_usd_per_mtok");
  if (cachedField !== undefined && cached > input) {
    map.findings.error(cachedField, "conflict", "is above the price of input that is not cached");
  }
  return {
    inputMicrosPerMtok: input,
    cachedInputMicrosPerMtok: cached,
    cacheWriteMicrosPerMtok: readOr(
      reading,
      { map, name: "cache_write_usd_per_mtok", fallback: input },
      readUsd,
    ),
    outputMicrosPerMtok: readRequired({ map, name: "output_usd_per_mtok", fallback: 0 }, readUsd),
  };
}

function readLongContext(
  field: Field,
  reading: Reading & { readonly prices: FourPrices },
): LongContextPrice | undefined {
  const map = readMap(field, LONG_CONTEXT_FIELDS);
  if (map === undefined) return undefined;
  const prices = readFourPrices(map, reading);
  for (const name of Object.keys(prices) as (keyof FourPrices)[]) {
    // A hold is made for more input than there will be, and so has to be the dearer of the two.
    if (prices[name] < reading.prices[name]) {
      const message = "a price of long context is below the ordinary one";
      field.findings.error(field, "conflict", message);
      break;
    }
  }
  const aboveInputTokens = readRequired(
    { map, name: "above_input_tokens", fallback: 0 },
    (tokens) => readInteger(tokens, TOKENS),
  );
  return { aboveInputTokens, ...prices };
}

function readUsd(field: Field): number | undefined {
  return readParsed(field, parseUsdMicros, MONEY_GRAMMAR);
}

function readDistrust(field: Field): number | undefined {
  const milli = readParsed(field, parseMilli, 'a ratio such as "1.1", of at most three places');
  if (milli === undefined) return undefined;
  if (milli >= defaults.DISTRUST_MILLI_MIN && milli <= defaults.DISTRUST_MILLI_MAX) return milli;
  field.findings.error(field, "out_of_range", "must be above 1, and at most 100");
  return undefined;
}
