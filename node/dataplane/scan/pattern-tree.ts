/** The syntax tree of one pattern. Groups leave no trace in it: nothing is captured here. */

/** Inclusive ranges of code points, ascending, neither touching nor overlapping, no surrogates. */
export type CodePointSet = readonly (readonly [low: number, high: number])[];

/**
 * A condition between two bytes. `\b` knows ASCII words only, as in RE2. The line forms are `^` and
 * `$` under `(?m)`; without it they are the text forms (`$` is the very end, as in RE2).
 */
export type AssertionKind =
  | "text_begin"
  | "text_end"
  | "line_begin"
  | "line_end"
  | "word_boundary"
  | "no_word_boundary";

export type PatternNode =
  | { readonly kind: "set"; readonly set: CodePointSet }
  | { readonly kind: "assertion"; readonly assertion: AssertionKind }
  | { readonly kind: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly kind: "alternation"; readonly branches: readonly PatternNode[] }
  | {
      readonly kind: "repeat";
      readonly body: PatternNode;
      readonly min: number;
      /** `Infinity` for an open end. */
      readonly max: number;
    };

export type PatternErrorCode =
  | "pattern_too_long"
  | "nesting_too_deep"
  | "repeat_too_large"
  | "unsupported_syntax"
  | "malformed_pattern"
  | "lone_surrogate";

/** Why a pattern was refused. `position` is an index into the pattern, in UTF-16 units. */
export type PatternError = {
  readonly code: PatternErrorCode;
  readonly position: number;
  readonly message: string;
};
