import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { LADDER_CAUSES, TOOL_VERBS } from "../../../policy/compiled-policy.ts";
import { LIMITS } from "../../../policy/defaults.ts";
import {
  ACCOUNT_WINDOWS,
  ON_TOOL_NOT_GRANTED,
  SHADOW_STAGES,
} from "../../../policy/policy-document.ts";
import { ARGUMENT_FIELDS } from "../../../policy/read-arguments.ts";
import { BUDGET_FIELDS, RATE_FIELDS } from "../../../policy/read-budget.ts";
import {
  ACTIONS,
  CLASSIFICATION_FIELDS,
  CONTENT_FIELDS,
  DIRECTIONS,
  SEVERITIES,
} from "../../../policy/read-content.ts";
import { DOCUMENT_FIELDS } from "../../../policy/read-document.ts";
import {
  GRANT_FIELDS,
  HOURS_FIELDS,
  QUARANTINE_FIELDS,
  REGIONS_FIELDS,
} from "../../../policy/read-grant.ts";
import { BUDGET_PERCENT_FIELDS, LADDER_FIELDS, RUNGS } from "../../../policy/read-ladder.ts";
import {
  LONG_CONTEXT_FIELDS,
  MODEL_FIELDS,
  PRICE_FIELDS,
  PROVIDER_FIELDS,
} from "../../../policy/read-providers.ts";
import { TEAM_FIELDS } from "../../../policy/read-teams.ts";
import { TOOLS_FIELDS } from "../../../policy/read-tools.ts";
import { SOUND_POLICY } from "./policy-texts.ts";
import { type Schema, violations } from "./schema-violations.ts";

const folder = new URL("../../../", import.meta.url);
const textOf = (path: string) => readFileSync(new URL(path, folder), "utf8");
const schema: Schema = JSON.parse(textOf("policy/policy.schema.json"));
const root = schema.properties ?? {};
const defs = schema.$defs ?? {};

describe("the published schema", () => {
  test.each<[string, Schema | undefined, readonly string[]]>([
    ["the document", schema, DOCUMENT_FIELDS],
    ["a provider", defs.provider, PROVIDER_FIELDS],
    ["a model", defs.model, MODEL_FIELDS],
    ["a price", defs.price, PRICE_FIELDS],
    ["a price of long context", defs.price?.properties?.long_context, LONG_CONTEXT_FIELDS],
    ["the classification", root.classification, CLASSIFICATION_FIELDS],
    ["a content rule", defs.content_rule, CONTENT_FIELDS],
    ["what holds of tools", root.tools, TOOLS_FIELDS],
    ["an argument's rule", defs.argument, ARGUMENT_FIELDS],
    ["a team", defs.team, TEAM_FIELDS],
    ["a grant", defs.grant, GRANT_FIELDS],
    ["hours", defs.hours, HOURS_FIELDS],
    ["regions", defs.grant?.properties?.regions, REGIONS_FIELDS],
    ["quarantine", defs.grant?.properties?.quarantine, QUARANTINE_FIELDS],
    ["a budget", defs.budget, Object.keys(BUDGET_FIELDS)],
    ["a budget of money", defs.budget?.properties?.usd, ACCOUNT_WINDOWS],
    ["a budget of counts", defs.counts, ACCOUNT_WINDOWS],
    ["a rate", defs.rate, Object.keys(RATE_FIELDS)],
    ["the ladder", root.ladder, LADDER_FIELDS],
    ["the ladder's points", root.ladder?.properties?.points, LADDER_CAUSES],
    ["the ladder's marks", root.ladder?.properties?.enter, RUNGS],
    ["the ladder's lower marks", root.ladder?.properties?.leave, RUNGS],
    ["the ladder's shares", root.ladder?.properties?.budget_percent, BUDGET_PERCENT_FIELDS],
    ["the limits", root.limits, Object.keys(LIMITS)],
  ])("has the fields of %s that the reader has, and no others", (_title, part, fields) => {
    expect(Object.keys(part?.properties ?? {}).toSorted()).toEqual([...fields].toSorted());
    expect(part?.additionalProperties).toBe(false);
  });

  test("has the words that the reader has", () => {
    expect(defs.content_rule?.properties?.direction?.enum).toEqual(DIRECTIONS);
    expect(defs.content_rule?.properties?.action?.enum).toEqual(ACTIONS);
    expect(defs.content_rule?.properties?.severity?.enum).toEqual(SEVERITIES);
    expect(root.shadow?.items?.enum).toEqual(Object.keys(SHADOW_STAGES));
    expect(root.ladder?.properties?.auto_kill?.items?.enum).toEqual([...LADDER_CAUSES]);
    const tools = defs.grant?.properties?.tools?.additionalProperties;
    expect(typeof tools === "object" && tools.items?.enum).toEqual([...TOOL_VERBS]);
    const verbs = root.tools?.properties?.verbs?.additionalProperties;
    expect(typeof verbs === "object" && verbs.enum).toEqual([...TOOL_VERBS]);
    const filter = defs.grant?.properties?.on_tool_not_granted;
    expect(filter?.enum).toEqual([...ON_TOOL_NOT_GRANTED]);
  });

  test("has the ranges of the limits that the reader has", () => {
    for (const [name, { min, max }] of Object.entries(LIMITS)) {
      expect(root.limits?.properties?.[name], name).toMatchObject({ minimum: min, maximum: max });
    }
  });

  test.each([
    ["the demo's policy", textOf("cli/demo/policy.yaml")],
    ["a policy with every field", textOf("test/unit/policy/every-field.yaml")],
    ["the sound policy", SOUND_POLICY],
  ])("takes %s", (_title, text) => {
    expect(violations(schema, parse(text))).toEqual([]);
  });

  test.each([
    ["region: US", "region: usa", "/providers/openai/region"],
    ['day: "10.00"', "day: 10.00", "/teams/research/budget/usd/day"],
    ["credential: openai", "credental: openai", "/providers/openai"],
    ["detector: pci", "detector: pci\n    pattern: a", "/content/0"],
    ["mon-fri 08:00-18:00", "weekdays", "/teams/research/defaults/hours"],
  ])("refuses %s as %s", (part, by, where) => {
    const places = violations(schema, parse(SOUND_POLICY.replace(part, by)));
    expect(places).not.toEqual([]);
    expect(places.every((place) => place.startsWith(where))).toBe(true);
  });

  test("is named in the first line of the demo's policy, from where that lies", () => {
    const [, path = ""] =
      /^# yaml-language-server: \$schema=(\S+)\n/.exec(textOf("cli/demo/policy.yaml")) ?? [];
    const named = new URL(path, new URL("cli/demo/", folder));
    expect(JSON.parse(readFileSync(named, "utf8"))).toEqual(schema);
  });
});
