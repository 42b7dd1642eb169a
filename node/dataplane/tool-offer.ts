import { type Tools, toolsGrant, type Verb } from "../../authority/tools.ts";
import type { AgentPolicy, ToolsPolicy } from "../../policy/compiled-policy.ts";
import { covers } from "../../policy/pattern.ts";
import { verbOfCall } from "../../policy/verb-of-call.ts";

/**
 * What tools an agent may offer, as far as that decides which of them are left out of its requests. It
 * can be copied between threads. What is left is judged by the chain, which may know more by then.
 */
export type ToolOffer = {
  readonly verbs: ToolsPolicy["verbs"];
  readonly granted: AgentPolicy["tools"];
  /** Of a contract, where there is one. */
  readonly contract?: Tools;
};

/** Whether the agent may have a model call the tool. */
export function mayOffer({ verbs, granted, contract }: ToolOffer, name: string): boolean {
  const verb: Verb = verbOfCall(verbs, name);
  if (contract !== undefined && !toolsGrant(contract, name, verb)) return false;
  for (const [pattern, allowed] of granted) {
    if (allowed.includes(verb) && covers([pattern], name)) return true;
  }
  return false;
}
