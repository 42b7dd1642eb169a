import { describe, expect, test } from "vitest";
import { lookUpPrice, PRICE_CATALOGUE } from "../../../policy/price-catalogue.ts";
import { parseScope } from "../../../proto/ids.ts";

const entries = [...PRICE_CATALOGUE.providers].flatMap(([provider, models]) =>
  [...models].map(([model, entry]) => ({ provider, model, entry })),
);

describe("the snapshot", () => {
  test("says when and from what it was taken", () => {
    expect(PRICE_CATALOGUE.date).toMatch(/^20[0-9]{2}-[0-9]{2}-[0-9]{2}$/);
    expect(PRICE_CATALOGUE.source).toMatch(/^@pydantic\/genai-prices [0-9.]+$/);
  });

  test.each([
    // Published prices, US dollars per million tokens.
    ["openai", "gpt-5", "1.25", "0.125", "10"],
    ["openai", "gpt-5-mini", "0.25", "0.025", "2"],
    ["openai", "gpt-4o", "2.5", "1.25", "10"],
    ["openai", "gpt-4o-mini", "0.15", "0.075", "0.6"],
    ["anthropic", "claude-haiku-4-5", "1", "0.1", "5"],
    ["anthropic", "claude-haiku-4-5-20251001", "1", "0.1", "5"],
    ["anthropic", "claude-sonnet-4-5", "3", "0.3", "15"],
    ["anthropic", "claude-opus-4-1", "15", "1.5", "75"],
  ])("has %s/%s at %s, %s and %s", (provider, model, input, cached, output) => {
    const micros = (usd: string) => Math.round(Number(usd) * 1e6);
    expect(lookUpPrice(PRICE_CATALOGUE, { provider, model })).toMatchObject({
      inputMicrosPerMtok: micros(input),
      cachedInputMicrosPerMtok: micros(cached),
      outputMicrosPerMtok: micros(output),
    });
  });

  test("charges Anthropic's cache writes a quarter above input", () => {
    const sonnet = lookUpPrice(PRICE_CATALOGUE, {
      provider: "anthropic",
      model: "claude-sonnet-4-5",
    });
    expect(sonnet?.cacheWriteMicrosPerMtok).toBe(3_750_000);
  });

  test("leaves out a step of prices that a context window ends before", () => {
    const of = { provider: "anthropic", model: "claude-sonnet-4-5" };
    expect(lookUpPrice(PRICE_CATALOGUE, of)?.longContext).toBeUndefined();
    const long = { provider: "openai", model: "gpt-5.4" };
    expect(lookUpPrice(PRICE_CATALOGUE, long)?.longContext?.aboveInputTokens).toBe(271_999);
  });

  test("matches names exactly", () => {
    for (const model of [
      "gpt-5-min",
      "gpt-5-mini-",
      "GPT-5-mini",
      "gpt-5-mini-x",
      "",
      "__proto__",
    ]) {
      expect(lookUpPrice(PRICE_CATALOGUE, { provider: "openai", model })).toBeUndefined();
    }
    expect(lookUpPrice(PRICE_CATALOGUE, { provider: "azure", model: "gpt-5" })).toBeUndefined();
  });

  test("holds integers that a policy may have, for models that a scope can name", () => {
    expect(entries.length).toBeGreaterThan(100);
    for (const { provider, model, entry } of entries) {
      const { longContext, ...numbers } = entry;
      for (const value of Object.values({ ...numbers, ...longContext })) {
        expect(Number.isSafeInteger(value) && value >= 0, `${provider}/${model}`).toBe(true);
      }
      expect(entry.cachedInputMicrosPerMtok).toBeLessThanOrEqual(entry.inputMicrosPerMtok);
      expect(longContext?.inputMicrosPerMtok ?? Infinity).toBeGreaterThanOrEqual(
        entry.inputMicrosPerMtok,
      );
      expect(longContext?.outputMicrosPerMtok ?? Infinity).toBeGreaterThanOrEqual(
        entry.outputMicrosPerMtok,
      );
      expect(parseScope(`distrust/${provider}/${model}`), `${provider}/${model}`).toBeDefined();
    }
  });

  test("has no model that costs more than its text", () => {
    const names = entries.map(({ model }) => model).join(" ");
    expect(names).not.toMatch(/audio|image|realtime|search|tts|whisper/);
  });
});
