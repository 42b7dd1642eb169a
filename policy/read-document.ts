import * as defaults from "./defaults.ts";
import type { DocumentNode } from "./document-node.ts";
import {
  descend,
  type Field,
  type FieldMap,
  readInteger,
  readListOf,
  readMap,
  readParsed,
  readWord,
  required,
  rootField,
} from "./field-reader.ts";
import type { Findings } from "./findings.ts";
import { formatMilli, formatUsdMicros, parseUsdMicros } from "./money.ts";
import {
  type ModelDocument,
  POLICY_FORMAT,
  type PolicyDocument,
  SHADOW_STAGES,
  type ShadowStage,
} from "./policy-document.ts";
import { readClassification, readContent } from "./read-content.ts";
import { readLadder, readLimits } from "./read-ladder.ts";
import { type ReadProvider, readModels, readProviders } from "./read-providers.ts";
import { readTeams } from "./read-teams.ts";
import { NO_TOOLS, readToolsPolicy } from "./read-tools.ts";
import { type Reading, readOr } from "./reading.ts";
import { requestNames } from "./request-names.ts";

export const DOCUMENT_FIELDS = [
  "format",
  "providers",
  "models",
  "classification",
  "content",
  "tools",
  "teams",
  "ladder",
  "limits",
  "overrun_limit_usd",
  "shadow",
] as const;

const MONEY_GRAMMAR = 'an amount in US dollars such as "100.00", of at most six decimal places';

/**
 * Reads a whole document and reports everything that is wrong with it.
 *
 * The one reader of files and bundles, so that a node takes no bundle that `policy check` would not
 * have. A step ends after each agent, each rule and each section.
 *
 * @returns `undefined` when there are errors; `findings` has them.
 */
export function* readDocument(
  node: DocumentNode,
  reading: Reading & { readonly findings: Findings },
): Generator<void, PolicyDocument | undefined, void> {
  const map = readMap(rootField(node, reading.findings), DOCUMENT_FIELDS);
  if (map === undefined) return undefined;
  const format = required(map, "format");
  if (format !== undefined) readInteger(format, { min: POLICY_FORMAT, max: POLICY_FORMAT });

  const classification = readClassification(section(map, "classification", reading), reading);
  const { levels } = classification;
  const providersField = required(map, "providers");
  const providers = providersField
    ? readProviders(providersField, { ...reading, levels })
    : new Map<string, ReadProvider>();
  yield;
  const modelsField = required(map, "models");
  const models: ReadonlyMap<string, ModelDocument> = modelsField
    ? readModels(modelsField, { ...reading, providers })
    : new Map();
  reportRequestNames(map, { models, providers });
  yield;
  const content = yield* readContent(section(map, "content", reading), {
    ...reading,
    classification,
  });
  const toolsField = map.get("tools");
  const tools = toolsField === undefined ? NO_TOOLS : readToolsPolicy(toolsField);
  yield;
  const teamsField = required(map, "teams");
  const teams = teamsField && (yield* readTeams(teamsField, { levels, models }));
  const document: PolicyDocument = {
    providers: new Map([...providers].map(([name, { priceList: _, ...rest }]) => [name, rest])),
    models,
    classification,
    content,
    tools,
    teams: teams ?? new Map(),
    ladder: readLadder(section(map, "ladder", reading), reading),
    limits: readLimits(section(map, "limits", reading), reading),
    overrunLimitUsdMicros: readOverrunLimit(map, reading),
    shadowStages: readOr<readonly ShadowStage[]>(
      reading,
      { map, name: "shadow", fallback: [] },
      readShadow,
    ),
  };
  if (reading.findings.hasErrors) return undefined;
  reportOpenHolds(map, document);
  return document;
}

/** A part of the document that a file may leave out altogether, and a bundle may not. */
function section(map: FieldMap, name: string, reading: Reading): Field | undefined {
  return reading.complete ? required(map, name) : map.get(name);
}

/** A name that two models of a dialect answer to would make it chance which is called. */
function reportRequestNames(
  map: FieldMap,
  of: {
    readonly models: ReadonlyMap<string, ModelDocument>;
    readonly providers: ReadonlyMap<string, ReadProvider>;
  },
): void {
  const taken = new Map<string, string>();
  for (const [id, model] of of.models) {
    const dialect = of.providers.get(id.slice(0, id.indexOf("/")))?.dialect;
    for (const name of requestNames(id, model)) {
      const key = `${dialect}:${name}`;
      const other = taken.get(key);
      if (other === undefined) {
        taken.set(key, id);
      } else {
        const whose = other === id ? "twice for this model" : `by "${other}" too`;
        const message =
          `the name "${name}" is used ${whose}; remove an alias, ` +
          "or set by_own_name to false on one of them";
        const models = map.get("models");
        const at = models === undefined ? map : descend(models, id);
        map.findings.error(at, "conflict", message);
      }
    }
  }
}

function readOverrunLimit(map: FieldMap, reading: Reading): number {
  const at = { map, name: "overrun_limit_usd", fallback: defaults.OVERRUN_LIMIT_USD_MICROS };
  return readOr<number>(reading, at, (field) => {
    const micros = readParsed(field, parseUsdMicros, MONEY_GRAMMAR);
    if (micros === undefined || micros <= defaults.OVERRUN_LIMIT_USD_MICROS_MAX) return micros;
    const max = formatUsdMicros(defaults.OVERRUN_LIMIT_USD_MICROS_MAX);
    field.findings.error(field, "out_of_range", `must be at most ${max}`);
    return undefined;
  });
}

function readShadow(field: Field): readonly ShadowStage[] | undefined {
  const stages = Object.keys(SHADOW_STAGES) as ShadowStage[];
  return readListOf(field, (item) => readWord(item, stages));
}

/**
 * What may be held at once, micro-dollars: each hold keeps its possible overrun in the overrun
 * account as well, so that account bounds the holds.
 */
export function openHoldsMaxUsdMicros(
  overrunLimitUsdMicros: number,
  distrustMilli: number,
): bigint {
  return (BigInt(overrunLimitUsdMicros) * 1000n) / BigInt(distrustMilli - 1000);
}

function reportOpenHolds(map: FieldMap, document: PolicyDocument): void {
  const ratios = [...document.models.values()].map((model) => model.price.distrustMilli);
  for (const milli of new Set(ratios.toSorted((a, b) => a - b))) {
    const micros = openHoldsMaxUsdMicros(document.overrunLimitUsdMicros, milli);
    const message =
      `requests at distrust ${formatMilli(milli)} can hold at most ` +
      `${formatUsdMicros(Number(micros))} US dollars at once over the whole mesh`;
    const at = map.get("overrun_limit_usd") ?? map;
    map.findings.warning({ ...at, path: "overrun_limit_usd" }, "open_holds", message);
  }
}
