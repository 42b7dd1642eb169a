import { createHash } from "node:crypto";
import { parseBaseUrl } from "./base-url.ts";
import type {
  AgentPolicy,
  ClassificationPolicy,
  CompiledPolicy,
  ContentRule,
  ModelPolicy,
  ProviderPolicy,
} from "./compiled-policy.ts";
import { type ContentScanner, detectorsNamed } from "./content-scanner.ts";
import type { Finding } from "./findings.ts";
import { covers } from "./pattern.ts";
import {
  type GrantDocument,
  type PolicyDocument,
  SHADOW_STAGES,
  type TeamDocument,
} from "./policy-document.ts";
import { readBundleInSlices } from "./read-bundle.ts";
import { requestNames } from "./request-names.ts";
import { agentRate } from "./team-rates.ts";

export type CompileResult =
  | { readonly ok: true; readonly policy: CompiledPolicy }
  /** The bundle is not one that this version can enforce. Nothing of it is in force. */
  | { readonly ok: false; readonly findings: readonly Finding[] };

export type CompileOptions = {
  /** Version of the `policy` record that carries the bundle. */
  readonly version: number;
  /** The engine that will run the content rules, so that none of them is a surprise later. */
  readonly scanner: ContentScanner;
};

/** Some 0.2 ms. */
const HASHED_AT_ONCE_BYTES = 128 * 1024;

/** Compiles a bundle into what the request path reads. */
export function compilePolicy(bundle: Uint8Array, options: CompileOptions): CompileResult {
  const steps = compilePolicyInSlices(bundle, options);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * The same in slices, for a loop that serves requests meanwhile. No step is more than one agent, one
 * rule or one section of the policy that is not about agents or rules.
 */
export function* compilePolicyInSlices(
  bundle: Uint8Array,
  { version, scanner }: CompileOptions,
): Generator<void, CompileResult, void> {
  const read = yield* readBundleInSlices(bundle, scanner);
  if (!read.ok) return read;
  const { document } = read;
  const sha256 = yield* sha256InSlices(bundle);
  const providers = compileProviders(document);
  const models = compileModels(document, providers);
  yield;
  const agents = yield* compileAgents(document, providers);
  const policy: CompiledPolicy = {
    version,
    sha256,
    agents,
    providers,
    models,
    content: document.content.flatMap((rule) => compileRule(rule, scanner)),
    classification: compileClassification(document),
    tools: document.tools,
    ladder: document.ladder,
    limits: document.limits,
    overrunLimitUsdMicros: document.overrunLimitUsdMicros,
    shadowStages: new Set(document.shadowStages.map((stage) => SHADOW_STAGES[stage])),
  };
  return { ok: true, policy };
}

function* sha256InSlices(bundle: Uint8Array): Generator<void, string, void> {
  const hash = createHash("sha256");
  for (let from = 0; from < bundle.length; from += HASHED_AT_ONCE_BYTES) {
    hash.update(bundle.subarray(from, from + HASHED_AT_ONCE_BYTES));
    yield;
  }
  return hash.digest("hex");
}

function compileProviders(document: PolicyDocument): ReadonlyMap<string, ProviderPolicy> {
  const { levels } = document.classification;
  return new Map(
    [...document.providers].map(([name, provider]) => {
      const url = parseBaseUrl(provider.baseUrl);
      if (url === undefined) throw new Error(`${name}: a checked document has a base URL`);
      return [
        name,
        {
          name,
          dialect: provider.dialect,
          origin: url.origin,
          host: url.host,
          basePath: url.path,
          credential: provider.credential,
          credentialOf: provider.credentialOf,
          region: provider.region,
          clearance: levels.indexOf(provider.clearance),
        },
      ];
    }),
  );
}

function compileModels(
  document: PolicyDocument,
  providers: ReadonlyMap<string, ProviderPolicy>,
): ReadonlyMap<string, ModelPolicy> {
  const models = new Map<string, ModelPolicy>();
  for (const [id, model] of document.models) {
    const provider = providers.get(id.slice(0, id.indexOf("/")));
    if (provider === undefined) throw new Error(`${id}: a checked document has its provider`);
    const { aliases: _, byOwnName: __, ...own } = model;
    const compiled = { id, provider, ...own };
    for (const name of requestNames(id, model)) models.set(`${provider.dialect}:${name}`, compiled);
  }
  return models;
}

function compileClassification({ classification }: PolicyDocument): ClassificationPolicy {
  const { levels, labels, defaultClass } = classification;
  return {
    levels,
    labels: new Map([...labels].map(([label, level]) => [label, levels.indexOf(level)])),
    defaultLevel: levels.indexOf(defaultClass),
  };
}

/** A rule for a group of detectors is one for each, named after both. */
function compileRule(rule: ContentRule, scanner: ContentScanner): readonly ContentRule[] {
  if (rule.detector === undefined || scanner.detectors.has(rule.detector)) return [rule];
  return detectorsNamed(rule.detector, scanner).map((detector) => ({
    ...rule,
    id: `${rule.id}.${detector}`,
    detector,
  }));
}

function* compileAgents(
  document: PolicyDocument,
  providers: ReadonlyMap<string, ProviderPolicy>,
): Generator<void, ReadonlyMap<string, AgentPolicy>, void> {
  const agents = new Map<string, AgentPolicy>();
  for (const [teamName, team] of document.teams) {
    // Agents that are granted the same have one copy of it: 100,000 of their own would be 70 MB a thread.
    const compiled = new Map<GrantDocument, CompiledGrant>();
    for (const [name, own] of team.agents) {
      const agentId = `${teamName}/${name}`;
      const grant = compiled.get(own) ?? {
        ...compileGrant(inherit(own, team), { document, providers }),
        rate: agentRate(team, own),
      };
      compiled.set(own, grant);
      agents.set(agentId, { agentId, team: teamName, agent: name, ...grant });
      yield;
    }
  }
  return agents;
}

/** The agent's own fields, and the team's defaults for those that it does not have. */
function inherit(own: GrantDocument, team: TeamDocument): GrantDocument {
  return { ...team.defaults, ...own };
}

type CompiledGrant = Omit<AgentPolicy, "agentId" | "team" | "agent">;

function compileGrant(
  grant: GrantDocument,
  of: {
    readonly document: PolicyDocument;
    readonly providers: ReadonlyMap<string, ProviderPolicy>;
  },
): Omit<CompiledGrant, "rate"> {
  const { levels, defaultClass } = of.document.classification;
  const models = grant.models ?? [];
  return {
    models,
    tools: grant.tools ?? new Map(),
    ...(grant.onToolNotGranted === "filter" && { filtersTools: true }),
    hosts: [...new Set([...(grant.hosts ?? []), ...hostsOf(models, of)])],
    ...(grant.nodes && { nodes: grant.nodes }),
    hours: (grant.hours ?? []).map(({ timeZone, minutes }) => ({ timeZone, minutes })),
    regions: grant.regions ?? {},
    clearance: levels.indexOf(grant.clearance ?? defaultClass),
    quarantine: { models: grant.quarantineModels ?? [] },
    maxOutputTokensDefault: grant.maxOutputTokensDefault,
    clampFloorTokens: grant.onUnaffordable === "clamp" ? grant.clampFloorTokens : undefined,
    ...(grant.audit === "strict" && { auditStrict: true }),
  };
}

/** A grant of a model is one of its provider's host too: it could not be used otherwise. */
function hostsOf(
  patterns: readonly string[],
  of: {
    readonly document: PolicyDocument;
    readonly providers: ReadonlyMap<string, ProviderPolicy>;
  },
): readonly string[] {
  const hosts = new Set<string>();
  for (const id of of.document.models.keys()) {
    const host = of.providers.get(id.slice(0, id.indexOf("/")))?.host;
    if (host !== undefined && covers(patterns, id)) hosts.add(host);
  }
  return [...hosts];
}
