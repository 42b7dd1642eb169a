import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Reason } from "../proto/reasons.ts";
import type { ContentHit } from "./decision/facts.ts";

/** What a stage in shadow would have cut an answer for. */
export type ShadowObjection = {
  readonly reason: Reason;
  /** The content rule, the tool that is not granted, or its argument that may not be so. */
  readonly rule: string;
};

const TOOL_STAGE = 10;
const CONTENT_STAGE = 12;

/**
 * The stages that judge answers too, tools and content, as far as policy has them in shadow: what they
 * object to passes, and is remembered so that it can be written down.
 */
export class AnswerShadow {
  readonly #stages: ReadonlySet<number>;
  /** Ids of rules that refuse answers. */
  readonly #refusing: ReadonlySet<string>;
  #tool: ShadowObjection | undefined;

  constructor(policy: CompiledPolicy | undefined) {
    this.#stages = policy?.shadowStages ?? NONE;
    this.#refusing = policy === undefined ? NONE : refusingAnswers(policy.content);
  }

  /** Whether a match of this rule ends the answer. */
  refuses(ruleId: string): boolean {
    return this.#refusing.has(ruleId) && !this.#stages.has(CONTENT_STAGE);
  }

  /** Whether a call of a tool that is not granted passes all the same. */
  passesTool(name: string): boolean {
    if (!this.#stages.has(TOOL_STAGE)) return false;
    this.#tool ??= { reason: "tool_call_not_granted", rule: name };
    return true;
  }

  /** Whether a call whose argument breaks a rule passes all the same. */
  passesArgument(name: string): boolean {
    if (!this.#stages.has(TOOL_STAGE)) return false;
    this.#tool ??= { reason: "tool_argument_refused", rule: name };
    return true;
  }

  /** The first objection to the answer, in the order of the chain; told once it is over. */
  objection(hits: readonly ContentHit[]): ShadowObjection | undefined {
    if (this.#tool !== undefined) return this.#tool;
    if (!this.#stages.has(CONTENT_STAGE)) return undefined;
    const hit = hits.find(({ ruleId }) => this.#refusing.has(ruleId));
    return hit && { reason: "content_cut", rule: hit.ruleId };
  }
}

const NONE: ReadonlySet<never> = new Set();

/** Worked out once for each policy: every answer asks for it. */
const REFUSING = new WeakMap<CompiledPolicy["content"], ReadonlySet<string>>();

function refusingAnswers(content: CompiledPolicy["content"]): ReadonlySet<string> {
  const known = REFUSING.get(content);
  if (known !== undefined) return known;
  const refusing = content.filter(
    ({ action, direction }) => action === "refuse" && direction !== "request",
  );
  const ids = new Set(refusing.map(({ id }) => id));
  REFUSING.set(content, ids);
  return ids;
}
