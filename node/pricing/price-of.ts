import type { PriceEntry } from "../../policy/compiled-policy.ts";

/** What a request is billed by: its model's price, or no more of it than what every call costs. */
export function priceOf(request: { readonly unbilled?: boolean }, price: PriceEntry): PriceEntry {
  const { fixedMicros, distrustMilli } = price;
  return request.unbilled ? { ...NO_TOKENS, fixedMicros, distrustMilli } : price;
}

/** The price entry with the distrust that bills have taught the mesh, if that is more. */
export function trustedPrice(price: PriceEntry, distrustMilli: number): PriceEntry {
  return distrustMilli > price.distrustMilli ? { ...price, distrustMilli } : price;
}

const NO_TOKENS: Omit<PriceEntry, "fixedMicros" | "distrustMilli"> = {
  inputMicrosPerMtok: 0,
  cachedInputMicrosPerMtok: 0,
  cacheWriteMicrosPerMtok: 0,
  outputMicrosPerMtok: 0,
  tokensPerMessage: 0,
  tokensPerTool: 0,
  tokensFixed: 0,
};
