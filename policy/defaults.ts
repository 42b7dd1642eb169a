/**
 * Every figure a policy has when its author gives none, and the range it may have. A bundle holds
 * the figures it was made with, so changing one here changes no policy that is in force.
 */

import type { Dialect, LadderCause, LimitsPolicy } from "./compiled-policy.ts";

type Range = { readonly default: number; readonly min: number; readonly max: number };

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const MIB = 1024 * 1024;

/** Limits of a data loop, by their names in the file. */
export const LIMITS = {
  // The largest context windows are near a million tokens, which are about 4 MB of text.
  body_bytes_max: { field: "bodyBytesMax", default: 32 * MIB, min: 1024, max: 256 * MIB },
  // 32 MiB at a slow uplink of 10 Mbit/s take 27 s.
  body_timeout_ms: {
    field: "bodyTimeoutMs",
    default: 30 * SECOND_MS,
    min: 100,
    max: 10 * MINUTE_MS,
  },
  // An answer that is no stream is kept and read in one turn of its loop, some 18 ms for each MiB, which
  // others of the loop wait for. A chat answer has kilobytes; many embeddings at once have megabytes.
  answer_bytes_max: { field: "answerBytesMax", default: 4 * MIB, min: 64 * 1024, max: 64 * MIB },
  // Tool schemas nest to some twenty levels; 64 bounds the reader's stack with room to spare.
  json_depth_max: { field: "jsonDepthMax", default: 64, min: 8, max: 256 },
  // Bodies are held whole, so this times body_bytes_max bounds an agent's memory.
  bodies_waiting_max: { field: "bodiesWaitingMax", default: 8, min: 1, max: 256 },
  connections_per_agent_max: { field: "connectionsPerAgentMax", default: 64, min: 1, max: 10_000 },
  // A reasoning model may think for minutes before its first byte.
  first_byte_timeout_ms: {
    field: "firstByteTimeoutMs",
    default: 10 * MINUTE_MS,
    min: SECOND_MS,
    max: HOUR_MS,
  },
  // Providers send a ping or a delta at least every half minute.
  idle_timeout_ms: {
    field: "idleTimeoutMs",
    default: 2 * MINUTE_MS,
    min: SECOND_MS,
    max: HOUR_MS,
  },
  // A hold lasts as long as its request, so this bounds how long money can be tied up.
  total_timeout_ms: {
    field: "totalTimeoutMs",
    default: 30 * MINUTE_MS,
    min: SECOND_MS,
    max: 6 * HOUR_MS,
  },
  // A large body scans in milliseconds; a hostile one is refused rather than waited for.
  scan_deadline_ms: { field: "scanDeadlineMs", default: 500, min: 10, max: 30 * SECOND_MS },
  // Longer than a lease takes to fetch, shorter than a person notices.
  reserve_wait_max_ms: { field: "reserveWaitMaxMs", default: 250, min: 1, max: 10 * SECOND_MS },
} as const satisfies Record<string, Range & { readonly field: keyof LimitsPolicy }>;

/** The claim that bounds spend above holds over the whole mesh: 100 US dollars. */
export const OVERRUN_LIMIT_USD_MICROS = 100_000_000;
/** An overrun account beyond a million dollars bounds nothing that anybody would call a bound. */
export const OVERRUN_LIMIT_USD_MICROS_MAX = 1_000_000_000_000;

/** A bill is taken to be at most a tenth above its hold, until one is seen that is more. */
export const DISTRUST_MILLI = 1100;
/** At exactly 1.0 nothing would be held for overruns, and nothing would bound them. */
export const DISTRUST_MILLI_MIN = 1001;
export const DISTRUST_MILLI_MAX = 100_000;

/**
 * Tokens that providers add beside the text. The bound on input is the bytes of the whole JSON
 * body, whose quotes and field names alone outweigh the three or four marker tokens of a message;
 * these figures are for bodies where they might not.
 */
export const TOKENS_PER_MESSAGE = 8;
export const TOKENS_PER_TOOL = 32;
/** At Anthropic, offering any tools adds a system prompt of some hundred tokens. */
export const TOKENS_FIXED = {
  openai: 64,
  anthropic: 1024,
  gemini: 64,
  mcp: 0,
} as const satisfies Record<Dialect, number>;

export const CLASSIFICATION = {
  levels: ["public", "internal", "confidential", "restricted"],
  // What nobody marked is a company's own business, and not yet confidential.
  defaultClass: "internal",
} as const;

/**
 * The ladder. Scores are thousandths of a point; they count in full for a minute and then halve
 * every two.
 *
 * So three refusals within a minute, however spaced, are three points, and two never are; the same
 * holds of ten. These are the marks of warning and throttle. Quarantine and block lie where a hundred
 * and three hundred refusals would; one match of medium or high severity goes there directly.
 */
export const LADDER = {
  points: {
    refusal: 1000,
    content_low: 3000,
    content_medium: 100_000,
    content_high: 300_000,
    tool_outside_grant: 100_000,
    // An offence in quarantine counts this beside its own points: the third reaches block.
    quarantine_breach: 75_000,
    kernel_evidence: 100_000,
    // Budgets are compared with their share directly and operators set a level by name.
    budget_warning: 0,
    budget_throttle: 0,
    budget_block: 0,
    operator: 0,
  } satisfies Record<LadderCause, number>,
  enter: { warning: 3000, throttle: 10_000, quarantine: 100_000, block: 300_000 },
  // Half, or a quarter where the cause is serious, so that a level outlasts a half-life or two.
  leave: { warning: 1500, throttle: 5000, quarantine: 25_000, block: 75_000 },
  windowMs: MINUTE_MS,
  halfLifeMs: 2 * MINUTE_MS,
  blockCoolDownMs: 15 * MINUTE_MS,
  blockUntil: "cool_down",
  // A host that starts or a container that leaves sends a stray packet or two.
  evidenceFloor: 3,
  budgetPercent: { warning: 80, throttle: 95 },
} as const;

/** Requests that an agent at throttle may send to which policy gives no rate: one in four seconds. */
export const RATE_AT_THROTTLE = {
  metric: "requests",
  amount: 15,
  windowMs: MINUTE_MS,
  burst: 5,
} as const;

export const LADDER_POINTS_MAX = 1_000_000_000;
export const WINDOW_MS = { min: SECOND_MS, max: HOUR_MS } as const;
export const EVIDENCE_FLOOR = { min: 0, max: 1_000_000 } as const;
export const HALF_LIFE_MS = { min: SECOND_MS, max: 24 * HOUR_MS } as const;
export const BLOCK_COOL_DOWN_MS = { min: 0, max: 30 * 24 * HOUR_MS } as const;

/** No known model writes more in one answer than its context window, and none is beyond this. */
export const MAX_OUTPUT_TOKENS = { min: 0, max: 10_000_000 } as const;

/** Sizes of a policy. The bundle's is what the mesh carries in parts: 100,000 agents with 300 bytes each. */
export const POLICY_TEXT_BYTES_MAX = 32 * MIB;
export const BUNDLE_BYTES_MAX = 32 * MIB;
export const PROVIDERS_MAX = 64;
export const MODELS_MAX = 1024;
export const TEAMS_MAX = 1024;
export const AGENTS_MAX = 100_000;
export const CONTENT_RULES_MAX = 10_000;
export const TOOL_VERBS_MAX = 1024;
export const LEVELS_MAX = 16;
export const LABELS_MAX = 64;
/** Items of one grant's list, as a contract may have them. */
export const GRANT_ITEMS_MAX = 64;
export const ALIASES_MAX = 16;
export const PATTERN_CHARS_MAX = 4096;
