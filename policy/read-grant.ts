import { COUNTRY_GROUPS } from "../proto/country-codes.ts";
import { isRegionCode } from "../proto/region-code.ts";
import { type HoursWindow, TOOL_VERBS, type ToolVerb } from "./compiled-policy.ts";
import * as defaults from "./defaults.ts";
import {
  type Field,
  type FieldMap,
  readEntries,
  readInteger,
  readList,
  readListOf,
  readMap,
  readMatching,
  readReference,
  readText,
  readWord,
  required,
  shorten,
} from "./field-reader.ts";
import { isHostPattern } from "./hosts.ts";
import { checkTimeZone } from "./hours.ts";
import { joinMinutes, parseWindow, WINDOW_GRAMMAR } from "./hours-grammar.ts";
import { isPattern } from "./pattern.ts";
import { isNodePattern } from "./placed-on.ts";
import {
  AUDIT_MODES,
  type GrantDocument,
  type HoursDocument,
  ON_TOOL_NOT_GRANTED,
  ON_UNAFFORDABLE,
  type RegionsDocument,
} from "./policy-document.ts";
import { readBudget, readRate } from "./read-budget.ts";
import { readOptional } from "./reading.ts";

export const GRANT_FIELDS = [
  "budget",
  "rate",
  "models",
  "tools",
  "on_tool_not_granted",
  "hosts",
  "nodes",
  "hours",
  "regions",
  "clearance",
  "quarantine",
  "max_output_tokens_default",
  "on_unaffordable",
  "clamp_floor_tokens",
  "audit",
] as const;
export const HOURS_FIELDS = ["timezone", "windows"] as const;
export const REGIONS_FIELDS = ["source", "processing"] as const;
export const QUARANTINE_FIELDS = ["models"] as const;
/** What `hours` says where the whole week is meant. */
export const ALWAYS = "always";

/** At least 1: an output limit of nothing is no answer. */
const OUTPUT_TOKENS = { min: 1, max: defaults.MAX_OUTPUT_TOKENS.max };

/** Reads what one agent, or each agent of a team, may do. */
export function readGrant(field: Field, levels: readonly string[]): GrantDocument {
  const map = readMap(field, GRANT_FIELDS);
  if (map === undefined) return { budget: [], rate: [] };
  const budget = map.get("budget");
  const rate = map.get("rate");
  return {
    budget: (budget && readBudget(budget)) ?? [],
    rate: (rate && readRate(rate)) ?? [],
    ...readOptional(map, { name: "models", as: "models" }, readModelPatterns),
    ...readOptional(map, { name: "tools", as: "tools" }, readTools),
    ...readOptional(map, { name: "on_tool_not_granted", as: "onToolNotGranted" }, (at) =>
      readWord(at, ON_TOOL_NOT_GRANTED),
    ),
    ...readOptional(map, { name: "hosts", as: "hosts" }, readHosts),
    ...readOptional(map, { name: "nodes", as: "nodes" }, readNodes),
    ...readOptional(map, { name: "hours", as: "hours" }, readHours),
    ...readOptional(map, { name: "regions", as: "regions" }, readRegions),
    ...readOptional(map, { name: "clearance", as: "clearance" }, (at) =>
      readReference(at, levels, "classification level"),
    ),
    ...readOptional(map, { name: "quarantine", as: "quarantineModels" }, readQuarantine),
    ...readOptional(
      map,
      { name: "max_output_tokens_default", as: "maxOutputTokensDefault" },
      (at) => readInteger(at, OUTPUT_TOKENS),
    ),
    ...readOptional(map, { name: "on_unaffordable", as: "onUnaffordable" }, (at) =>
      readWord(at, ON_UNAFFORDABLE),
    ),
    ...readOptional(map, { name: "clamp_floor_tokens", as: "clampFloorTokens" }, (at) =>
      readInteger(at, OUTPUT_TOKENS),
    ),
    ...readOptional(map, { name: "audit", as: "audit" }, (at) => readWord(at, AUDIT_MODES)),
  };
}

export function readModelPatterns(field: Field): readonly string[] | undefined {
  const isModelPattern = (text: string) => isPattern(text) && text === text.toLowerCase();
  const patterns = readListOf(field, (item) =>
    readMatching(item, isModelPattern, 'a model such as "openai/gpt-5-mini" or "openai/*"'),
  );
  reportCount(field, patterns?.length ?? 0);
  return patterns;
}

function readTools(field: Field): ReadonlyMap<string, readonly ToolVerb[]> | undefined {
  const tools = new Map<string, readonly ToolVerb[]>();
  for (const [pattern, entry] of readEntries(field) ?? []) {
    if (!isPattern(pattern)) {
      const message = 'is not a tool such as "web_search" or "mcp/github/*"';
      entry.findings.error(entry, "malformed", message);
    }
    const verbs = readListOf(entry, (item) => readWord(item, TOOL_VERBS)) ?? [];
    if (verbs.length === 0) {
      entry.findings.error(entry, "dead_rule", "grants no verb, so it grants nothing");
    }
    tools.set(pattern, verbs);
  }
  reportCount(field, tools.size);
  return tools;
}

function readHosts(field: Field): readonly string[] | undefined {
  const hosts = readListOf(field, (item) =>
    readMatching(
      item,
      isHostPattern,
      'a host name in lower case such as "api.example.com", or "*.example.com", perhaps with a port',
    ),
  );
  reportCount(field, hosts?.length ?? 0);
  return hosts;
}

function readNodes(field: Field): readonly string[] | undefined {
  const nodes = readListOf(field, (item) =>
    readMatching(item, isNodePattern, 'a node\'s name such as "edge-1", or "edge-*"'),
  );
  if (nodes?.length === 0) {
    field.findings.error(field, "dead_rule", "names no node, so the agent could never work");
  }
  reportCount(field, nodes?.length ?? 0);
  return nodes;
}

/** `always`, or one window of the week, or a list of windows that must all hold. */
function readHours(field: Field): readonly HoursDocument[] | undefined {
  if (field.node.kind === "scalar") {
    return readText(field) === undefined || readWord(field, [ALWAYS]) === undefined
      ? undefined
      : [];
  }
  const items = field.node.kind === "list" ? (readList(field) ?? []) : [field];
  if (items.length === 0) {
    const message = `is empty; write "${ALWAYS}" for the whole week`;
    field.findings.error(field, "missing_field", message);
  }
  return items.flatMap((item) => readHoursWindow(item) ?? []);
}

function readHoursWindow(field: Field): HoursDocument | undefined {
  const map = readMap(field, HOURS_FIELDS);
  if (map === undefined) return undefined;
  const zone = required(map, "timezone");
  const timeZone = zone && readTimeZone(zone);
  const list = required(map, "windows");
  const windows = list && readListOf(list, readWindow);
  if (list !== undefined && windows?.length === 0) {
    list.findings.error(list, "dead_rule", "names no window, so the agent could never work");
  }
  if (timeZone === undefined || windows === undefined) return undefined;
  const minutes: HoursWindow["minutes"] = joinMinutes(
    windows.flatMap((window) => parseWindow(window) ?? []),
  );
  return { timeZone, windows, minutes };
}

function readWindow(field: Field): string | undefined {
  return readMatching(field, (text) => parseWindow(text) !== undefined, WINDOW_GRAMMAR);
}

function readTimeZone(field: Field): string | undefined {
  const text = readText(field);
  if (text === undefined) return undefined;
  const { known, spelt } = checkTimeZone(text);
  if (known && spelt === text) return text;
  // Contracts compare zones byte by byte, so a zone has one spelling.
  const hint = known ? `; did you mean "${spelt}"?` : "";
  field.findings.error(field, "malformed", `"${shorten(text)}" is not an IANA time zone${hint}`);
  return undefined;
}

function readRegions(field: Field): RegionsDocument | undefined {
  const map = readMap(field, REGIONS_FIELDS);
  if (map === undefined) return undefined;
  return {
    ...readOptional(map, { name: "source", as: "source" }, readRegionList),
    ...readOptional(map, { name: "processing", as: "processing" }, readRegionList),
  };
}

/** Codes, with groups expanded, in order. */
function readRegionList(field: Field): readonly string[] | undefined {
  const isRegion = (text: string) => isRegionCode(text) || COUNTRY_GROUPS.has(text);
  const named = readListOf(field, (item) =>
    readMatching(item, isRegion, 'an ISO 3166 code such as "DE" or "US-CA", nor "EU" or "EEA"'),
  );
  if (named === undefined) return undefined;
  if (named.length === 0) {
    const message = "is empty, which no place lies in; leave it out for no bound";
    field.findings.error(field, "dead_rule", message);
  }
  return [...new Set(named.flatMap((region) => COUNTRY_GROUPS.get(region) ?? region))].sort();
}

function readQuarantine(field: Field): readonly string[] | undefined {
  const map: FieldMap | undefined = readMap(field, QUARANTINE_FIELDS);
  const models = map && required(map, "models");
  return models && readModelPatterns(models);
}

function reportCount(field: Field, count: number) {
  if (count <= defaults.GRANT_ITEMS_MAX) return;
  field.findings.error(field, "too_large", `more than ${defaults.GRANT_ITEMS_MAX} items`);
}
