import type { ReadRequest } from "./dialect.ts";

/** A request without a body that says anything, for which no tokens are billed. */
export const WORDLESS_REQUEST: ReadRequest = {
  model: "",
  stream: true,
  tools: [],
  texts: [],
  messages: 0,
  maxOutputTokens: 0,
  choices: 1,
  unpricedParameter: undefined,
  wantsUsage: false,
  unbilled: true,
};
