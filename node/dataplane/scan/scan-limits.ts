/**
 * Every bound of the scanning engine. A rule set that does not fit is refused when it is compiled,
 * so that scanning itself needs no refusals: its memory and its work per byte are fixed by these.
 */
export const SCAN_LIMITS = {
  /** UTF-16 units of one pattern's source. */
  patternCharsMax: 4096,
  /** Groups inside groups; also bounds our recursion. */
  nestingMax: 64,
  /** The largest number in `{m,n}`, the same as RE2's. */
  repeatMax: 1000,
  /** Steps of one rule's graph, after repetitions are written out. */
  ruleStepsMax: 32_768,
  /** Edges of one rule's graph. Nested optional parts can have many more edges than steps. */
  ruleEdgesMax: 131_072,
  /** Edges of a whole set. */
  setEdgesMax: 524_288,
  /**
   * Rules of one set: as many as a policy has, and the detectors of its groups. How many there are costs
   * memory; what a byte of text may cost is bounded by the edges.
   */
  rulesMax: 10_240,
  /** The longest match, in bytes, that a rule of a stream may have: the bound on hold-back. */
  streamMatchBytesMax: 4096,
  /** The longest match, in bytes, of a rule with a validation: each candidate is read again. */
  validatedMatchBytesMax: 256,
  /** How far before a hit's end its start is looked for, in bytes. */
  locateBytesMax: 4096,
  /** Hits of one rule that one scanner reports. More say nothing new and would cost memory. */
  hitsPerRuleMax: 16,
  /** Bytes scanned between two looks at a body's deadline. */
  bodyStepBytes: 16_384,
  /** Memory of each direction's transition table, in bytes. Full means: forget all and go on. */
  tableBytesMax: 4 * 1024 * 1024,
  /** Memory of the node lists behind each direction's table, in bytes. */
  nodeListBytesMax: 8 * 1024 * 1024,
} as const;
