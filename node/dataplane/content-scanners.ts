import type { CompiledPolicy, ContentRule } from "../../policy/compiled-policy.ts";
import {
  compileRulesInSlices,
  type ScanPurpose,
  type ScanRule,
  type ScanSet,
} from "./scan/compile-rules.ts";
import { DETECTORS } from "./scan/detectors.ts";

/** A policy's content rules, ready to scan with. Belongs to one thread. */
export type ContentScanners = {
  /** For bodies of requests, which are at hand whole. */
  readonly request: ScanSet;
  /** For answers, which come in pieces: bytes wait only for rules that refuse. */
  readonly response: ScanSet;
};

/** Rules that the engine does not take. Policies are checked before, so this one is not whole. */
export class ContentRulesFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ContentRulesFault";
  }
}

/**
 * Compiles a policy's rules one by one, for a thread that must not be away for long.
 *
 * @throws ContentRulesFault. Enforcing the rest would enforce another policy.
 */
export function* compileContent(
  rules: readonly ContentRule[],
): Generator<void, ContentScanners, void> {
  return {
    request: yield* compile(rules, "request", "body"),
    response: yield* compile(rules, "response", "stream"),
  };
}

/** The same at once. */
export function compileContentNow(rules: readonly ContentRule[]): ContentScanners {
  const slices = compileContent(rules);
  for (;;) {
    const slice = slices.next();
    if (slice.done) return slice.value;
  }
}

/** The scanners of the policies that this thread has in hand. */
export type PolicyScanners = {
  /** Compiled at once when they were not prepared. */
  of(policy: ScannedPolicy): ContentScanners;
  /** Compiles them in slices, before the policy comes into force. */
  prepare(policy: ScannedPolicy): Generator<void, void, void>;
};

export type ScannedPolicy = Pick<CompiledPolicy, "content">;

export function createPolicyScanners(): PolicyScanners {
  const compiled = new WeakMap<ScannedPolicy["content"], ContentScanners>();
  return {
    of: ({ content }) => {
      const known = compiled.get(content) ?? compileContentNow(content);
      compiled.set(content, known);
      return known;
    },
    prepare: function* ({ content }) {
      if (!compiled.has(content)) compiled.set(content, yield* compileContent(content));
    },
  };
}

function* compile(
  rules: readonly ContentRule[],
  direction: "request" | "response",
  purpose: ScanPurpose,
): Generator<void, ScanSet, void> {
  const wanted = rules.filter((rule) => rule.direction === direction || rule.direction === "both");
  const compiled = yield* compileRulesInSlices(wanted.map(scanRule), { purpose });
  if (compiled.ok) return compiled.set;
  const errors = compiled.errors.map(
    ({ ruleId, code, message }) => `${ruleId}: ${code}, ${message}`,
  );
  throw new ContentRulesFault(`content rules for ${purpose}: ${errors.join("; ")}`);
}

const DETECTOR_OF = new Map(DETECTORS.map((detector) => [detector.id, detector]));

function scanRule({ id, pattern, detector, action }: ContentRule): ScanRule {
  const hold = action === "refuse";
  if (pattern !== undefined) return { id, pattern, hold };
  const built = DETECTOR_OF.get(detector ?? "");
  if (built === undefined) throw new ContentRulesFault(`${id}: no detector named ${detector}`);
  const { validate } = built;
  return { id, pattern: built.pattern, hold, ...(validate !== undefined && { validate }) };
}
