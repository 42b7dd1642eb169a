import { ForwardAutomaton } from "./forward-automaton.ts";
import { literalPrefix, measurePattern, type PatternMeasure } from "./measure-pattern.ts";
import { parsePattern } from "./parse-pattern.ts";
import type { PatternErrorCode, PatternNode } from "./pattern-tree.ts";
import { joinRules, type PositionAutomaton, type RuleGraph } from "./position-automaton.ts";
import { ReverseAutomaton } from "./reverse-automaton.ts";
import { ruleGraph } from "./rule-graph.ts";
import { SCAN_LIMITS } from "./scan-limits.ts";

export type ScanRule = {
  /** Unique in its set. */
  readonly id: string;
  /** As `parsePattern` reads it. It must not match the empty text. */
  readonly pattern: string;
  /**
   * A second look at each text that the pattern matches; a match is a hit only if it says true. It
   * must be pure. Every place where the pattern can match is offered, not one per region.
   */
  readonly validate?: (text: string) => boolean;
  /** Whether a stream's bytes wait while this rule may be matching. Default true. */
  readonly hold?: boolean;
  /**
   * For rules whose match is too long for a stream: the text that every match begins with. In a
   * stream the rule is then this text and nothing else, so it hits more often than the pattern.
   */
  readonly cutAtLiteral?: string;
};

/** A stream's rules must be bounded, since its bytes wait for them; a body has its end at hand. */
export type ScanPurpose = "stream" | "body";

export type RuleErrorCode =
  | PatternErrorCode
  | "pattern_too_large"
  | "set_too_large"
  | "too_many_rules"
  | "duplicate_rule"
  | "empty_match"
  | "unbounded_match"
  | "validated_match_too_long"
  | "cut_not_a_prefix";

/** Why a rule was refused. `position`, where there is one, is an index into its pattern. */
export type RuleError = {
  readonly ruleId: string;
  readonly code: RuleErrorCode;
  readonly position?: number;
  readonly message: string;
};

export type CompiledRule = {
  readonly id: string;
  readonly minMatchBytes: number;
  /** `Infinity` when a match has no longest; never so in a stream's set. */
  readonly maxMatchBytes: number;
  readonly hold: boolean;
  /** Whether the rule stands for its literal header here. */
  readonly cut: boolean;
  readonly validate?: (text: string) => boolean;
};

/**
 * A set of rules ready to scan with. What it says never changes; behind it, states are made as
 * texts need them, in bounded memory, shared by all its scanners. So it belongs to one thread.
 */
export type ScanSet = {
  readonly purpose: ScanPurpose;
  readonly rules: readonly CompiledRule[];
  /** No byte of a stream is held back longer than until this many bytes have followed it. */
  readonly holdBytesMax: number;
  /** How far before its end a match's start is looked for, in bytes. */
  readonly reachBytesMax: number;
  readonly automaton: PositionAutomaton;
  readonly forward: ForwardAutomaton;
  readonly reverse: ReverseAutomaton;
};

export type CompiledRules =
  | { readonly ok: true; readonly set: ScanSet }
  | { readonly ok: false; readonly errors: readonly RuleError[] };

export type CompileOptions = {
  readonly purpose: ScanPurpose;
  /** Memory of each direction's states; defaults in SCAN_LIMITS. */
  readonly tableBytesMax?: number;
  readonly nodeListBytesMax?: number;
};

/** Compiles rules into one set, or says of each refused rule why. Doubt about one refuses all. */
export function compileRules(rules: readonly ScanRule[], options: CompileOptions): CompiledRules {
  const slices = compileRulesInSlices(rules, options);
  for (;;) {
    const slice = slices.next();
    if (slice.done) return slice.value;
  }
}

/** The same, one rule per slice, for a thread that must not be away for long. */
export function* compileRulesInSlices(
  rules: readonly ScanRule[],
  options: CompileOptions,
): Generator<void, CompiledRules, void> {
  if (rules.length > SCAN_LIMITS.rulesMax) {
    const message = `a set has at most ${SCAN_LIMITS.rulesMax} rules`;
    return { ok: false, errors: [{ ruleId: "", code: "too_many_rules", message }] };
  }
  const compiled: CompiledRule[] = [];
  const graphs: RuleGraph[] = [];
  const errors: RuleError[] = [];
  const ids = new Set<string>();
  let edges = 0;
  for (const rule of rules) {
    const result = ids.has(rule.id)
      ? refuse(rule, "duplicate_rule", "another rule of the set has this id")
      : compileRule(rule, options.purpose);
    ids.add(rule.id);
    if ("code" in result) {
      errors.push(result);
    } else {
      compiled.push(result.rule);
      graphs.push(result.graph);
      for (const node of result.graph.nodes) edges += node.follow.length;
    }
    if (edges > SCAN_LIMITS.setEdgesMax) {
      errors.push(refuse(rule, "set_too_large", "with this rule the set has too many edges"));
      break;
    }
    yield;
  }
  if (errors.length > 0) return { ok: false, errors };
  return { ok: true, set: buildSet(compiled, yield* joinRules(graphs, edges), options) };
}

function buildSet(
  rules: readonly CompiledRule[],
  automaton: PositionAutomaton,
  { purpose, ...memory }: CompileOptions,
): ScanSet {
  const holds = rules.map((rule) => rule.hold);
  const longest = Math.max(0, ...rules.map((rule) => rule.maxMatchBytes));
  return {
    purpose,
    rules,
    holdBytesMax: Math.max(0, ...rules.map((rule) => (rule.hold ? rule.maxMatchBytes : 0))),
    reachBytesMax: Math.min(longest, SCAN_LIMITS.locateBytesMax),
    automaton,
    forward: new ForwardAutomaton(automaton, { holds, ...memory }),
    reverse: new ReverseAutomaton(automaton, memory),
  };
}

function compileRule(
  rule: ScanRule,
  purpose: ScanPurpose,
): RuleError | { readonly rule: CompiledRule; readonly graph: RuleGraph } {
  const parsed = parsePattern(rule.pattern);
  if (!parsed.ok) return { ruleId: rule.id, ...parsed.error };
  const whole = measurePattern(parsed.tree);
  const tooLong = whole.maxBytes > SCAN_LIMITS.streamMatchBytesMax;
  const cut = purpose === "stream" && tooLong && rule.cutAtLiteral !== undefined;
  const error = checkMeasure(rule, whole) ?? checkCut(rule, parsed.tree);
  if (error !== undefined) return error;
  const tree = cut ? literalTree(rule.cutAtLiteral as string) : parsed.tree;
  const { minBytes, maxBytes } = cut ? measurePattern(tree) : whole;
  if (purpose === "stream" && maxBytes > SCAN_LIMITS.streamMatchBytesMax) {
    return refuse(
      rule,
      "unbounded_match",
      `a stream's rule matches at most ${SCAN_LIMITS.streamMatchBytesMax} bytes; bound its ` +
        "repetitions or name its literal header in cutAtLiteral",
    );
  }
  const graph = ruleGraph(tree, { edgesMax: SCAN_LIMITS.ruleEdgesMax });
  if (graph === undefined) return tooLarge(rule);
  const { id, hold = true, validate } = rule;
  return {
    graph,
    rule: {
      id,
      minMatchBytes: minBytes,
      maxMatchBytes: maxBytes,
      hold,
      cut,
      ...(validate === undefined ? {} : { validate }),
    },
  };
}

function checkMeasure(rule: ScanRule, measure: PatternMeasure): RuleError | undefined {
  if (measure.minBytes === 0) {
    return refuse(rule, "empty_match", "a rule that matches nothing at all matches everywhere");
  }
  if (measure.steps > SCAN_LIMITS.ruleStepsMax) return tooLarge(rule);
  const validatedMax = SCAN_LIMITS.validatedMatchBytesMax;
  if (rule.validate !== undefined && measure.maxBytes > validatedMax) {
    return refuse(
      rule,
      "validated_match_too_long",
      `what is validated is at most ${validatedMax} bytes long`,
    );
  }
  return undefined;
}

function checkCut({ cutAtLiteral, ...rule }: ScanRule, tree: PatternNode): RuleError | undefined {
  if (cutAtLiteral === undefined) return undefined;
  if (cutAtLiteral !== "" && literalPrefix(tree).startsWith(cutAtLiteral)) return undefined;
  return refuse(rule, "cut_not_a_prefix", "not every match begins with the text of cutAtLiteral");
}

function literalTree(text: string): PatternNode {
  const parts = Array.from(text, (character): PatternNode => {
    const codePoint = character.codePointAt(0) as number;
    return { kind: "set", set: [[codePoint, codePoint]] };
  });
  return { kind: "sequence", parts };
}

function tooLarge(rule: ScanRule): RuleError {
  return refuse(rule, "pattern_too_large", "with its repetitions written out it is too large");
}

function refuse(rule: ScanRule, code: RuleErrorCode, message: string): RuleError {
  return { ruleId: rule.id, code, message };
}
