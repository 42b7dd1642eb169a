import type { LongContextPrice } from "./compiled-policy.ts";
import snapshot from "./price-catalogue.json" with { type: "json" };
import signature from "./price-catalogue.sig.json" with { type: "json" };
import publicKey from "./price-maintainer.json" with { type: "json" };
import { flawOfPrices } from "./price-signature.ts";

/** A model's published prices, micro-dollars per million tokens, and its bound on output. */
export type CatalogueEntry = {
  readonly inputMicrosPerMtok: number;
  readonly cachedInputMicrosPerMtok: number;
  readonly cacheWriteMicrosPerMtok: number;
  readonly outputMicrosPerMtok: number;
  readonly longContext?: LongContextPrice;
  /** Tokens; the context window where the provider publishes no bound on output. */
  readonly maxOutputTokens: number;
};

/** Prices by provider and by the exact name that is sent to it. */
export type PriceCatalogue = {
  /** Day the prices were taken, ISO 8601. */
  readonly date: string;
  readonly source: string;
  readonly providers: ReadonlyMap<string, ReadonlyMap<string, CatalogueEntry>>;
};

let flaw: string | undefined | null = null;

/**
 * Why the snapshot of this version must not be used; `undefined` when it is as a maintainer signed it.
 * Whoever goes by its prices asks first. Looked at once in a process.
 */
export function priceCatalogueFlaw(): string | undefined {
  if (flaw === null) flaw = flawOfPrices({ snapshot, signature, publicKey });
  return flaw;
}

/** The snapshot that comes with this version. `npm run prices` takes and signs it. */
export const PRICE_CATALOGUE: PriceCatalogue = {
  date: snapshot.date,
  source: snapshot.source,
  providers: new Map(
    Object.entries(snapshot.providers).map(([provider, models]) => [
      provider,
      new Map<string, CatalogueEntry>(Object.entries(models)),
    ]),
  ),
};

/**
 * The entry of one model. Names match exactly: a model that is near to a priced one may cost ten
 * times as much, so nearness is no price.
 */
export function lookUpPrice(
  catalogue: PriceCatalogue,
  of: { readonly provider: string; readonly model: string },
): CatalogueEntry | undefined {
  return catalogue.providers.get(of.provider)?.get(of.model);
}
