import { canonicalJson, type PlainJson, type PlainObject } from "./canonical-json.ts";
import {
  type ArgumentRules,
  type ContentRule,
  LADDER_CAUSES,
  type PriceEntry,
  type ToolsPolicy,
} from "./compiled-policy.ts";
import * as defaults from "./defaults.ts";
import { formatDurationMs } from "./duration-grammar.ts";
import { formatMilli, formatUsdMicros } from "./money.ts";
import {
  type Budget,
  type GrantDocument,
  type ModelDocument,
  POLICY_FORMAT,
  type PolicyDocument,
  type ProviderDocument,
  type Rate,
  type TeamDocument,
} from "./policy-document.ts";
import { formatRate } from "./rate-grammar.ts";
import { BUDGET_FIELDS, RATE_FIELDS } from "./read-budget.ts";
import { ALWAYS } from "./read-grant.ts";
import { RUNGS } from "./read-ladder.ts";

/**
 * Writes a checked document as the bundle that the mesh carries: the grammar of the file, as
 * canonical JSON, with every default and every price written out, so that its bytes alone say what
 * is in force and one document has one hash.
 */
export function writeBundle(document: PolicyDocument): Uint8Array<ArrayBuffer> {
  const { classification, ladder, limits } = document;
  const json: PlainObject = present({
    format: POLICY_FORMAT,
    providers: objectOf(document.providers, writeProvider),
    models: objectOf(document.models, writeModel),
    classification: {
      levels: classification.levels,
      labels: Object.fromEntries(classification.labels),
      default_class: classification.defaultClass,
    },
    content: document.content.map(writeRule),
    tools: writeTools(document.tools),
    teams: objectOf(document.teams, writeTeam),
    ladder: {
      points: Object.fromEntries(
        LADDER_CAUSES.map((cause) => [cause, ladder.points.get(cause) ?? 0]),
      ),
      enter: writeMarks(ladder.enter),
      leave: writeMarks(ladder.leave),
      window: formatDurationMs(ladder.windowMs),
      half_life: formatDurationMs(ladder.halfLifeMs),
      half_life_of: Object.fromEntries(
        [...ladder.halfLifeMsOf].map(([cause, ms]) => [cause, formatDurationMs(ms)]),
      ),
      block_cool_down: formatDurationMs(ladder.blockCoolDownMs),
      block_until: ladder.blockUntil,
      evidence_floor: ladder.evidenceFloor,
      budget_percent: {
        warning: ladder.budgetMilli[0] / 10,
        throttle: ladder.budgetMilli[1] / 10,
      },
      auto_kill: [...ladder.autoKill].sort(),
    },
    limits: Object.fromEntries(
      Object.entries(defaults.LIMITS).map(([name, { field }]) => [name, limits[field]]),
    ),
    overrun_limit_usd: formatUsdMicros(document.overrunLimitUsdMicros),
    shadow: document.shadowStages,
  });
  return new TextEncoder().encode(canonicalJson(json));
}

function writeProvider(provider: ProviderDocument): PlainObject {
  return present({
    dialect: provider.dialect,
    base_url: provider.baseUrl,
    credential: provider.credential,
    // Left out where it is the default: nodes that do not know the field take such a bundle too.
    credential_of: provider.credentialOf === "team" ? "team" : undefined,
    region: provider.region,
    clearance: provider.clearance,
  });
}

function writeModel(model: ModelDocument): PlainObject {
  return present({
    aliases: model.aliases,
    by_own_name: model.byOwnName,
    upstream_name: model.upstreamName,
    max_output_tokens: model.maxOutputTokens,
    price: writePrice(model.price),
    distrust: formatMilli(model.price.distrustMilli),
    // Left out where there are none: nodes that do not know the field take such a bundle too.
    sessions: model.sessions,
  });
}

function writePrice(price: PriceEntry): PlainObject {
  const { longContext } = price;
  return present({
    ...writeFourPrices(price),
    fixed_usd_per_call: formatUsdMicros(price.fixedMicros),
    tokens_per_message: price.tokensPerMessage,
    tokens_per_tool: price.tokensPerTool,
    tokens_fixed: price.tokensFixed,
    long_context: longContext && {
      above_input_tokens: longContext.aboveInputTokens,
      ...writeFourPrices(longContext),
    },
  });
}

function writeFourPrices(
  prices: Pick<
    PriceEntry,
    | "inputMicrosPerMtok"
    | "cachedInputMicrosPerMtok"
    | "cacheWriteMicrosPerMtok"
    | "outputMicrosPerMtok"
  >,
): PlainObject {
  return {
    input_usd_per_mtok: formatUsdMicros(prices.inputMicrosPerMtok),
    cached_input_usd_per_mtok: formatUsdMicros(prices.cachedInputMicrosPerMtok),
    cache_write_usd_per_mtok: formatUsdMicros(prices.cacheWriteMicrosPerMtok),
    output_usd_per_mtok: formatUsdMicros(prices.outputMicrosPerMtok),
  };
}

function writeRule(rule: ContentRule): PlainObject {
  return present({ ...rule });
}

/** Undefined where there is nothing to say: bundles of policies without it stay what they were. */
/** Left out where it says nothing: nodes that do not know a field yet refuse a bundle that has it. */
function writeTools({ verbs, arguments: rules }: ToolsPolicy): PlainObject | undefined {
  if (verbs.size + rules.size === 0) return undefined;
  return present({
    verbs: verbs.size === 0 ? undefined : Object.fromEntries(verbs),
    arguments: rules.size === 0 ? undefined : objectOf(rules, writeArguments),
  });
}

function writeArguments(rules: ArgumentRules): PlainObject {
  return objectOf(rules, ({ oneOf, within, charsMax, atLeast, atMost, required }) =>
    present({
      one_of: oneOf,
      within,
      chars_max: charsMax,
      at_least: atLeast,
      at_most: atMost,
      required,
    }),
  );
}

function writeTeam(team: TeamDocument): PlainObject {
  return {
    budget: writeBudget(team.budget),
    rate: writeRate(team.rate),
    defaults: writeGrant(team.defaults),
    agents: objectOf(team.agents, writeGrant),
  };
}

function writeGrant(grant: GrantDocument): PlainObject {
  const { hours, quarantineModels, regions, tools } = grant;
  return present({
    budget: grant.budget.length === 0 ? undefined : writeBudget(grant.budget),
    rate: grant.rate.length === 0 ? undefined : writeRate(grant.rate),
    models: grant.models,
    tools: tools && Object.fromEntries(tools),
    on_tool_not_granted: grant.onToolNotGranted,
    hosts: grant.hosts,
    nodes: grant.nodes,
    hours:
      hours?.length === 0
        ? ALWAYS
        : hours?.map(({ timeZone, windows }) => ({ timezone: timeZone, windows })),
    regions: regions && present({ source: regions.source, processing: regions.processing }),
    clearance: grant.clearance,
    quarantine: quarantineModels && { models: quarantineModels },
    max_output_tokens_default: grant.maxOutputTokensDefault,
    on_unaffordable: grant.onUnaffordable,
    clamp_floor_tokens: grant.clampFloorTokens,
    audit: grant.audit,
  });
}

function writeBudget(budget: Budget): PlainObject {
  const units = Object.entries(BUDGET_FIELDS).map(([name, unit]) => {
    const windows = budget
      .filter((limit) => limit.unit === unit)
      .map(({ window, limit }) => [window, unit === "usd_micros" ? formatUsdMicros(limit) : limit]);
    return [name, windows.length === 0 ? undefined : Object.fromEntries(windows)] as const;
  });
  return present(Object.fromEntries(units));
}

function writeRate(rate: Rate): PlainObject {
  return Object.fromEntries(
    Object.entries(RATE_FIELDS).flatMap(([name, metric]) =>
      rate.filter((limit) => limit.metric === metric).map((limit) => [name, formatRate(limit)]),
    ),
  );
}

function writeMarks(marks: readonly [number, number, number, number]): PlainObject {
  return Object.fromEntries(RUNGS.map((rung, i) => [rung, marks[i] as number]));
}

function objectOf<T>(map: ReadonlyMap<string, T>, write: (value: T) => PlainJson): PlainObject {
  // Object.fromEntries defines members, so that a key such as `__proto__` stays one.
  return Object.fromEntries([...map].map(([key, value]) => [key, write(value)]));
}

/** The members that are there. */
function present(members: { readonly [key: string]: PlainJson | undefined }): PlainObject {
  return Object.fromEntries(
    Object.entries(members).filter((entry): entry is [string, PlainJson] => entry[1] !== undefined),
  );
}
