import type { Place } from "./document-node.ts";

/** What can be wrong with a policy: a closed set, so that tools can tell findings apart. */
export type FindingCode =
  /** The text is not YAML, not canonical JSON, or uses a feature of YAML that is not read here. */
  | "syntax"
  | "too_large"
  | "unknown_field"
  | "missing_field"
  | "wrong_type"
  /** A text outside the grammar of its field. */
  | "malformed"
  | "out_of_range"
  /** A name that nothing in the policy, or nothing in this build, answers to. */
  | "unknown_reference"
  | "duplicate"
  /** Two statements that cannot both hold. */
  | "conflict"
  | "unpriced_model"
  /** An agent whose spend nothing bounds. */
  | "unbounded_budget"
  /** A statement that can have no effect. */
  | "dead_rule"
  /** A rule for streams whose match has no longest length. */
  | "unbounded_rule"
  /** The snapshot of prices that came with this build is not as a maintainer signed it. */
  | "prices_untrusted"
  /** How much may be held at once; always a warning. */
  | "open_holds";

export type Finding = {
  readonly level: "error" | "warning";
  readonly code: FindingCode;
  /** As the caller named the text; `bundle` for compiled bytes. */
  readonly file: string;
  /** From 1; 0 when the text has no lines, as a bundle has none. */
  readonly line: number;
  readonly column: number;
  /** The field: `teams.research.agents.worker-1.models[0]`. Empty for the whole. */
  readonly path: string;
  readonly message: string;
};

/** Findings as they are made; one reading shares one collector, so that all are told at once. */
export class Findings {
  readonly #file: string;
  readonly #all: Finding[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  error(at: { readonly place: Place; readonly path: string }, code: FindingCode, message: string) {
    this.#add("error", at, code, message);
  }

  warning(
    at: { readonly place: Place; readonly path: string },
    code: FindingCode,
    message: string,
  ) {
    this.#add("warning", at, code, message);
  }

  get hasErrors(): boolean {
    return this.#all.some((finding) => finding.level === "error");
  }

  /** In the order of the text. */
  sorted(): readonly Finding[] {
    return this.#all.toSorted((a, b) => a.line - b.line || a.column - b.column);
  }

  #add(
    level: Finding["level"],
    at: { readonly place: Place; readonly path: string },
    code: FindingCode,
    message: string,
  ) {
    const { line, column } = at.place;
    this.#all.push({ level, code, file: this.#file, line, column, path: at.path, message });
  }
}

/** One line for a terminal: `policy.yaml:12:7: error: teams.x.budget: ... [malformed]`. */
export function renderFinding(finding: Finding): string {
  const { file, line, column, level, path, message, code } = finding;
  const where = line === 0 ? file : `${file}:${line}:${column}`;
  return `${where}: ${level}: ${path === "" ? "" : `${path}: `}${message} [${code}]`;
}
