const NODE_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$|^[a-z0-9][a-z0-9-]{0,61}\*$/;

/** A node's name, or the beginning of names and a star. A star alone would say nothing. */
export function isNodePattern(text: string): boolean {
  return NODE_PATTERN.test(text);
}

/**
 * Whether an agent is placed on a node. A node does not choose its name: the operator's token does.
 *
 * @param patterns Absent: it is placed on every node.
 */
export function placedOn(patterns: readonly string[] | undefined, node: string): boolean {
  if (patterns === undefined) return true;
  return patterns.some((pattern) =>
    pattern.endsWith("*") ? node.startsWith(pattern.slice(0, -1)) : pattern === node,
  );
}
