import type {
  ContentRule,
  CredentialOwner,
  Dialect,
  HoursWindow,
  LadderPolicy,
  LimitsPolicy,
  PriceEntry,
  RateLimit,
  ToolsPolicy,
  ToolVerb,
} from "./compiled-policy.ts";

/** Version of the file's and the bundle's grammar. */
export const POLICY_FORMAT = 1;

/**
 * A policy as its author wrote it, checked: every name resolves, every number is an integer in its
 * unit, every default is filled in. The YAML file and the bundle are two spellings of this.
 */
export type PolicyDocument = {
  readonly providers: ReadonlyMap<string, ProviderDocument>;
  /** By `provider/model`. */
  readonly models: ReadonlyMap<string, ModelDocument>;
  readonly classification: ClassificationDocument;
  readonly content: readonly ContentRule[];
  readonly tools: ToolsPolicy;
  readonly teams: ReadonlyMap<string, TeamDocument>;
  readonly ladder: LadderPolicy;
  readonly limits: LimitsPolicy;
  readonly overrunLimitUsdMicros: number;
  readonly shadowStages: readonly ShadowStage[];
};

export type ProviderDocument = {
  readonly dialect: Dialect;
  /** As a URL, without trailing slash. */
  readonly baseUrl: string;
  readonly credential: string;
  readonly credentialOf: CredentialOwner;
  readonly region: string | undefined;
  /** A level's name. */
  readonly clearance: string;
};

export type ModelDocument = {
  readonly aliases: readonly string[];
  /** Whether a request may say the bare model name; the id and the aliases always serve. */
  readonly byOwnName: boolean;
  readonly upstreamName: string;
  readonly maxOutputTokens: number;
  readonly sessions?: "unread";
  readonly price: PriceEntry;
};

export type ClassificationDocument = {
  readonly levels: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  readonly defaultClass: string;
};

export type TeamDocument = {
  readonly budget: Budget;
  /** Bounds what its agents do together. Their own rates may add up to more than it. */
  readonly rate: Rate;
  /** What each agent has that does not say otherwise. */
  readonly defaults: GrantDocument;
  readonly agents: ReadonlyMap<string, GrantDocument>;
};

/** What an agent may do. An absent field is taken from the team's defaults. */
export type GrantDocument = {
  readonly budget: Budget;
  readonly rate: Rate;
  readonly models?: readonly string[];
  readonly tools?: ReadonlyMap<string, readonly ToolVerb[]>;
  readonly onToolNotGranted?: OnToolNotGranted;
  readonly hosts?: readonly string[];
  /** Where it is placed: names of nodes, or `<beginning>*`. Absent: on every node. */
  readonly nodes?: readonly string[];
  readonly hours?: readonly HoursDocument[];
  readonly regions?: RegionsDocument;
  /** A level's name. */
  readonly clearance?: string;
  readonly quarantineModels?: readonly string[];
  readonly maxOutputTokensDefault?: number;
  readonly onUnaffordable?: OnUnaffordable;
  readonly clampFloorTokens?: number;
  readonly audit?: AuditMode;
};

/** A window of the week, and its author's words, which the bundle keeps. */
export type HoursDocument = HoursWindow & { readonly windows: readonly string[] };

export type RegionsDocument = {
  readonly source?: readonly string[];
  readonly processing?: readonly string[];
};

export const ACCOUNT_UNITS = ["usd_micros", "tokens", "calls"] as const;
export type AccountUnit = (typeof ACCOUNT_UNITS)[number];

/** Windows of the ledger, all in UTC. */
export const ACCOUNT_WINDOWS = ["hour", "day", "month", "total"] as const;
export type AccountWindow = (typeof ACCOUNT_WINDOWS)[number];

/** Limits of one account, at most one a unit and window. */
export type Budget = readonly {
  readonly unit: AccountUnit;
  readonly window: AccountWindow;
  readonly limit: number;
}[];

/** At most one a metric. */
export type Rate = readonly RateLimit[];

/** When an allow goes out: its record is with the kernel, or on the disk. */
export const AUDIT_MODES = ["group", "strict"] as const;
export type AuditMode = (typeof AUDIT_MODES)[number];

export const ON_UNAFFORDABLE = ["refuse", "clamp"] as const;
export type OnUnaffordable = (typeof ON_UNAFFORDABLE)[number];

/** What becomes of a request that offers tools which are not granted. */
export const ON_TOOL_NOT_GRANTED = ["refuse", "filter"] as const;
export type OnToolNotGranted = (typeof ON_TOOL_NOT_GRANTED)[number];

/** Stages that may be in shadow, and their numbers. The others guard money, identity and kills. */
export const SHADOW_STAGES = {
  time: 6,
  geography: 7,
  destination: 8,
  model: 9,
  tool: 10,
  classification: 11,
  content: 12,
} as const;
export type ShadowStage = keyof typeof SHADOW_STAGES;
