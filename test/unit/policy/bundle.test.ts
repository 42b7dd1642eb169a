import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, JSON_DEPTH_MAX, type PlainJson } from "../../../policy/canonical-json.ts";
import { BUNDLE_BYTES_MAX } from "../../../policy/defaults.ts";
import { readBundle } from "../../../policy/read-bundle.ts";
import { readPolicy } from "../../../policy/read-policy.ts";
import { canonicalJson as auditCanonicalJson } from "../../../proto/jcs.ts";
import { changed, PLAIN_SCANNER, SOUND_POLICY } from "./policy-texts.ts";

const demo = readFileSync(new URL("../../../cli/demo/policy.yaml", import.meta.url), "utf8");
const everyField = readFileSync(new URL("./every-field.yaml", import.meta.url), "utf8");

function bundleOf(text: string): Uint8Array<ArrayBuffer> {
  const scanner = { ...PLAIN_SCANNER, boundOf: () => ({ ok: true as const, bytesMax: 20 }) };
  const detectors = new Set(["pci", "secret", "email-address"]);
  const result = readPolicy(text, { file: "p.yaml", scanner: { ...scanner, detectors } });
  if (!result.ok) throw new Error(JSON.stringify(result.findings));
  return result.bundle;
}

function jsonOf(text: string) {
  return JSON.parse(new TextDecoder().decode(bundleOf(text)));
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("round trip", () => {
  test.each([
    ["the sound policy", SOUND_POLICY],
    ["the demo's policy", demo],
    ["a policy with every field", everyField],
  ])("a bundle says what %s says", (_title, text) => {
    const scanner = {
      ...PLAIN_SCANNER,
      boundOf: () => ({ ok: true as const, bytesMax: 20 }),
      detectors: new Set(["pci", "secret", "email-address"]),
    };
    const file = readPolicy(text, { file: "p.yaml", scanner });
    if (!file.ok) throw new Error(JSON.stringify(file.findings));
    const bundle = readBundle(file.bundle, scanner);
    if (!bundle.ok) throw new Error(JSON.stringify(bundle.findings));
    expect(bundle.document).toEqual(file.document);
  });

  test("the order of a file's fields does not change the bundle", () => {
    const models = "  openai/gpt-5-mini: {}\n  openai/gpt-5: {}\n";
    const other = changed(models, "  openai/gpt-5: {}\n  openai/gpt-5-mini: {}\n");
    expect(bundleOf(other)).toEqual(bundleOf(SOUND_POLICY));
  });

  test("a bundle needs no catalogue: each model has its price in it", () => {
    expect(jsonOf(SOUND_POLICY).models["openai/gpt-5-mini"]).toEqual({
      aliases: [],
      by_own_name: true,
      distrust: "1.1",
      max_output_tokens: 128_000,
      price: {
        cache_write_usd_per_mtok: "0.25",
        cached_input_usd_per_mtok: "0.025",
        fixed_usd_per_call: "0.00",
        input_usd_per_mtok: "0.25",
        output_usd_per_mtok: "2.00",
        tokens_fixed: 64,
        tokens_per_message: 8,
        tokens_per_tool: 32,
      },
      upstream_name: "gpt-5-mini",
    });
  });

  test("names that JSON parsers reorder or special-case keep their place", () => {
    const text = changed(
      "      worker-1: {}",
      '      "10": {}\n      "9": { tools: { __proto__: [call] } }',
    );
    const bundle = readBundle(bundleOf(text));
    if (!bundle.ok) throw new Error(JSON.stringify(bundle.findings));
    const agents = bundle.document.teams.get("research")?.agents;
    expect([...(agents?.keys() ?? [])].sort()).toEqual(["10", "9"]);
    expect(agents?.get("9")?.tools?.get("__proto__")).toEqual(["call"]);
  });
});

describe("a bundle is refused", () => {
  const sound = new TextDecoder().decode(bundleOf(SOUND_POLICY));

  test("as it is, it is taken", () => {
    expect(readBundle(bytes(sound)).ok).toBe(true);
  });

  test.each([
    ["white space", sound.replace(",", ", ")],
    ["a line's end", `${sound}\n`],
    ["a byte order mark", `\ufeff${sound}`],
    ["a key twice", sound.replace('{"classification"', '{"shadow":[],"classification"')],
    [
      "keys out of order",
      sound.replace('{"agents"', '{"rate":{},"agents"').replace(',"rate":{}}', "}"),
    ],
    ["a number in another spelling", sound.replace('"format":1', '"format":1.0')],
    ["a needless escape", sound.replace("internal", "\\u0069nternal")],
    ["the end missing", sound.slice(0, -1)],
    ["nothing", ""],
    ["another value", "null"],
    ["depth without end", "[".repeat(100_000) + "]".repeat(100_000)],
    ["depth beyond any bundle", "[".repeat(JSON_DEPTH_MAX + 2) + "]".repeat(JSON_DEPTH_MAX + 2)],
  ])("with %s", (_title, text) => {
    expect(text).not.toBe(sound);
    expect(readBundle(bytes(text)).ok).toBe(false);
  });

  test("when it is not UTF-8", () => {
    const bundle = bytes(sound);
    bundle[sound.indexOf("api.openai")] = 0xff;
    expect(readBundle(bundle).ok).toBe(false);
  });

  test("when it is over the size that the mesh carries", () => {
    const result = readBundle(new Uint8Array(BUNDLE_BYTES_MAX + 1));
    expect(result.ok ? [] : result.findings.map(({ code }) => code)).toEqual(["too_large"]);
  });

  test("with any one of its fields left out, or one too many anywhere", () => {
    const optional = [/\.region$/, /\.(budget|rate|defaults)$/, /\.defaults\./, /\.usd(\.|$)/];
    const lists = [/^classification\.labels\./, /^models\.[^.]+$/, /^teams\.[^.]+(\.agents\..*)?$/];
    const free = [...optional, ...lists, /^content\.0\.label$/, /\.agents$/];
    let checked = 0;
    for (const path of memberPaths(JSON.parse(sound))) {
      const without = JSON.parse(sound);
      const { parent, key } = find(without, path);
      delete parent[key];
      if (!free.some((pattern) => pattern.test(path.join(".")))) {
        expect(readBundle(bytes(canonicalJson(without))).ok, `without ${path.join(".")}`).toBe(
          false,
        );
        checked++;
      }
      const more = JSON.parse(sound);
      const map = find(more, path).parent;
      if (Array.isArray(map)) continue;
      map["Not A Field"] = 1;
      expect(readBundle(bytes(canonicalJson(more))).ok, `one more in ${path.join(".")}`).toBe(
        false,
      );
    }
    expect(checked).toBeGreaterThan(50);
  });

  test("with a field that only files have", () => {
    const json = jsonOf(SOUND_POLICY);
    json.providers.openai.price_list = "openai";
    const result = readBundle(bytes(canonicalJson(json)));
    expect(result.ok ? [] : result.findings.map(({ code, path }) => [code, path])).toEqual([
      ["unknown_field", "providers.openai.price_list"],
    ]);
  });

  test("with a model that has no price", () => {
    const json = jsonOf(SOUND_POLICY);
    delete json.models["openai/gpt-5"].price;
    const result = readBundle(bytes(canonicalJson(json)));
    expect(result.ok ? [] : result.findings.map(({ code, path }) => [code, path])).toEqual([
      ["unpriced_model", "models.openai/gpt-5"],
    ]);
  });
});

describe("canonical JSON", () => {
  test("agrees with the audit log's, which has the vectors of RFC 8785", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const text = auditCanonicalJson(value);
        expect(canonicalJson(value as PlainJson)).toBe(text);
      }),
    );
  });
});

type Members = Record<string, unknown>;

/** Every member of every object, by its keys. */
function memberPaths(value: unknown, path: readonly string[] = []): readonly string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) => {
    const inner = memberPaths(member, [...path, key]);
    return Array.isArray(value) ? inner : [[...path, key], ...inner];
  });
}

function find(root: unknown, path: readonly string[]): { parent: Members; key: string } {
  let parent = root as Members;
  for (const key of path.slice(0, -1)) parent = parent[key] as Members;
  return { parent, key: path.at(-1) as string };
}
