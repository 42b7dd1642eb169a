import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Reason } from "../proto/reasons.ts";
import type { ContentHit } from "./decision/facts.ts";

/** What a stage in shadow would have cut an answer for. */
export type ShadowObjection = {
  readonly reason: Reason;
  /** The content rule, or the tool that is not granted. */
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
  #tool: string | undefined;

  constructor(policy: CompiledPolicy | undefined) {
    const rules = policy?.content ?? [];
    this.#stages = policy?.shadowStages ?? new Set();
    this.#refusing = new Set(
      rules
        .filter(({ action, direction }) => action === "refuse" && direction !== "request")
        .map(({ id }) => id),
    );
  }

  /** Whether a match of this rule ends the answer. */
  refuses(ruleId: string): boolean {
    return this.#refusing.has(ruleId) && !this.#stages.has(CONTENT_STAGE);
  }

  /** Whether a call of a tool that is not granted passes all the same. */
  passesTool(name: string): boolean {
    if (!this.#stages.has(TOOL_STAGE)) return false;
    this.#tool ??= name;
    return true;
  }

  /** The first objection to the answer, in the order of the chain; told once it is over. */
  objection(hits: readonly ContentHit[]): ShadowObjection | undefined {
    if (this.#tool !== undefined) return { reason: "tool_call_not_granted", rule: this.#tool };
    if (!this.#stages.has(CONTENT_STAGE)) return undefined;
    const hit = hits.find(({ ruleId }) => this.#refusing.has(ruleId));
    return hit && { reason: "content_cut", rule: hit.ruleId };
  }
}
