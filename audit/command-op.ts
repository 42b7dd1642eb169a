/** What an order does to its scope; `add` and `remove` are of keys and nodes, `redact` of a person's keys. */
export const COMMAND_OPS = [
  "kill",
  "revive",
  "policy",
  "limit",
  "trust",
  "add",
  "remove",
  "redact",
] as const;
export type CommandOp = (typeof COMMAND_OPS)[number];
