import { RE2JS } from "re2js";
import {
  type CompileOptions,
  compileRules,
  type ScanRule,
  type ScanSet,
} from "../../../../../node/dataplane/scan/compile-rules.ts";
import { createScanner, type Hit } from "../../../../../node/dataplane/scan/scan-stream.ts";

const encoder = new TextEncoder();

export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** A set of these patterns, named r0, r1, ... */
export function setOf(
  patterns: readonly (string | Omit<ScanRule, "id">)[],
  options: Partial<CompileOptions> = {},
): ScanSet {
  const rules = patterns.map((pattern, index) => ({
    id: `r${index}`,
    ...(typeof pattern === "string" ? { pattern } : pattern),
  }));
  const compiled = compileRules(rules, { purpose: "body", ...options });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.errors));
  return compiled.set;
}

/** Makes a pattern that may match the empty text one that does not. */
export function neverEmpty(pattern: string): string {
  const compiled = compileRules([{ id: "r", pattern }], { purpose: "body" });
  if (!compiled.ok && compiled.errors[0]?.code === "empty_match") return `(?:${pattern})[ab1é]`;
  return pattern;
}

export type Piece = {
  /** Offset behind the piece. */
  readonly position: number;
  /** All bytes before this may be let go. */
  readonly released: number;
  readonly hits: readonly Hit[];
};

/** Scans pieces and notes what was known after each. The last entry is the end of the text. */
export function scanPieces(set: ScanSet, pieces: readonly Uint8Array[]): readonly Piece[] {
  const scanner = createScanner(set);
  const seen: Piece[] = [];
  let position = 0;
  for (const piece of pieces) {
    // A copy that is spoilt afterwards: a scanner must not keep the caller's bytes.
    const lent = piece.slice();
    const hits = scanner.push(lent);
    lent.fill(0x3f);
    position += piece.length;
    seen.push({ position, released: scanner.pendingFrom() ?? position, hits });
  }
  const hits = scanner.end();
  seen.push({ position, released: scanner.pendingFrom() ?? position, hits });
  return seen;
}

export function hitsOf(set: ScanSet, text: string): readonly Hit[] {
  return scanPieces(set, [bytesOf(text)]).flatMap((piece) => piece.hits);
}

export type Match = { readonly start: number; readonly end: number };

/** Every place where RE2 can match, as byte offsets: asks for each pair of places by itself. */
export function allMatches(pattern: string, text: string): readonly Match[] {
  const characters = Array.from(text);
  const offsets = [0];
  for (const character of characters) {
    offsets.push((offsets.at(-1) as number) + bytesOf(character).length);
  }
  const matches: Match[] = [];
  for (let start = 0; start <= characters.length; start++) {
    for (let end = start; end <= characters.length; end++) {
      const before = `(?s:.{${start}})`;
      const behind = `(?s:.{${characters.length - end}})`;
      const whole = RE2JS.compile(`\\A${before}(?:${pattern})${behind}\\z`);
      if (whole.matcher(text).find()) {
        matches.push({ start: offsets[start] as number, end: offsets[end] as number });
      }
    }
  }
  return matches;
}
