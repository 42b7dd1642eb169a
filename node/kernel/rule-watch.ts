import { BRIDGE_TABLE } from "./bridge-table.ts";
import { TABLE } from "./daemonset-ruleset.ts";

const OURS = new RegExp(
  `^(delete|add|insert|replace|destroy) (table|chain|rule|set) (inet|bridge) (${TABLE}|${BRIDGE_TABLE})( |$)`,
);

/**
 * Whether a line of `nft monitor` says that somebody changed our tables: us, or another.
 *
 * Additions count as well: a rule that accepts undoes those behind it. Elements do not: kills change
 * them, and a look now and then compares them.
 */
export function isChangeOfOurs(line: string): boolean {
  return OURS.test(line.trim());
}
