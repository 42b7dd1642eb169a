import { toolsGrant, type Verb } from "../../../authority/tools.ts";
import { refusedArgument } from "../../../policy/argument-rules.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";
import { covers } from "../../../policy/pattern.ts";
import { verbOfCall } from "../../../policy/verb-of-call.ts";
import { type Facts, isMissing } from "../facts.ts";
import { byContract, type RowOutcome } from "../verdict.ts";
import { effectiveOf } from "./05-contract.ts";

const NO_RULES: CompiledPolicy["tools"]["arguments"] = new Map();

/** As much of a name as is said back; it may be as long as a body. */
const NAME_CHARS_SHOWN = 128;

/** May it offer or use these tools, in this way? One that cannot be named cannot be judged, so it is refused. */
export function checkTool(facts: Facts): RowOutcome {
  if (isMissing(facts.request) || facts.request.tools.length === 0) return "not_applicable";
  const rules = facts.policy?.tools.arguments ?? NO_RULES;
  for (const { name, verb, arguments: given } of facts.request.tools) {
    if (name === undefined) return { reason: "tool_unreadable" };
    if (!toolInContract(facts, name, verb)) {
      return byContract("tool_not_granted", name.slice(0, NAME_CHARS_SHOWN));
    }
    if (!toolGranted(facts, name, verb)) {
      return { reason: "tool_not_granted", detail: name.slice(0, NAME_CHARS_SHOWN) };
    }
    const refused = given && refusedArgument(rules, name, given);
    if (refused !== undefined) return { reason: "tool_argument_refused", detail: refused };
  }
  return "pass";
}

/**
 * True when policy lets the agent do this with the tool. The same rule judges calls in responses.
 *
 * @param verb Absent: the tool is called, and policy says what that does.
 */
export function toolGranted(
  { policy, grant }: Pick<Facts, "policy" | "grant">,
  name: string,
  verb: Verb = verbOf(policy, name),
): boolean {
  if (grant === undefined) return false;
  for (const [pattern, verbs] of grant.tools) {
    if (verbs.includes(verb) && covers([pattern], name)) return true;
  }
  return false;
}

/** True when the contract, where there is one, lets the agent do this. No shadow undoes it. */
export function toolInContract(
  facts: Pick<Facts, "policy" | "contract">,
  name: string,
  verb: Verb = verbOf(facts.policy, name),
): boolean {
  const effective = effectiveOf(facts);
  return effective === undefined || toolsGrant(effective.tools, name, verb);
}

function verbOf(policy: CompiledPolicy | undefined, name: string): Verb {
  return policy === undefined ? "call" : verbOfCall(policy.tools.verbs, name);
}
