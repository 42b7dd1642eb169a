/** The policy as the request path reads it: immutable, indexed, every number checked. */
export type CompiledPolicy = {
  /** Version of the `policy` record that carried it. */
  readonly version: number;
  /** SHA-256 of the bundle, hexadecimal. */
  readonly sha256: string;
  /** By `team/agent`. An agent that is not here has been granted nothing. */
  readonly agents: ReadonlyMap<string, AgentPolicy>;
  /** By provider name. */
  readonly providers: ReadonlyMap<string, ProviderPolicy>;
  /** By the name a request uses: `<dialect>:<model or alias>`. */
  readonly models: ReadonlyMap<string, ModelPolicy>;
  readonly content: readonly ContentRule[];
  readonly classification: ClassificationPolicy;
  readonly tools: ToolsPolicy;
  readonly ladder: LadderPolicy;
  readonly limits: LimitsPolicy;
  /** The mesh account that bounds spend above holds, micro-dollars. */
  readonly overrunLimitUsdMicros: number;
  /** Stages 6 to 12 that decide and record but do not refuse. */
  readonly shadowStages: ReadonlySet<number>;
};

/** Which APIs a provider speaks, and so how its credential is sent. */
export type Dialect = "openai" | "anthropic" | "gemini" | "mcp";

/** Whose credential goes into a request: the one of all teams, or the asking team's own alone. */
export type CredentialOwner = "all" | "team";

export type ProviderPolicy = {
  readonly name: string;
  readonly dialect: Dialect;
  /** Scheme, host and port, no path: `https://api.openai.com`. */
  readonly origin: string;
  /** Host as destination rules name it, lower case, without port. */
  readonly host: string;
  /** Path before the dialect's own, without trailing slash; usually empty. */
  readonly basePath: string;
  /** Name of the credential that the node injects. */
  readonly credential: string;
  readonly credentialOf: CredentialOwner;
  /** ISO 3166 code of where it processes data; `undefined` means unknown, which no grant covers. */
  readonly region: string | undefined;
  /** Highest class of data it may receive: index into `classification.levels`. */
  readonly clearance: number;
};

export type ModelPolicy = {
  /** `provider/model`, the name grants are matched against. */
  readonly id: string;
  readonly provider: ProviderPolicy;
  /** The name sent upstream. */
  readonly upstreamName: string;
  /** `undefined`: no price, so every use is refused. */
  readonly price: PriceEntry | undefined;
  /** The model's own bound on output, tokens. */
  readonly maxOutputTokens: number;
  /** `unread`: WebSocket sessions are carried, and each costs the fixed charge of a call. */
  readonly sessions?: "unread";
};

/** What a model costs. Micro-dollars per million tokens, and constants of the worst case. */
export type PriceEntry = {
  readonly inputMicrosPerMtok: number;
  /** Cheaper input that a provider reports as cached; at most the input price. */
  readonly cachedInputMicrosPerMtok: number;
  /** Input that a provider reports as written to its cache; may exceed the input price. */
  readonly cacheWriteMicrosPerMtok: number;
  readonly outputMicrosPerMtok: number;
  /** Added to every call, micro-dollars. */
  readonly fixedMicros: number;
  /** Tokens that a provider adds for each message and each tool beside their text. */
  readonly tokensPerMessage: number;
  readonly tokensPerTool: number;
  /** Tokens that a provider adds once. */
  readonly tokensFixed: number;
  /** How far a bill may exceed a hold, thousandths: 1100 means 1.1. */
  readonly distrustMilli: number;
  /** What every token costs once the input is larger; absent where a model has one price. */
  readonly longContext?: LongContextPrice;
};

/** Prices of requests with much input. None is below the model's ordinary one. */
export type LongContextPrice = {
  /** Input of more than this many tokens is charged so. */
  readonly aboveInputTokens: number;
  readonly inputMicrosPerMtok: number;
  readonly cachedInputMicrosPerMtok: number;
  readonly cacheWriteMicrosPerMtok: number;
  readonly outputMicrosPerMtok: number;
};

export type AgentPolicy = {
  readonly agentId: string;
  readonly team: string;
  readonly agent: string;
  /** Stage 9: patterns over `provider/model`: a literal, or `X/*` which covers what starts with `X/`. */
  readonly models: readonly string[];
  /** Stage 10: tool name pattern to verbs. */
  readonly tools: ReadonlyMap<string, readonly string[]>;
  /** What it may not use is taken out of the tools that a request offers; absent: it is refused. */
  readonly filtersTools?: boolean;
  /** Stage 8: host names, or `*.example.com` for its subdomains, perhaps with a port. */
  readonly hosts: readonly string[];
  /** Stage 7: names of nodes, or `<beginning>*`; absent: every node. */
  readonly nodes?: readonly string[];
  /** Stage 6: half-open minutes of the local week (Monday 00:00 is 0, 10,080 ends it); all must hold. */
  readonly hours: readonly HoursWindow[];
  /** Stage 7: ISO codes; `US` covers `US-CA`. `undefined` in a facet: the policy sets no bound there. */
  readonly regions: {
    readonly source?: readonly string[];
    readonly processing?: readonly string[];
  };
  /** Stage 11: highest class it may send, index into `classification.levels`. */
  readonly clearance: number;
  /** Stage 13. */
  readonly rate: readonly AgentRateLimit[];
  /** Stage 4: what is left to it in quarantine. */
  readonly quarantine: { readonly models: readonly string[] };
  /** Output tokens reserved when a request names no limit. */
  readonly maxOutputTokensDefault: number | undefined;
  /** Whether an unaffordable output limit is lowered instead of refused, and to what at least. */
  readonly clampFloorTokens: number | undefined;
  /** An allow goes out only once its record is on the disk, not merely in the kernel's hands. */
  readonly auditStrict?: boolean;
};

export type HoursWindow = {
  readonly timeZone: string;
  readonly minutes: readonly (readonly [from: number, until: number])[];
};

export type RateMetric = "requests" | "tokens" | "usd_micros";

/** A token bucket: `burst` at once, `amount` per `windowMs` for ever. Integers. */
export type RateLimit = {
  readonly metric: RateMetric;
  readonly amount: number;
  readonly windowMs: number;
  readonly burst: number;
};

/** What an agent may have at most of one metric. */
export type AgentRateLimit = RateLimit & {
  /** Its team's rate bounds it as well, so that a burst may not go beyond what was lent. */
  readonly shared?: true;
};

/** What policy says of tools, whoever uses them. */
export type ToolsPolicy = {
  /** What calling a tool does, by its name or `X/*`: the verb that a grant must have for it. */
  readonly verbs: ReadonlyMap<string, ToolVerb>;
  /** What the arguments of a call may be, by the tool's name or `X/*`. */
  readonly arguments: ReadonlyMap<string, ArgumentRules>;
};

/** By argument. A tool that has rules takes no other arguments. */
export type ArgumentRules = ReadonlyMap<string, ArgumentRule>;

/** What one argument may be; one without any of these may be anything. */
export type ArgumentRule = {
  /** Texts, of which it must be one. */
  readonly oneOf?: readonly string[];
  /** Paths or URLs, of which it must be one or lie below one. */
  readonly within?: readonly string[];
  /** UTF-16 units of a text. */
  readonly charsMax?: number;
  /** Bounds of a number, themselves within. */
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly required?: true;
};

export const TOOL_VERBS = ["call", "read", "write", "exec", "admin"] as const;
export type ToolVerb = (typeof TOOL_VERBS)[number];

export type Severity = "low" | "medium" | "high";

export type ContentRule = {
  readonly id: string;
  /** RE2 syntax; exactly one of pattern and detector. */
  readonly pattern: string | undefined;
  /** Name of a built-in detector. */
  readonly detector: string | undefined;
  readonly direction: "request" | "response" | "both";
  /** `label`: only says what class the data is of. */
  readonly action: "label" | "warn" | "refuse";
  readonly severity: Severity;
  /** Class label the match proves, one of `classification.labels`. */
  readonly label: string | undefined;
};

export type ClassificationPolicy = {
  /** Lowest first. */
  readonly levels: readonly string[];
  /** Label of a detector to index into `levels`. */
  readonly labels: ReadonlyMap<string, number>;
  /** Class of data that was scanned whole without a hit. */
  readonly defaultLevel: number;
};

/** Scores in thousandths. */
export type LadderPolicy = {
  /** Points a cause adds. */
  readonly points: ReadonlyMap<LadderCause, number>;
  /** Score at or above which the level is reached, warning to block. */
  readonly enter: readonly [warning: number, throttle: number, quarantine: number, block: number];
  /** Score below which the level is left again; below its `enter`. */
  readonly leave: readonly [warning: number, throttle: number, quarantine: number, block: number];
  /** Time for which points count in full before they decay, milliseconds. */
  readonly windowMs: number;
  /** Half-life of a score once its window is over, milliseconds. */
  readonly halfLifeMs: number;
  /** The same for causes that have one of their own. */
  readonly halfLifeMsOf: ReadonlyMap<LadderCause, number>;
  /** Least time at block, milliseconds. */
  readonly blockCoolDownMs: number;
  /** What ends a block that a score led to: its cool-down and decay, or an operator alone. */
  readonly blockUntil: BlockUntil;
  /** Reports of the kernel within a window that are still taken for accidents. */
  readonly evidenceFloor: number;
  /** Share of a budget in thousandths that is warning, throttle: 800 and 950. */
  readonly budgetMilli: readonly [warning: number, throttle: number];
  /** Causes that ask for an automatic kill of the agent. */
  readonly autoKill: ReadonlySet<LadderCause>;
};

export const LADDER_CAUSES = [
  "refusal",
  "content_low",
  "content_medium",
  "content_high",
  "tool_outside_grant",
  "quarantine_breach",
  "budget_warning",
  "budget_throttle",
  "budget_block",
  "kernel_evidence",
  "operator",
] as const;
export type LadderCause = (typeof LADDER_CAUSES)[number];

export const BLOCK_UNTIL = ["cool_down", "operator"] as const;
export type BlockUntil = (typeof BLOCK_UNTIL)[number];

export type LimitsPolicy = {
  readonly bodyBytesMax: number;
  readonly bodyTimeoutMs: number;
  /** An answer that is one document, bytes. */
  readonly answerBytesMax: number;
  readonly jsonDepthMax: number;
  readonly bodiesWaitingMax: number;
  readonly connectionsPerAgentMax: number;
  readonly firstByteTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly totalTimeoutMs: number;
  readonly scanDeadlineMs: number;
  readonly reserveWaitMaxMs: number;
};
